/**
 * A rotation of each KV head's values that is folded into the projections, so that groups of
 * channels have similar variance.
 */
import type { ValueRotation } from "../codebooks/codebook.ts";
import { checkOptions } from "../base/check_options.ts";
import { SAMPLE_FIELDS } from "./sample_fields.ts";
import { CoupletError } from "../base/errors.ts";
import { principalAxes } from "./principal_axes.ts";
import { type CalibrationSamples, checkSamples, tokensOf } from "./samples.ts";

/** Widths of groups that the order of axes serves, each a multiple of the one before. */
const WIDTHS = [1, 2, 4, 8, 16];

/**
 * The rotation of one layer's values onto their principal axes, distributed over the groups of
 * channels: in every scheme, each group gets one of the strongest axes, one of the next, and so on.
 * All groups have the same bits, and now about the same variance (stratified grouping, NOVA-KV,
 * arXiv 2608.04074).
 *
 * The host folds it into its weights. Nothing else changes: for each KV head with rotation `R`,
 * rows `W_v' = R W_v` and bias `b_v' = R b_v` of its value projection, and columns `W_o' = W_o R^T`
 * of the output projection, for each query head that reads it. Attention mixes values by weights
 * that do not depend on them, so the model computes the same. The samples and gradients that
 * codebooks are learned from must then be those of the folded model.
 *
 * @param samples Values of the original model, without weights or scale.
 * @throws {CoupletError} `usage` where the samples are keys, or have a scale or weights, which are
 * of single channels; `samples` where a value is not finite or there are fewer tokens than
 * channels; `shape` where values do not divide into tokens.
 */
export function valueRotation(samples: CalibrationSamples): ValueRotation {
  checkOptions("usage", "Cannot find a rotation of values", SAMPLE_FIELDS, samples);
  const { layer, side, keyValueHeads, headDim } = samples;
  const what = `Cannot find a rotation for the ${side} of layer ${layer}`;
  if (side !== "values") {
    throw new CoupletError("usage", {
      what,
      why: "the rotary embedding lies between keys and their scores, and no projection undoes it",
      remedy: "Rotate values only",
    });
  }
  if (samples.weights !== undefined || samples.scale !== undefined) {
    throw new CoupletError("usage", {
      what,
      why: "weights and scales are of single channels, which it mixes",
      remedy: "Find the rotation first, and take weights from the model that has it folded in",
    });
  }
  checkSamples(samples, []);
  const tokens = tokensOf(samples);
  if (tokens < headDim) {
    throw new CoupletError("samples", {
      what,
      why: `there are ${tokens} tokens for ${headDim} channels`,
      remedy: `Sample some thousand tokens, at least ${headDim}`,
    });
  }
  const order = dealtOrder(headDim);
  const axes = new Float32Array(keyValueHeads * headDim * headDim);
  for (let head = 0; head < keyValueHeads; head++) {
    const principal = principalAxes(covariance(samples, head), headDim);
    order.forEach((rank, row) => {
      axes.set(
        principal.subarray(rank * headDim, (rank + 1) * headDim),
        (head * headDim + row) * headDim,
      );
    });
  }
  return { layer, keyValueHeads, headDim, axes };
}

/**
 * Ranks in an order in which, for every width, a group's ranks are as far apart as possible: with
 * `groups` groups, those of rank r, r + groups, r + 2 groups and so on. One order serves all
 * schemes of a layer.
 *
 * @returns `[channels]`: the rank for each place.
 */
export function dealtOrder(channels: number): number[] {
  const groups = WIDTHS.filter((width) => channels % width === 0)
    .map((width) => channels / width).reverse();
  return Array.from({ length: channels }, (_, rank) => rank).sort((a, b) => {
    const count = groups.find((count) => a % count !== b % count)!;
    return (a % count) - (b % count);
  });
}

/** `[headDim][headDim]`, of one head. */
function covariance(samples: CalibrationSamples, head: number): Float64Array {
  const { values, keyValueHeads, headDim } = samples;
  const stride = keyValueHeads * headDim;
  const tokens = tokensOf(samples);
  const mean = new Float64Array(headDim);
  for (let at = head * headDim; at < values.length; at += stride) {
    for (let i = 0; i < headDim; i++) mean[i]! += values[at + i]! / tokens;
  }
  const sums = new Float64Array(headDim * headDim);
  const centred = new Float64Array(headDim);
  for (let at = head * headDim; at < values.length; at += stride) {
    for (let i = 0; i < headDim; i++) centred[i] = values[at + i]! - mean[i]!;
    for (let i = 0; i < headDim; i++) {
      for (let j = 0; j <= i; j++) sums[i * headDim + j]! += centred[i]! * centred[j]!;
    }
  }
  for (let i = 0; i < headDim; i++) {
    for (let j = 0; j < i; j++) sums[j * headDim + i] = sums[i * headDim + j]!;
  }
  return sums;
}
