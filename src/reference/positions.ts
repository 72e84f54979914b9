/**
 * The figures that the reference derives from a cache's options. It computes its own: it judges the
 * cache on a device, and would not notice a mistake that it shared with the planner.
 */
import type { KeyOptions } from "../model/model.ts";
import type { ReferenceCacheOptions } from "../plan/reference_options.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { SchemeId } from "../schemes/scheme.ts";

/** One layer's part of the options. */
export interface ReferenceLayer {
  /** Scheme of the keys. */
  readonly keys: SchemeId;
  /** Scheme of the values. */
  readonly values: SchemeId;
  /** Query heads. */
  readonly queryHeads: number;
  /** KV heads. */
  readonly keyValueHeads: number;
  /** Channels per head of queries and keys. */
  readonly headDim: number;
  /** Channels per head of values and the output. */
  readonly valueHeadDim: number;
  /** Factor of `q . k`. */
  readonly scale: number;
  /** Its keys; those without a rotary embedding are scored as they are. */
  readonly keySpace: KeyOptions;
  /** The layer whose keys and values it attends to. */
  readonly source: number;
  /** Learned logits of its query heads, those before it counted. */
  readonly firstLogit: number;
  /** Most recent tokens a query sees; all where it is 0. */
  readonly slidingWindow: number;
}

/** The keys of a layer. */
function readKeys(given: ReferenceCacheOptions["keys"], layer: number): KeyOptions {
  if (given.space !== "pre-rope" || !("length" in given.rope)) return given as KeyOptions;
  const rope = given.rope[layer]!;
  return rope === null ? { space: "as-scored" } : { space: "pre-rope", rope };
}

/** Every layer of a shape, with its policy. */
export function readLayers(
  { shape, policy, keys: given, scale }: ReferenceCacheOptions,
): readonly ReferenceLayer[] {
  const { queryHeads, keyValueHeads, headDim, valueHeadDim = headDim, slidingWindow = 0 } = shape;
  let logits = 0;
  const at = (value: number | readonly number[], layer: number) =>
    typeof value === "number" ? value : value[layer]!;
  return Array.from({ length: shape.layers }, (_, layer) => {
    const source = shape.sharesWith?.[layer] ?? layer;
    const { keys, values } = policy.layers?.[source] ?? policy;
    const firstLogit = logits;
    logits += at(queryHeads, layer);
    return {
      keys,
      values,
      queryHeads: at(queryHeads, layer),
      keyValueHeads: at(keyValueHeads, layer),
      headDim: at(headDim, layer),
      valueHeadDim: at(valueHeadDim, layer),
      scale: scale === undefined ? 1 / Math.sqrt(at(headDim, layer)) : at(scale, layer),
      keySpace: readKeys(given, layer),
      source,
      firstLogit,
      slidingWindow: at(slidingWindow, layer),
    };
  });
}

/**
 * Tokens that leave the window at once: as many as the layer with the largest blocks codes
 * together.
 */
export function windowBlock(layers: readonly ReferenceLayer[]): number {
  let largest = 1;
  for (const { keys, values } of layers) {
    for (const id of [keys, values]) largest = Math.max(largest, parseScheme(id).block);
  }
  return largest;
}

/**
 * Recent tokens of a sequence whose exact values are kept: those of the window, those of an
 * incomplete block, and as many as one step may push out or a rollback bring back.
 */
export function keptExactly(window: number, block: number, appendTokens: number): number {
  const waiting = block - 1;
  return window + waiting + appendTokens;
}
