/** Codebooks whose centroids are added: how they lie on the device, and what may be wrong with them. */
import { fromFloat16Array, fromFloat16Bits } from "../base/float16.ts";
import { gridWords, NORM_LEVELS } from "../schemes/normalisation.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { Codebook } from "./codebook.ts";
import { HIGHEST } from "./grid.ts";

/**
 * A codebook as it lies on the device: each KV head's offsets, grids, sizes, and the word its
 * centroids begin at, which heads may share; then the centroids. A channel's grid has the lowest
 * number of each stage, and 64 times the steps of levels and means.
 */
export function packAdded(codebook: Codebook): Uint32Array<ArrayBuffer> {
  const { scheme, keyValueHeads, headDim, centroids, grid, normalisation } = codebook;
  const { codebookSpec, centroids: count } = parseScheme(scheme);
  const stages = codebookSpec!.stages!;
  const stride = codebookSpec!.headWords!(headDim);
  const channelWords = gridWords(stages);
  const headLevels = headDim * stages * count;
  const words = new Uint32Array(keyValueHeads * stride + centroids.length / 4);
  const halves = new Uint16Array(words.buffer);
  for (let head = 0; head < keyValueHeads; head++) {
    const first = head * stride;
    const end = first + headDim * (1 + channelWords);
    for (let i = 0; i < headDim; i++) {
      const channel = head * headDim + i;
      const at = 2 * (first + headDim + i * channelWords);
      halves.set(grid.subarray(channel * (stages + 1), (channel + 1) * (stages + 1)), at);
      halves[at + stages + 1] = normalisation?.meanSteps[channel] ?? 0;
    }
    if (normalisation !== undefined) {
      const { offsets, sizes } = normalisation;
      new Float32Array(words.buffer).set(
        offsets.subarray(head * headDim, (head + 1) * headDim),
        first,
      );
      halves.set(sizes.subarray(head * NORM_LEVELS, (head + 1) * NORM_LEVELS), 2 * end);
    }
    words[end + NORM_LEVELS / 2] = keyValueHeads * stride +
      ((head * headLevels) % centroids.length) / 4;
  }
  new Uint8Array(words.buffer).set(centroids, 4 * keyValueHeads * stride);
  return words;
}

/** What is wrong with a codebook of the right sizes; undefined if nothing is. */
export function addedFault(codebook: Codebook): string | undefined {
  const { scheme, centroids, grid, normalisation } = codebook;
  const { codebookSpec, centroids: count, channels } = parseScheme(scheme);
  if (normalisation === undefined === (codebookSpec!.normalised === true)) {
    return "the wrong normalisation, or none";
  }
  const stages = codebookSpec!.stages!;
  for (let at = stages; at < grid.length; at += stages + 1) {
    if (!(fromFloat16Bits(grid[at]!) > 0)) {
      return `a step at ${at} of its grid that is not positive`;
    }
  }
  // The levels of a sum lie in a byte.
  for (let row = 0; row < centroids.length / (stages * count); row++) {
    let sum = 0;
    for (let stage = 0; stage < stages; stage++) {
      const first = (Math.floor(row / channels) * stages + stage) * count * channels +
        row % channels;
      let highest = 0;
      for (let code = 0; code < count; code++) {
        highest = Math.max(highest, centroids[first + code * channels]!);
      }
      sum += highest;
    }
    if (sum > HIGHEST) return `levels of channel ${row} that add up to ${sum}`;
  }
  if (normalisation === undefined) return undefined;
  const steps = fromFloat16Array(normalisation.meanSteps);
  const sizes = fromFloat16Array(normalisation.sizes);
  if (!normalisation.offsets.every(Number.isFinite)) return "an offset that is not finite";
  if (!steps.every((step) => step >= 0 && step < Infinity)) return "a wrong step of its means";
  const ascending = sizes.every((size, i) =>
    size < Infinity && size > 0 && (i % NORM_LEVELS === 0 || size >= sizes[i - 1]!)
  );
  return ascending ? undefined : "sizes that are not positive and ascending";
}
