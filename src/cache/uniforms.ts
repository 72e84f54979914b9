/** The parameters of kernels, as bytes. They must match `templates/frame/uniforms.hbs`. */
import type { ResolvedLayer, ResolvedOptions } from "../plan/options.ts";
import { LAYER_BYTES } from "../plan/sizes.ts";
import { pageTableStart, ringSlots, sequencePages } from "../plan/pages.ts";
import type { HeadRange } from "../plan/divide_heads.ts";
import type { CodebookOffsets } from "../codebooks/device.ts";

/** One sequence's share of a step. */
export interface StepEntryParameters {
  /** The sequence's slot. */
  readonly slot: number;
  /** Tokens before the step. */
  readonly start: number;
  /** Tokens the step adds. */
  readonly count: number;
  /** Row of the first of them in the host's buffers. Defaults to 0, like those that follow. */
  readonly first?: number;
  /** First coded token to encode, counted behind the sinks. */
  readonly encodeFrom?: number;
  /** First position after the sinks that is held exactly. */
  readonly exactFrom?: number;
}

/** The WGSL struct `Step`, up to its last used entry. */
export function stepParameters(
  entries: readonly StepEntryParameters[],
  splits: number,
  scoreStride: number,
): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(4 + 8 * entries.length);
  words.set([entries.length, Math.max(...entries.map(({ count }) => count)), splits, scoreStride]);
  entries.forEach(({ slot, start, count, first = 0, encodeFrom = 0, exactFrom = 0 }, index) => {
    words.set([slot, start, count, first, encodeFrom, exactFrom], 4 + index * 8);
  });
  return words;
}

/** The WGSL struct `Layer`, for a range of the layer's KV heads. */
export function layerParameters(
  options: ResolvedOptions,
  layer: ResolvedLayer,
  { first, count }: HeadRange,
  offsets: CodebookOffsets,
): Uint32Array<ArrayBuffer> {
  const { shape, tiers } = options;
  const words = new Uint32Array(LAYER_BYTES / 4);
  const floats = new Float32Array(words.buffer);
  words.set([
    first,
    count,
    shape.queryHeads,
    shape.queryHeads / layer.keyValueHeads,
    tiers.sinks,
    tiers.window,
    options.block,
    ringSlots(options),
    pageTableStart(options, layer.pageTable),
    sequencePages(options),
  ]);
  floats[10] = options.scale;
  floats[11] = options.softcap;
  words.set([offsets.keyScale, offsets.valueScale, offsets.values], 12);
  const { keys, values, queries, output } = layer.strides;
  words.set([keys, values, queries, output].flatMap(({ token, head }) => [token, head]), 15);
  // The caller says 0 for no limit, the kernels take the largest number.
  words[23] = layer.slidingWindow || 0xffffffff;
  return words;
}
