import { turnOf } from "../calibrate/turned_samples.ts";
import { type CalibrationSamples, checkSamples, tokensOf } from "../calibrate/samples.ts";
import type { Sensitivity } from "./choose_policy.ts";
import type { Codebook, CodebookSet } from "../codebooks/codebook.ts";
import { centroidHeads } from "../codebooks/device.ts";
import { type SizedCodebook, visitCoded } from "../codebooks/fit.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import { SCHEMES } from "../schemes/policy.ts";
import type { SchemeId } from "../schemes/scheme.ts";
import { checkOptions } from "../base/check_options.ts";
import { SAMPLES } from "../calibrate/sample_fields.ts";
import { CoupletError } from "../base/errors.ts";
import { CODEBOOKS } from "../codebooks/find.ts";

/** Most tokens that a sensitivity is estimated on. */
const MOST_TOKENS = 1024;

/**
 * Estimates what coding each layer and side alone will cost the model, without running it: half the
 * sum of squared errors times Fisher weights, per token. It is the second-order term of the KL
 * divergence from the uncompressed model, with only the diagonal of the empirical Fisher
 * information (Coupled Quantization, arXiv 2405.03917 §3.2).
 *
 * Use samples that the codebooks were not learned on: on their own samples, codebooks with many
 * centroids look better than they are.
 *
 * @param set Codebooks of the learned candidate schemes. Each whose layer and side has samples
 * yields one sensitivity, with `shareHeads` if its KV heads share centroids.
 * @param samples As for `calibrate`, with squared gradients of the summed loss as weights, one per
 * channel. At most 1024 tokens, spread evenly, are used.
 * @param dataFree Data-free candidate schemes, which need no codebooks. Defaults to none.
 * @returns Losses in nats per token.
 * @throws {CoupletError} `samples` where a value is not finite or weights are missing; `shape`
 * where there is not one weight per channel; `codebook` where a codebook is of another shape;
 * `usage` where a scheme is not data-free.
 *
 * @example From calibration to policy
 * ```ts
 * import { calibrate, type CalibrationSamples, choosePolicy, estimateSensitivities } from "@couplet/kv";
 *
 * // Captured from the model, with gradients; here, noise.
 * function capture(seed: number): CalibrationSamples[] {
 *   const noise = (factor: number) =>
 *     Float32Array.from({ length: 256 * 8 }, (_, i) => Math.sin(seed + i * i * factor));
 *   return (["keys", "values"] as const).map((side, i) => ({
 *     layer: 0,
 *     side,
 *     keyValueHeads: 1,
 *     headDim: 8,
 *     values: noise(i + 1),
 *     weights: noise(i + 3).map((gradient) => gradient ** 2),
 *   }));
 * }
 * const schemes = ["c4b4", "c2b4"] as const;
 * const codebooks = await calibrate({
 *   samples: capture(1),
 *   schemes: { keys: schemes, values: schemes },
 *   keySpace: "as-scored",
 *   model: { name: "my model", digest: "sha256:..." },
 *   seed: 1,
 * });
 * const { policy } = choosePolicy({
 *   shape: { layers: 1, queryHeads: 1, keyValueHeads: 1, headDim: 8 },
 *   keys: { space: "as-scored" },
 *   budgetBits: 1.5,
 *   tokens: Infinity,
 *   sequences: 1,
 *   sensitivities: estimateSensitivities(codebooks, capture(2)),
 * });
 * console.assert(policy.keys !== policy.values);
 * ```
 */
export function estimateSensitivities(
  set: CodebookSet,
  samples: readonly CalibrationSamples[],
  dataFree: readonly SchemeId[] = [],
): Sensitivity[] {
  checkOptions(
    "usage",
    "Cannot estimate sensitivities",
    { set: CODEBOOKS, samples: SAMPLES, dataFree: SCHEMES },
    { set, samples, dataFree },
  );
  return samples.flatMap((one) => {
    const { layer, side } = one;
    const learned = set.codebooks.filter((codebook) =>
      codebook.layer === layer && codebook.side === side
    );
    const weights = channelWeights(one);
    checkSamples(one, []);
    for (const codebook of learned) checkShape(codebook, one);
    const scored = side === "keys" && set.keySpace === "as-scored";
    function estimate(codebook: SizedCodebook): Sensitivity {
      const turn = turnOf(one, codebook.scheme, set);
      let sum = 0;
      const tokens = visitCoded(codebook, one.values, MOST_TOKENS, (_head, vector, decoded, at) => {
        for (let i = 0; i < vector.length; i++) {
          sum += weights[at + i]! * (vector[i]! - decoded[i]!) ** 2;
        }
      }, { scored, ...(turn && { turn }) });
      return { layer, side, scheme: codebook.scheme, loss: sum / 2 / tokens };
    }
    return [
      ...learned.map((codebook) => ({
        ...estimate(codebook),
        ...(centroidHeads(codebook) < codebook.keyValueHeads ? { shareHeads: true } : {}),
      })),
      ...dataFree.map((scheme) => estimate(dataFreeCodebook(scheme, one))),
    ];
  });
}

/** A data-free scheme's codebook for the heads of samples. */
function dataFreeCodebook(
  id: SchemeId,
  { keyValueHeads, headDim }: CalibrationSamples,
): SizedCodebook {
  const definition = parseScheme(id).codebookSpec?.definition;
  if (definition === undefined) {
    throw new CoupletError("usage", {
      what: `Cannot estimate the sensitivities of ${id} without codebooks`,
      why: "it is no data-free scheme",
      remedy: "Learn its codebooks, and give them in the set",
    });
  }
  return { scheme: id, centroids: definition(headDim), keyValueHeads, headDim };
}

function channelWeights({ layer, side, values, weights }: CalibrationSamples): Float32Array {
  if (weights?.length === values.length && weights.length > 0) return weights;
  const what = `Cannot estimate the sensitivity of the ${side} of layer ${layer}`;
  const remedy = "Give squared gradients of the loss, one per channel";
  if (weights === undefined) {
    throw new CoupletError("samples", { what, why: "the samples have no weights", remedy });
  }
  throw new CoupletError("shape", {
    what,
    why: `there are ${weights.length} weights for ${values.length} values`,
    remedy,
  });
}

function checkShape(
  { scheme, keyValueHeads, headDim }: Codebook,
  samples: CalibrationSamples,
): void {
  if (keyValueHeads === samples.keyValueHeads && headDim === samples.headDim) return;
  throw new CoupletError("codebook", {
    what: `Cannot estimate the sensitivity of the ${samples.side} of layer ${samples.layer}`,
    why: `their ${scheme} codebook is for ${keyValueHeads} heads of ${headDim} channels, and the ${
      tokensOf(samples)
    } samples have ${samples.keyValueHeads} of ${samples.headDim}`,
    remedy: "Give samples of the model that was calibrated",
  });
}
