import { type CalibrationSamples, type KeySpace, SIDES } from "@couplet/kv";
import { Progress } from "../../cli/progress.ts";
import type { AdapterReport } from "../../tools/adapters.ts";
import { evaluate } from "../demo/evaluate.ts";
import { mobyDick, readText, spreadContexts, statesOfTheUnion } from "../demo/texts.ts";
import { type Checkpoint, loadModel, rotateValues } from "../engine/mod.ts";
import { weightedSamples } from "../engine/weighted_samples.ts";
import { CodedRun } from "../eval/coded_run.ts";
import { CodingErrors, type CodingErrorsOfRun } from "../eval/coding_error.ts";
import { meanError } from "../eval/figures/statistics.ts";
import { HELD_OUT } from "../eval/prepare.ts";
import { compareQuality } from "../eval/quality.ts";
import type { AblationArguments } from "./arguments.ts";
import type { Ablation } from "./results.ts";
import { type LearnedVariant, learningId, learnVariant, variantCoding } from "./variant_coding.ts";
import { ablationVariants, type Variant } from "./variants.ts";

/** Texts whose logits are in memory at once, and whose vectors are compared. */
const BATCH = 2;

/** Learns all variants, and measures them beside the exact model. */
export async function measureAblation(
  options: AblationArguments,
  device: GPUDevice,
  adapter: AdapterReport,
): Promise<Ablation> {
  const { context, seed } = options;
  const checkpoint = await loadModel(options.model);
  const text = await (options.text === undefined ? statesOfTheUnion() : readText(options.text));
  const calibration =
    await (options.calibration === undefined ? mobyDick() : readText(options.calibration));
  const contexts = spreadContexts(
    "evaluate on",
    checkpoint.tokenizer.encode(text.text),
    context,
    Math.ceil(options.tokens / context),
  );
  const calibrationTokens = checkpoint.tokenizer.encode(calibration.text);
  const windows = spreadContexts(
    "calibrate on, without its last fifth",
    calibrationTokens.slice(0, Math.ceil(calibrationTokens.length * (1 - HELD_OUT))),
    context,
    Math.ceil(options.calibrationTokens / context),
  );
  const variants = ablationVariants(options.scheme)
    .filter(({ title }) => options.only?.includes(title) ?? true);
  const progress = new Progress(variants.length + 1);
  const capture = captureOnce(device, checkpoint, windows);

  const runs = [new CodedRun(checkpoint)];
  const learned = new Map<string, LearnedVariant>();
  for (const variant of variants) {
    const stage = progress.stage(variant.title);
    const { samples, checkpoint: own } = await capture(variant);
    const id = learningId(variant);
    const found = learned.get(id) ??
      await learnVariant(variant, {
        device,
        checkpoint: own,
        samples,
        seed,
        onProgress: stage.update,
      });
    learned.set(id, found);
    runs.push(new CodedRun(own, variantCoding(variant, found, own.config)));
    stage.done();
  }

  const stage = progress.stage("evaluate");
  const total = runs.length * contexts.length * context;
  let done = 0;
  const inspection = new CodingErrors(checkpoint.config, Math.min(BATCH, contexts.length), 1);
  const errors: CodingErrorsOfRun[] = [];
  const [exact, ...qualities] = await evaluate({
    runs,
    contexts,
    batch: BATCH,
    chunk: context,
    onTokens: (tokens) => stage.update((done += tokens) / total),
    inspection,
    async onFull(held): Promise<void> {
      for (let i = 1; i < runs.length; i++) {
        errors.push(await inspection.measure(i, runs[i]!.contexts(held[i]!)));
      }
    },
  });
  stage.done();
  return {
    format: "couplet-ablation",
    version: 1,
    adapter: { name: adapter.name, kind: adapter.kind },
    model: checkpoint.fingerprint,
    settings: {
      seed,
      context,
      text: { name: text.name, contexts: contexts.length },
      calibration: { name: calibration.name, tokens: windows.length * context },
    },
    perplexity: compareQuality(exact!, exact!).perplexity,
    rows: variants.map(({ width, ...variant }, i) => {
      const from = variants.findIndex(({ title }) => title === variant.from);
      const { codingError, logitError } = errors[i]!;
      const [keys, values] = SIDES.map((side) =>
        meanError(codingError.filter((one) => one.side === side))!
      );
      return {
        ...variant,
        ...(width === undefined ? {} : { width }),
        quality: compareQuality(qualities[i]!, exact!),
        ...(from < 0 ? {} : { change: compareQuality(qualities[i]!, qualities[from]!).ratio }),
        codingError: { keys: keys!, values: values! },
        logitError: meanError(logitError)!,
      };
    }),
  };
}

/** Captures samples when they are first needed: of the model or of the one with rotated values, in either space. */
function captureOnce(
  device: GPUDevice,
  checkpoint: Checkpoint,
  windows: readonly (readonly number[])[],
): (variant: Variant) => Promise<{ samples: CalibrationSamples[]; checkpoint: Checkpoint }> {
  let rotated: Promise<Checkpoint> | undefined;
  const found = new Map<string, Promise<CalibrationSamples[]>>();
  return async ({ rotateValues: rotates = false, keySpace }) => {
    const own = rotates
      ? await (rotated ??= rotateValues({ device, checkpoint, windows }))
      : checkpoint;
    const id = `${keySpace} ${rotates}`;
    const samples = found.get(id) ?? capture(own, keySpace);
    found.set(id, samples);
    return { samples: await samples, checkpoint: own };
  };

  function capture(own: Checkpoint, keySpace: KeySpace): Promise<CalibrationSamples[]> {
    return weightedSamples({
      device,
      checkpoint: own,
      windows,
      weighting: "fisher+query",
      keySpace,
    });
  }
}
