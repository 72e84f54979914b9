/**
 * The figures that the reference derives from a cache's options. It computes its own: it judges the
 * cache on a device, and would not notice a mistake that it shared with the planner.
 */
import type { ModelShape } from "../model/model.ts";
import type { Policy } from "../schemes/policy.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { SchemeId } from "../schemes/scheme.ts";

/** One layer's part of the options. */
export interface ReferenceLayer {
  /** Scheme of the keys. */
  readonly keys: SchemeId;
  /** Scheme of the values. */
  readonly values: SchemeId;
  /** KV heads. */
  readonly keyValueHeads: number;
  /** Most recent tokens a query sees; all where it is 0. */
  readonly slidingWindow: number;
}

/** Every layer of a shape, with its policy. */
export function readLayers(shape: ModelShape, policy: Policy): readonly ReferenceLayer[] {
  const { keyValueHeads, slidingWindow = 0 } = shape;
  const at = (value: number | readonly number[], layer: number) =>
    typeof value === "number" ? value : value[layer]!;
  return Array.from({ length: shape.layers }, (_, layer) => {
    const { keys, values } = policy.layers?.[layer] ?? policy;
    return {
      keys,
      values,
      keyValueHeads: at(keyValueHeads, layer),
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
