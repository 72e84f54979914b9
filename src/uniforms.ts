/** The parameters of kernels, as bytes; the twin of `templates/partials/uniforms.hbs`. */
import type { ResolvedOptions } from "./cache_options.ts";
import { LAYER_BYTES, ringSlots, sequencePages, STEP_BYTES } from "./cache_sizes.ts";

/** One sequence's share of a step. */
export interface StepEntryParameters {
  /** The sequence's slot. */
  readonly slot: number;
  /** Tokens before the step. */
  readonly start: number;
  /** Tokens the step adds. */
  readonly count: number;
  /** Row of the first of them in the host's buffers. */
  readonly first: number;
  /** First coded token to encode, counted behind the sinks. */
  readonly encodeFrom: number;
  /** First position held exactly, sinks apart. */
  readonly exactFrom: number;
}

/** Bytes of the WGSL struct `Step`. */
export function stepParameters(
  entries: readonly StepEntryParameters[],
  splits: number,
  scoreStride: number,
): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(STEP_BYTES / 4);
  words.set([entries.length, Math.max(...entries.map(({ count }) => count)), splits, scoreStride]);
  entries.forEach(({ slot, start, count, first, encodeFrom, exactFrom }, index) => {
    words.set([slot, start, count, first, encodeFrom, exactFrom], 4 + index * 8);
  });
  return words;
}

/** Word offsets of the parts of one layer's codebook buffer; 0 where a scale is absent. */
export interface CodebookOffsets {
  /** The values' centroids. */
  readonly values: number;
  /** The keys' channel scale. */
  readonly keyScale: number;
  /** The values' channel scale. */
  readonly valueScale: number;
}

/** Bytes of the WGSL struct `Layer`. */
export function layerParameters(
  options: ResolvedOptions,
  offsets: CodebookOffsets,
): Uint32Array<ArrayBuffer> {
  const { shape, tiers, io } = options;
  const words = new Uint32Array(LAYER_BYTES / 4);
  const floats = new Float32Array(words.buffer);
  words.set([
    shape.keyValueHeads,
    shape.queryHeads / shape.keyValueHeads,
    tiers.sinks,
    tiers.window,
    ringSlots(options),
    sequencePages(options),
    io.dtype === "f16" ? 1 : 0,
  ]);
  floats[7] = options.scale;
  floats[8] = options.softcap;
  words.set([offsets.keyScale, offsets.valueScale, offsets.values], 9);
  const strides = [io.keys, io.values, io.queries, io.output];
  words.set(strides.flatMap(({ token, head }) => [token, head]), 12);
  return words;
}
