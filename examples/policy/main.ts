/**
 * Chooses a policy for a model, a length and a budget of bits: `deno task policy --help` lists the options.
 *
 * @module
 */
import {
  calibrate,
  choosePolicy,
  CoupletError,
  estimateSensitivities,
  type SchemeId,
  type Sensitivity,
  SIDES,
} from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import { requestTestDevice } from "../../tools/adapter.ts";
import { writeWhole } from "../../cli/files.ts";
import { checkWritable, runProgram } from "../command_line.ts";
import { outputWidth } from "../../cli/output_width.ts";
import { Progress } from "../../cli/progress.ts";
import { wrapLines } from "../../cli/table.ts";
import { mobyDick, readText, spreadContexts } from "../demo/texts.ts";
import {
  checkContext,
  type Checkpoint,
  loadConfig,
  loadModel,
  modelCacheOptions,
} from "../engine/mod.ts";
import { weightedSamples } from "../engine/weighted_samples.ts";
import { CANDIDATES, parseArguments, type PolicyOptions } from "./arguments.ts";
import { type PolicyFile, readSensitivities } from "./sensitivity_file.ts";
import { measureSensitivities } from "./sensitivities.ts";

const WHAT = "Cannot choose a policy";

async function main(argv: readonly string[]): Promise<void> {
  const parsed = parseArguments(argv);
  if ("help" in parsed) return console.log(parsed.help);
  const { options } = parsed;
  await checkWritable(options.json);
  const config = await loadConfig(options.model);
  checkContext(WHAT, config, options.context);
  const { bits: budgetBits, tokens, sequences, window, sinks, candidates } = options;
  const { shape, keys } = modelCacheOptions(config);
  const choose = (sensitivities: readonly Sensitivity[]) =>
    choosePolicy({
      shape,
      keys,
      budgetBits,
      tokens,
      sequences,
      tiers: { window, sinks },
      ...(candidates === undefined ? {} : { candidates }),
      sensitivities,
    });
  // What no policy can meet is refused before anything is measured: losses do not change what a policy takes.
  if (options.from === undefined) {
    choose(lossless(candidates ?? CANDIDATES, config.layers));
  }
  const checkpoint = await loadModel(options.model);
  const { source, sensitivities } = options.from === undefined
    ? await takeSensitivities(options, checkpoint)
    : await readSensitivities(options.from, checkpoint.fingerprint);
  const chosen = choose(sensitivities);
  console.log(wrapLines(chosen.describe(), outputWidth()));
  if (options.json === undefined) return;
  const { describe: _describe, ...figures } = chosen;
  const file: PolicyFile = {
    name: tokens === Infinity ? `policy ${budgetBits}` : `policy ${budgetBits} at ${tokens}`,
    ...figures,
    model: checkpoint.fingerprint,
    source,
    sensitivities,
  };
  await writeWhole(options.json, `${JSON.stringify(file, null, 2)}\n`);
}

/** Sensitivities of candidates that would lose nothing anywhere. */
function lossless(candidates: readonly SchemeId[], layers: number): readonly Sensitivity[] {
  return Array.from({ length: layers }, (_, layer) => layer).flatMap((layer) =>
    SIDES.flatMap((side) => candidates.map((scheme) => ({ layer, side, scheme, loss: 0 })))
  );
}

/** Learns codebooks of all candidates, and finds what each costs in each place. */
async function takeSensitivities(
  options: PolicyOptions,
  checkpoint: Checkpoint,
): Promise<Pick<PolicyFile, "source" | "sensitivities">> {
  const { candidates = CANDIDATES, seed, sensitivity } = options;
  const text =
    await (options.calibration === undefined ? mobyDick() : readText(options.calibration));
  const { learned, held } = splitContexts(options, checkpoint, text.text);
  const device = await requestTestDevice();
  const progress = new Progress(sensitivity === "measure" ? 3 : 2);

  const capture = progress.stage("capture keys, values and gradients");
  const common = { device, checkpoint, weighting: "fisher" } as const;
  const samples = await weightedSamples({
    ...common,
    windows: learned,
    onProgress: capture.update,
  });
  const heldSamples = sensitivity === "estimate"
    ? await weightedSamples({ ...common, windows: held })
    : [];
  capture.done();

  const learn = progress.stage("learn codebooks");
  const codebooks = await calibrate({
    device,
    kernels: manifest,
    samples,
    schemes: { keys: candidates, values: candidates },
    keySpace: "pre-rope",
    model: checkpoint.fingerprint,
    seed,
    source: text.name,
    onProgress: ({ fraction, secondsLeft }) => learn.update(fraction, secondsLeft),
  });
  learn.done();

  let sensitivities: readonly Sensitivity[];
  if (sensitivity === "estimate") {
    sensitivities = estimateSensitivities(codebooks, heldSamples);
  } else {
    const measure = progress.stage("measure sensitivities");
    sensitivities = await measureSensitivities({
      device,
      checkpoint,
      codebooks,
      contexts: held,
      candidates: candidates.filter((id) => id !== "f16"),
      onProgress: measure.update,
    });
    measure.done();
  }
  device.destroy();
  const kind = sensitivity === "estimate" ? "estimated" : "measured";
  return { source: `${kind} on ${held.length} contexts of ${text.name}`, sensitivities };
}

/** Contexts to learn on, and others, spread among them, to take sensitivities on. */
function splitContexts(
  { context, calibrationTokens, sensitivityTokens }: PolicyOptions,
  { tokenizer }: Checkpoint,
  text: string,
): { readonly learned: readonly number[][]; readonly held: readonly number[][] } {
  const heldCount = Math.ceil(sensitivityTokens / context);
  const count = Math.ceil(calibrationTokens / context) + heldCount;
  const all = spreadContexts("calibrate on", tokenizer.encode(text), context, count);
  if (all.length < 2 * heldCount) {
    throw new CoupletError("samples", {
      what: WHAT,
      why:
        `the text holds ${all.length} contexts of ${context} tokens, and ${heldCount} of them are to be kept apart`,
      remedy: "Pass a longer text, fewer --sensitivity-tokens or a smaller --context",
    });
  }
  const every = all.length / heldCount;
  const isHeld = new Set(
    Array.from({ length: heldCount }, (_, i) => Math.floor((i + 0.5) * every)),
  );
  const part = (held: boolean) =>
    all.filter((_, i) => isHeld.has(i) === held).map((one) => [...one]);
  return { learned: part(false), held: part(true) };
}

if (import.meta.main) await runProgram(main);
