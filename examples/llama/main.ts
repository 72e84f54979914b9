/**
 * Continues a text with a compressed KV cache: `deno task chat --help` lists the options.
 *
 * @module
 */
import { runProgram } from "../command_line.ts";
import {
  type CacheOptions,
  type CodebookSet,
  CoupletError,
  createCache,
  decodeCodebooks,
  encodeCodebooks,
  parseScheme,
  planCache,
  requiredLimits,
} from "@couplet/kv";
import { requestTestDevice } from "../../tools/adapter.ts";
import { type ChatOptions, parseArguments } from "./arguments.ts";
import { modelCacheOptions, plannedEngineOptions } from "./attention_cache.ts";
import { type Checkpoint, loadModel } from "./checkpoint.ts";
import { learnCodebooks } from "./codebooks.ts";
import { createEngine } from "./engine.ts";
import { generate } from "./generate.ts";

/** New tokens of the prompt in one step. */
const PREFILL = 64;

async function main(argv: readonly string[]): Promise<void> {
  const parsed = parseArguments(argv);
  if ("help" in parsed) {
    console.log(parsed.help);
    return;
  }
  const { options } = parsed;
  const checkpoint = await loadModel(options.model);
  const prompt = checkpoint.tokenizer.encode(options.prompt, true);
  const cacheOptions = planOptions(options, checkpoint, prompt.length);
  // Whatever the planner and the files find wrong is found before there is a device.
  planCache(cacheOptions);
  const text = options.calibration === undefined
    ? undefined
    : checkpoint.tokenizer.encode(new TextDecoder().decode(await readFile(options.calibration)));
  const stored = text === undefined ? await readCodebooks(options, checkpoint) : undefined;

  const device = await requestTestDevice({ requiredLimits: { ...requiredLimits(cacheOptions) } });
  const codebooks = text === undefined
    ? stored
    : await learn(options, checkpoint, text.slice(0, options.calibrationTokens), device);

  const plan = planCache({ ...cacheOptions, limits: device.limits });
  const cache = await createCache({
    device,
    plan,
    model: checkpoint.fingerprint,
    ...(codebooks ? { codebooks } : {}),
  });
  const engine = await createEngine({
    device,
    checkpoint,
    cache,
    ...plannedEngineOptions(plan, checkpoint.config),
  });
  console.error(
    options.explain
      ? plan.describe()
      : `Cache: keys ${options.keys}, values ${options.values}, ${plan.bytes.total} bytes`,
  );

  await write(options.prompt);
  const start = performance.now();
  let count = 0;
  const { tokens, temperature, seed } = options;
  for await (const { text } of generate(engine, { prompt, tokens, temperature, seed })) {
    await write(text);
    count++;
  }
  await write("\n");
  const seconds = (performance.now() - start) / 1000;
  console.error(`${count} tokens in ${seconds.toFixed(1)} s, prompt of ${prompt.length} included`);
  engine.destroy();
  cache.destroy();
  device.destroy();
}

/** A cache just long enough. */
function planOptions(
  { keys, values, sinks, window, tokens }: ChatOptions,
  { config }: Checkpoint,
  promptTokens: number,
): CacheOptions {
  const sequenceTokens = promptTokens + tokens;
  if (sequenceTokens > config.maxPositions) {
    throw new CoupletError("usage", {
      what: "The text would be too long",
      why: `the prompt has ${promptTokens} tokens, ${tokens} are to be added, and the model was ` +
        `made for ${config.maxPositions}`,
      remedy: "Shorten the prompt, or lower --tokens",
    });
  }
  const step = Math.min(PREFILL, sequenceTokens);
  return {
    ...modelCacheOptions(config),
    policy: { keys, values },
    tiers: { sinks, window },
    capacity: {
      sequences: 1,
      tokens: sequenceTokens,
      sequenceTokens,
      stepTokens: step,
      appendTokens: step,
    },
  };
}

async function readCodebooks(
  { codebooks }: ChatOptions,
  { config, fingerprint }: Checkpoint,
): Promise<CodebookSet | undefined> {
  if (codebooks === undefined) return undefined;
  const { keyValueHeads, headDim } = config;
  return decodeCodebooks(await readFile(codebooks), {
    model: fingerprint,
    keySpace: "pre-rope",
    keyValueHeads,
    headDim,
  });
}

async function learn(
  { keys, values, codebooks, calibration, seed }: ChatOptions,
  checkpoint: Checkpoint,
  tokenIds: readonly number[],
  device: GPUDevice,
): Promise<CodebookSet> {
  const learned = (scheme: string) => parseScheme(scheme).centroids > 0 ? [scheme] : [];
  let shown = 0;
  const set = await learnCodebooks({
    device,
    checkpoint,
    tokenIds,
    source: calibration!.replaceAll("\\", "/").split("/").at(-1)!,
    schemes: { keys: learned(keys), values: learned(values) },
    seed,
    onProgress({ fraction, secondsLeft }) {
      // One line for every tenth: the output may be a file.
      if (fraction < shown + 0.1) return;
      shown = fraction;
      const left = secondsLeft === undefined ? "" : `, ${Math.ceil(secondsLeft)} s left`;
      console.error(`Codebooks: ${Math.round(fraction * 100)} %${left}`);
    },
  });
  if (codebooks !== undefined) await Deno.writeFile(codebooks, encodeCodebooks(set));
  return set;
}

async function readFile(path: string): Promise<Uint8Array> {
  try {
    return await Deno.readFile(path);
  } catch (cause) {
    throw new CoupletError("file", {
      what: `"${path}" cannot be read`,
      why: cause instanceof Error ? cause.message : String(cause),
      remedy: "Check the path",
    }, { cause });
  }
}

async function write(text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += await Deno.stdout.write(bytes.subarray(at));
}

if (import.meta.main) await runProgram(main);
