/**
 * Checks the buffers of a plan against the largest binding of a device. Some are bound whole,
 * others are divided by KV heads.
 */
import { type ResolvedLayer, type ResolvedOptions, WHAT } from "./options.ts";
import { centroidBytes, exactBytes, poolBytes, type ScratchBytes } from "./sizes.ts";
import { raise } from "../base/raise.ts";
import type { PlanLimits } from "./limits.ts";
import { SIDES } from "../model/side.ts";

/** Consecutive KV heads of a layer. */
export interface HeadRange {
  /** The first. */
  readonly first: number;
  /** How many there are. */
  readonly count: number;
}

/** Checks that a step's dispatches fit their grid. */
export function checkWorkgroups({ capacity, layers }: ResolvedOptions, limits: PlanLimits): void {
  const groups = limits.maxComputeWorkgroupsPerDimension;
  const heads = Math.max(...layers.map((layer) => layer.keyValueHeads));
  if (capacity.stepTokens * heads > groups) {
    raise(
      "limits",
      WHAT,
      `steps of ${capacity.stepTokens} tokens need more than ${groups} workgroups in one dimension`,
      "Use smaller steps (capacity.stepTokens)",
    );
  }
}

/** A buffer that must fit one binding. */
export interface BoundBuffer {
  /** What it holds, for errors. */
  readonly name: string;
  /** Its size. */
  readonly bytes: number;
  /** How to make it smaller. */
  readonly remedy: string;
}

function bindingBytes(limits: PlanLimits): number {
  return Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
}

/** @throws {CoupletError} `limits` where a buffer exceeds the largest binding. */
export function checkBuffer({ name, bytes, remedy }: BoundBuffer, limits: PlanLimits): void {
  const bound = bindingBytes(limits);
  if (bytes <= bound) return;
  raise(
    "limits",
    WHAT,
    `${name} takes ${bytes} bytes in one buffer and the device binds at most ${bound}`,
    `${remedy}, or request the device with maxStorageBufferBindingSize and maxBufferSize of at least ${bytes}`,
  );
}

/** Bytes per head of one layer's buffers that hold all tokens of all sequences. */
function headBuffers(
  options: ResolvedOptions,
  layer: ResolvedLayer,
  index: number,
): readonly BoundBuffer[] {
  return [
    {
      name: `one head's exact tier of layer ${index}`,
      bytes: exactBytes(options, layer, 1),
      remedy: "Use a smaller window, smaller steps (capacity.appendTokens) or fewer sequences",
    },
    ...SIDES.map((side) => ({
      name: `one head's ${side} of layer ${index}`,
      bytes: poolBytes(options, layer, side, 1),
      remedy: "Hold fewer tokens (capacity.tokens)",
    })),
  ];
}

/**
 * Divides a layer's KV heads into as few ranges as bindings allow, of nearly equal size.
 *
 * @returns The ranges, and the bytes of the largest buffer of one.
 * @throws {CoupletError} `limits` where one head exceeds the largest binding.
 */
export function divideHeads(
  options: ResolvedOptions,
  layer: ResolvedLayer,
  index: number,
  limits: PlanLimits,
): { readonly parts: readonly HeadRange[]; readonly largest: number } {
  const buffers = headBuffers(options, layer, index);
  for (const buffer of buffers) checkBuffer(buffer, limits);
  const heads = layer.keyValueHeads;
  const perHead = Math.max(...buffers.map(({ bytes }) => bytes));
  const most = Math.floor(bindingBytes(limits) / perHead);
  const count = Math.ceil(heads / Math.min(most, heads));
  const parts = Array.from({ length: count }, (_, part) => {
    const first = Math.floor((part * heads) / count);
    return { first, count: Math.floor(((part + 1) * heads) / count) - first };
  });
  return { parts, largest: perHead * Math.max(...parts.map(({ count }) => count)) };
}

/** The buffers that are bound whole. */
export function wholeBuffers(options: ResolvedOptions, scratch: ScratchBytes): BoundBuffer[] {
  const buffer = (name: string, bytes: number) => ({
    name: `the ${name} of a step`,
    bytes,
    remedy: "Use smaller steps (capacity.stepTokens)",
  });
  return [
    buffer("partial results", scratch.partials),
    buffer("scores", scratch.scores),
    buffer("q.centroid tables", scratch.tables),
    ...options.layers.map((layer, index) => ({
      name: `the codebooks of layer ${index}`,
      bytes: centroidBytes(options, layer, "keys") + centroidBytes(options, layer, "values"),
      remedy: "Choose schemes with fewer centroids",
    })),
  ];
}
