/** Codebooks of spans, learned on videos. */
import {
  calibrate,
  type CodebookSet,
  parseScheme,
  type Policy,
  type SchemeId,
  type Side,
} from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import type { Stage } from "../../cli/progress.ts";
import { questionTokens } from "./answers.ts";
import { VisionHost } from "./host.ts";
import { spanSamples, type SpanWeighting } from "./span_samples.ts";
import type { Video } from "./videos.ts";
import type { VisionModel } from "./vision_model.ts";

/** What codebooks are learned from, and for. */
export interface SpanCodebookOptions {
  readonly device: GPUDevice;
  readonly model: VisionModel;
  /** Videos to read. Their questions are asked only for weights. */
  readonly videos: readonly Video[];
  /** Schemes of spans; those without learned codebooks take none. */
  readonly policies: readonly Policy[];
  /** Which errors count more. */
  readonly weighting: SpanWeighting;
  readonly seed: number;
  /** The videos' name. */
  readonly source: string;
}

/** Whether spans of these schemes need codebooks. */
export function needsCodebooks(policies: readonly Policy[]): boolean {
  return learnedSchemes(policies, "keys").length + learnedSchemes(policies, "values").length > 0;
}

/**
 * Reads videos, and learns codebooks on the keys, as they are scored, and values of their visual tokens.
 *
 * @throws {CoupletError} as `calibrate` does.
 */
export async function learnSpanCodebooks(
  { device, model, videos, policies, weighting, seed, source }: SpanCodebookOptions,
  stage: Stage,
): Promise<CodebookSet> {
  const textTokens = Math.max(
    1,
    ...videos.map(({ questions }) => questionTokens(questions).length),
  );
  const host = await VisionHost.create({ device, model, spans: {}, textTokens });
  // Reading and clustering take about as long.
  const samples = await spanSamples(
    host,
    device,
    model,
    videos,
    weighting,
    (fraction) => stage.update(fraction / 2),
  );
  host.destroy();
  return await calibrate({
    device,
    kernels: manifest,
    samples,
    schemes: {
      keys: learnedSchemes(policies, "keys"),
      values: learnedSchemes(policies, "values"),
    },
    keySpace: "as-scored",
    model: model.fingerprint,
    seed,
    source,
    onProgress: ({ fraction }) => stage.update((1 + fraction) / 2),
  });
}

/** The learned schemes of one side, in any layer. */
function learnedSchemes(policies: readonly Policy[], side: Side): SchemeId[] {
  const ofAll = policies.flatMap((policy) => [policy, ...Object.values(policy.layers ?? {})]);
  return [...new Set(ofAll.map((policy) => policy[side]))]
    .filter((id) => parseScheme(id).codebook === "learned");
}
