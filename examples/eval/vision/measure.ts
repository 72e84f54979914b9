import { type CodebookSet, CoupletError, planCache, requiredLimits } from "@couplet/kv";
import { Progress } from "../../../cli/progress.ts";
import { requestAdapter, requestTestDevice } from "../../../tools/adapter.ts";
import { checkWritable } from "../../command_line.ts";
import { type Answer, questionTokens, readAnswers } from "../../vision/answers.ts";
import { VisionHost, visionPlanOptions } from "../../vision/host.ts";
import { spanBytes } from "../../vision/span_bytes.ts";
import { learnSpanCodebooks, needsCodebooks } from "../../vision/span_codebooks.ts";
import { readVideos, type Video } from "../../vision/videos.ts";
import { loadVisionModel, type VisionModel } from "../../vision/vision_model.ts";
import type { VisionArguments } from "./arguments.ts";
import { treat } from "./compress.ts";
import { answerFigures, comparedFigures } from "./figures.ts";
import { HIDDEN, methodSpans, type VisionMethod } from "./methods.ts";
import type { VisionEvaluation } from "./results.ts";
import { type MethodSize, methodSize } from "./sizes.ts";

/** Everything that is read and decided before work starts. */
interface Work {
  readonly model: VisionModel;
  readonly videos: readonly Video[];
  readonly calibration: readonly Video[];
  readonly methods: readonly VisionMethod[];
  readonly refused: VisionEvaluation["refused"];
  /** Visual tokens of the longest video. */
  readonly visualTokens: number;
  /** Tokens of the longest text behind a video. */
  readonly textTokens: number;
}

/**
 * Evaluates what compressing videos costs a model.
 *
 * @throws {CoupletError} where a file is missing or unfit, or all methods are refused.
 */
export async function evaluateVision(options: VisionArguments): Promise<VisionEvaluation> {
  const started = performance.now();
  const work = await prepare(options);
  const { model, videos, calibration, methods, visualTokens, textTokens } = work;
  const { report: adapter } = await requestAdapter();
  const spans = Object.assign({}, ...methods.map((one, i) => methodSpans(one, i, visualTokens)));
  const planOptions = visionPlanOptions({ model, spans, textTokens });
  const device = await requestTestDevice({ requiredLimits: { ...requiredLimits(planOptions) } });
  console.error(
    `model:   ${model.fingerprint.name}\nadapter: ${adapter.name}\n` +
      `videos:  ${videos.length}, ${videos[0]!.questions.length} questions each`,
  );

  const progress = new Progress(calibration.length > 0 ? 2 : 1);
  const codebooks = calibration.length > 0
    ? await learn(work, options, device, progress)
    : undefined;
  const stage = progress.stage("ask");
  const host = await VisionHost.create({
    device,
    model,
    spans,
    textTokens,
    ...(codebooks ? { codebooks } : {}),
  });
  const exact: Answer[][] = [];
  const answers: Answer[][][] = methods.map(() => []);
  const sizes: MethodSize[] = [];
  for (const [i, video] of videos.entries()) {
    const seen = await host.read(video.pixels);
    const tokenIds = questionTokens(video.questions);
    const sequence = host.exact(seen);
    exact.push(readAnswers(model, video.questions, await host.ask(seen, sequence, tokenIds)));
    host.free(sequence);
    const evaluated = { host, device, model, video, seen, protect: options.protect };
    for (const [index, method] of methods.entries()) {
      const { sequence, parts } = await treat(evaluated, method, index);
      const logits = await host.ask(seen, sequence, tokenIds);
      host.free(sequence);
      sizes[index] = methodSize(method, parts, model.text.config);
      answers[index]!.push(readAnswers(model, video.questions, logits));
      stage.update((i + (index + 1) / methods.length) / videos.length);
    }
    host.forget(seen);
  }
  stage.done();
  const figures: VisionEvaluation = {
    format: "couplet-eval-vision",
    version: 1,
    adapter: { name: adapter.name, kind: adapter.kind },
    model: model.fingerprint,
    settings: {
      seed: options.seed,
      videos: videos.length,
      visualTokens,
      calibrationVideos: calibration.length,
      weights: options.weights,
      protect: options.protect,
    },
    exact: {
      ...answerFigures(exact),
      bytes: spanBytes({ keys: "f16", values: "f16" }, visualTokens, model.text.config),
    },
    methods: methods.map((method, i) => ({
      name: method.name,
      ...sizes[i]!,
      ...comparedFigures(answers[i]!, exact),
    })),
    refused: work.refused,
    seconds: (performance.now() - started) / 1000,
  };
  host.destroy();
  device.destroy();
  return figures;
}

async function prepare(options: VisionArguments): Promise<Work> {
  for (const path of [options.json, options.html]) await checkWritable(path);
  const model = await loadVisionModel(options.model);
  const videos = (await readVideos(options.videos, model)).slice(0, options.examples);
  const { frameSize, frameTokens } = model.vision;
  const visualTokens = Math.max(
    ...videos.map(({ pixels }) => pixels.length / frameSize ** 2 * frameTokens),
  );
  const textTokens = Math.max(...videos.map(({ questions }) => questionTokens(questions).length));
  const refused: CoupletError[] = [];
  const planned = options.methods.filter((method) => {
    try {
      const spans = methodSpans(method, 0, visualTokens);
      planCache(visionPlanOptions({ model, spans, textTokens }));
      return true;
    } catch (error) {
      if (!(error instanceof CoupletError)) throw error;
      refused.push(error);
      return false;
    }
  });
  if (planned.length === 0 && refused.length > 0) throw refused[0]!;
  return {
    model,
    videos,
    calibration: needsCodebooks(spanPolicies(planned))
      ? await readVideos(options.calibration, model)
      : [],
    methods: [HIDDEN, ...planned],
    refused: options.methods.filter((method) => !planned.includes(method)).map(({ name }, i) => ({
      method: name,
      why: refused[i]!.parts.why,
    })),
    visualTokens,
    textTokens,
  };
}

/** The schemes of all spans of methods. */
function spanPolicies(methods: readonly VisionMethod[]) {
  return methods.flatMap(({ treatment }) => treatment.kind === "span" ? treatment.schemes : []);
}

/** Codebooks of all learned schemes. */
async function learn(
  { model, calibration, methods }: Work,
  { weights, seed }: VisionArguments,
  device: GPUDevice,
  progress: Progress,
): Promise<CodebookSet> {
  const stage = progress.stage("codebooks");
  const codebooks = await learnSpanCodebooks({
    device,
    model,
    videos: calibration,
    policies: spanPolicies(methods),
    weighting: weights,
    seed,
    source: "visual tokens",
  }, stage);
  stage.done();
  return codebooks;
}
