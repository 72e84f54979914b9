/** The buffers all layers of a cache share. */
import { pageTableBytes, ropeRows, stepsBytes } from "../plan/sizes.ts";
import {
  buffersOfLayer,
  type LayerBuffers,
  storageBuffer,
  uniformBuffer,
} from "./layer_buffers.ts";
import { COUNTER_BYTES } from "../plan/sizes.ts";
import type { CachePlan } from "../plan/plan.ts";
import { ropeTable } from "./rope_table.ts";
import type { SpanBuffers } from "./span_buffers.ts";
import { parameterSets } from "../plan/steps.ts";

/** The buffers all layers share. Those a plan does not need are absent. */
export interface SharedBuffers {
  /** Page tables, `[page table][slot][pages]`. */
  readonly pages: GPUBuffer;
  /** Parameters of steps. */
  readonly steps: GPUBuffer;
  /** Partial results of splits. */
  readonly partials: GPUBuffer;
  /** Counts of numbers that binary16 could not hold. */
  readonly counters: GPUBuffer;
  /** Cosines and sines, by rotary table. */
  readonly ropes: readonly GPUBuffer[];
  /** Scores that a score kernel writes and a mix kernel reads. */
  readonly scores?: GPUBuffer;
  /** Tables of q.centroid. */
  readonly table?: GPUBuffer;
  /** Exact vectors of a span that is coded. */
  readonly spanExact?: GPUBuffer;
}

/** Allocates the buffers and uploads the rotary tables. */
export function createSharedBuffers(
  device: GPUDevice,
  { options, layers, scratch }: CachePlan,
): SharedBuffers {
  const storage = (name: string, size: number) => storageBuffer(device, `couplet ${name}`, size);
  const shared: { -readonly [name in keyof SharedBuffers]: SharedBuffers[name] } = {
    pages: storage("page tables", pageTableBytes(options)),
    steps: uniformBuffer(device, "couplet steps", stepsBytes(options, parameterSets(layers))),
    partials: storage("partial results", scratch.partials),
    counters: storage("counters", COUNTER_BYTES),
    ropes: options.ropeTables.map(({ rope, headDim }) => {
      const table = ropeTable(rope, headDim, ropeRows(options));
      const buffer = storage("rotary table", table.byteLength);
      device.queue.writeBuffer(buffer, 0, table);
      return buffer;
    }),
  };
  if (scratch.scores > 0) shared.scores = storage("scores", scratch.scores);
  if (scratch.spans > 0) shared.spanExact = storage("exact vectors of a span", scratch.spans);
  if (scratch.tables > 0) shared.table = storage("q.centroid tables", scratch.tables);
  return shared;
}

/** The buffers of a cache. */
export interface CacheBuffers {
  readonly layers: readonly LayerBuffers[];
  /** By kind of span. */
  readonly spans: readonly SpanBuffers[];
  readonly shared: SharedBuffers;
}

/** Every buffer of a cache, once. */
export function allBuffers({ layers, spans, shared }: CacheBuffers): Set<GPUBuffer> {
  return new Set([
    ...layers.flatMap(buffersOfLayer),
    ...spans.flatMap(({ all }) => all),
    ...Object.values(shared).flat(),
  ]);
}
