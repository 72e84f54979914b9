/** The parameters of kernels, as bytes. They must match `templates/frame/uniforms.hbs`. */
import type { ResolvedLayer, ResolvedOptions } from "../plan/options.ts";
import { exactSequenceBytes, exactSideBytes, LAYER_BYTES } from "../plan/sizes.ts";
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
  /** The first partial result of each row that is written. */
  readonly firstPartial?: number;
  /** Partial results of each row, all that are merged. */
  readonly partials?: number;
}

/** How the rows of a step lie in intermediate results. */
export interface StepRows {
  /** Workgroups that share the tokens of a row. */
  readonly splits: number;
  /** Scores of a row. */
  readonly scoreStride: number;
  /** Partial results of a row. */
  readonly partialStride: number;
}

/** The WGSL struct `Step`, up to its last used entry. */
export function stepParameters(
  entries: readonly StepEntryParameters[],
  { splits, scoreStride, partialStride }: StepRows,
): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(8 + 8 * entries.length);
  const most = Math.max(...entries.map(({ count }) => count));
  words.set([entries.length, most, splits, scoreStride, partialStride]);
  entries.forEach((entry, index) => {
    const { slot, start, count, first = 0, encodeFrom = 0, exactFrom = 0 } = entry;
    const { firstPartial = 0, partials = splits } = entry;
    words.set(
      [slot, start, count, first, encodeFrom, exactFrom, firstPartial, partials],
      8 + index * 8,
    );
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
  const { tiers } = options;
  const words = new Uint32Array(LAYER_BYTES / 4);
  const floats = new Float32Array(words.buffer);
  words.set([
    first,
    count,
    layer.queryHeads,
    layer.queryHeads / layer.keyValueHeads,
    tiers.sinks,
    tiers.window,
    options.block,
    ringSlots(options),
    pageTableStart(options, layer.pageTable),
    sequencePages(options),
  ]);
  floats[10] = layer.scale;
  floats[11] = options.softcap;
  words.set([offsets.keyScale, offsets.valueScale, offsets.values], 12);
  const { keys, values, queries, output } = layer.strides;
  words.set([keys, values, queries, output].flatMap(({ token, head }) => [token, head]), 15);
  // The caller says 0 for no limit, the kernels take the largest number.
  words[23] = layer.slidingWindow || 0xffffffff;
  words[24] = exactSequenceBytes(options, layer, count) / 4;
  words[25] = tiers.window + options.block > 1 ? 1 : 0;
  words[27] = exactSideBytes(options, layer, "keys", count) / 4;
  if (options.span !== undefined) {
    // A span's tokens never age: those that are not held exactly are coded, which is all.
    words[5] = 0xffffffff;
    words.set([0, 0], 24);
    floats[26] = options.span.remap;
  }
  return words;
}
