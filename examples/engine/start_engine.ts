/** From a command line's arguments to an engine with a cache, for the commands. */
import {
  type Cache,
  type Capacity,
  type CodebookSet,
  CoupletError,
  createCache,
  decodeCodebooks,
  encodeCodebooks,
  parseScheme,
  planCache,
  type PlanOptions,
  requiredLimits,
  type SchemeId,
  type Sequence,
} from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import { readBytes, writeWhole } from "../../cli/files.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { modelCacheInit, modelCacheOptions, plannedEngineOptions } from "./attention_cache.ts";
import type { CacheArguments } from "./cache_arguments.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { learnCodebooks } from "./codebooks.ts";
import { createEngine, type Engine } from "./engine.ts";

/** An engine and what it stands on. */
export interface StartedEngine {
  readonly device: GPUDevice;
  readonly cache: Cache;
  readonly engine: Engine<Sequence>;
  /** Frees all of it, the device too. */
  destroy(): void;
}

/** New tokens of a text in one step. */
export const PREFILL = 64;

/**
 * Brings a model to a device, with a cache and its codebooks, and says on stderr what cache it is. Whatever
 * the planner and the files find wrong is found before there is a device.
 *
 * @throws {CoupletError} `file` where a file cannot be read; what the planner, the cache and the engine throw.
 */
export async function startEngine(
  options: CacheArguments,
  checkpoint: Checkpoint,
  capacity: Capacity,
): Promise<StartedEngine> {
  const { keys, values, sinks, window, calibration } = options;
  const planOptions: PlanOptions = {
    ...modelCacheOptions(checkpoint.config),
    policy: { keys, values },
    tiers: { sinks, window },
    capacity,
    kernels: manifest,
  };
  planCache(planOptions);
  const text = calibration === undefined
    ? undefined
    : checkpoint.tokenizer.encode(await readTextFile(calibration));
  const stored = text === undefined ? await readCodebooks(options, checkpoint) : undefined;

  const device = await requestTestDevice({ requiredLimits: { ...requiredLimits(planOptions) } });
  const codebooks = text === undefined
    ? stored
    : await learn(options, checkpoint, text.slice(0, options.calibrationTokens), device);

  const plan = planCache({ ...planOptions, limits: device.limits });
  const cache = await createCache({
    device,
    plan,
    ...modelCacheInit(checkpoint),
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
      : `Cache: keys ${keys}, values ${values}, ${plan.bytes.total} bytes`,
  );
  return {
    device,
    cache,
    engine,
    destroy() {
      engine.destroy();
      cache.destroy();
      device.destroy();
    },
  };
}

/**
 * The tokens a text may grow to.
 *
 * @param shifts Whether tokens may be forgotten: then the model's context is enough.
 * @throws {CoupletError} `usage` where the model was made for fewer.
 */
export function contextTokens(
  { config }: Checkpoint,
  promptTokens: number,
  tokens: number,
  shifts = false,
): number {
  if (shifts && promptTokens < config.maxPositions) {
    return Math.min(promptTokens + tokens, config.maxPositions);
  }
  if (promptTokens + tokens > config.maxPositions) {
    throw new CoupletError("usage", {
      what: "The text would be too long",
      why: `the prompt has ${promptTokens} tokens, ${tokens} are to be added, and the model was ` +
        `made for ${config.maxPositions}`,
      remedy: "Shorten the prompt, or lower --tokens",
    });
  }
  return promptTokens + tokens;
}

/**
 * A file's text.
 *
 * @throws {CoupletError} `file` where it cannot be read.
 */
export async function readTextFile(path: string): Promise<string> {
  return new TextDecoder().decode(await readFile(path));
}

async function readCodebooks(
  { codebooks }: CacheArguments,
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
  { keys, values, codebooks, calibration, seed }: CacheArguments,
  checkpoint: Checkpoint,
  tokenIds: readonly number[],
  device: GPUDevice,
): Promise<CodebookSet> {
  const learned = (scheme: SchemeId) => parseScheme(scheme).codebook === "learned" ? [scheme] : [];
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
  if (codebooks !== undefined) await writeWhole(codebooks, encodeCodebooks(set));
  return set;
}

async function readFile(path: string): Promise<Uint8Array> {
  return await readBytes(path, { what: `"${path}"`, remedy: "Check the path" });
}
