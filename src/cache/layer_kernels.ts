/** A layer's kernels with its buffers, and what the attention of a layer dispatches. */
import { BoundKernel, type HostBindings } from "./bound_kernel.ts";
import type { AttentionGrid, EntryGrid } from "./grids.ts";
import type { CompiledAttention } from "./compiled_layer.ts";
import type { BindingName } from "../kernels/bindings.ts";
import { MIX_PARTS, TABLE_LANE_ENTRIES, WORKGROUP_SIZE } from "../kernels/constants.ts";
import type { KernelBuffers, PartBuffers } from "./layer_buffers.ts";
import type { CompiledKernel } from "./pipelines.ts";
import type { ResolvedLayer } from "../plan/options.ts";
import { kernelParts } from "../kernels/select.ts";
import { tableEntries } from "../plan/sizes.ts";
import { headBlocks } from "../plan/steps.ts";
import type { Recorder } from "./recorder.ts";
import type { SharedBuffers } from "./shared_buffers.ts";
import { type Side, sideDim, type SideDims, SIDES } from "../model/side.ts";

/** Kernels with the buffers of one layer. */
export class LayerKernels {
  readonly #device: GPUDevice;
  readonly #shared: SharedBuffers;
  readonly #rope: GPUBuffer | undefined;
  /** The buffers. */
  readonly buffers: KernelBuffers;
  /** Kernels that were already dispatched, by the buffer of records they were given. */
  readonly #bound = new Map<GPUBuffer, Map<CompiledKernel, BoundKernel>>();

  /** @param ropeTable The index of the layer's rotary table; absent where it has none. */
  constructor(
    device: GPUDevice,
    buffers: KernelBuffers,
    shared: SharedBuffers,
    ropeTable = -1,
  ) {
    this.#device = device;
    this.buffers = buffers;
    this.#shared = shared;
    this.#rope = shared.ropes[ropeTable];
  }

  /**
   * A kernel with the buffers of a part of the layer.
   *
   * @param records The buffer of records to read or write.
   * @param mostGroups Bind groups to keep.
   */
  bind(
    kernel: CompiledKernel,
    part: PartBuffers,
    records: GPUBuffer = part.exact,
    mostGroups?: number,
  ): BoundKernel {
    let bound = this.#bound.get(records);
    if (bound === undefined) this.#bound.set(records, bound = new Map());
    let found = bound.get(kernel);
    if (found === undefined) {
      const own = (name: BindingName) =>
        ownBuffer(name, this.buffers, part, this.#shared, this.#rope, records);
      bound.set(kernel, found = new BoundKernel(this.#device, kernel, own, mostGroups));
    }
    return found;
  }
}

/** Workgroups that copy one unit, a word of each stride per lane. */
const COPY_WORKGROUPS = 1024;

/** Workgroups that copy a unit of some words. */
export function copyGroups(words: number): number {
  return Math.min(Math.ceil(words / WORKGROUP_SIZE), COPY_WORKGROUPS);
}

/** A part's records of one side. */
export function recordsOf({ keyRecords, valueRecords }: PartBuffers, side: Side): GPUBuffer {
  return side === "keys" ? keyRecords : valueRecords;
}

/** Records the storing of exact tokens of a part of a layer. */
export function recordStores(
  recorder: Recorder,
  kernels: LayerKernels,
  part: PartBuffers,
  stores: readonly CompiledKernel[],
  layer: SideDims,
  { place, entries, most }: EntryGrid,
  host: HostBindings,
): void {
  stores.forEach((store, i) => {
    const words = part.heads.count * sideDim(layer, SIDES[i]!) / 2;
    const groups = Math.ceil(words / WORKGROUP_SIZE);
    const sides = entries * SIDES.length / stores.length;
    kernels.bind(store, part).dispatch(recorder, place, host, groups, most, sides);
  });
}

/** Records the attention of one layer, up to the partial results. */
export function recordAttention(
  recorder: Recorder,
  kernels: LayerKernels,
  { table: fill, attend, score, remap, mix }: CompiledAttention,
  { keys, queryHeads, keyValueHeads, headDim }: ResolvedLayer,
  { place, entries, most, splits }: AttentionGrid,
  host: HostBindings,
): void {
  const blocks = entries * headBlocks(most * queryHeads, keyValueHeads);
  // Kernels for all heads at once can use the buffers of any part.
  const { parts } = kernels.buffers;
  const mixParts = mix && kernelParts(mix.kernel).feature === "staged" ? MIX_PARTS : 1;
  if (fill !== undefined) {
    const groups = Math.ceil(tableEntries(keys, headDim) / TABLE_LANE_ENTRIES / WORKGROUP_SIZE);
    kernels.bind(fill, parts[0]!).dispatch(recorder, place, host, groups, keyValueHeads, blocks);
  }
  for (const part of parts) {
    const dispatch = (kernel: CompiledKernel | undefined, x: number, y: number, z: number) => {
      if (kernel !== undefined) kernels.bind(kernel, part).dispatch(recorder, place, host, x, y, z);
    };
    for (const kernel of [attend, score]) dispatch(kernel, splits, part.heads.count, blocks);
    dispatch(remap, queryHeads, most, entries);
    dispatch(mix, splits * mixParts, part.heads.count, blocks);
  }
}

/** The cache's own buffer behind a binding, or undefined where it is given with the dispatch. */
function ownBuffer(
  name: BindingName,
  { codebooks, sinkLogits, levels }: KernelBuffers,
  { parameters, exact, keyRecords, valueRecords }: PartBuffers,
  { pages, partials, counters, scores, table }: SharedBuffers,
  rope: GPUBuffer | undefined,
  records: GPUBuffer,
): GPUBuffer | undefined {
  const buffers: Readonly<Record<string, GPUBuffer | undefined>> = {
    layer: parameters,
    exact,
    key: keyRecords,
    value: valueRecords,
    records,
    coded: records,
    codebook: codebooks,
    codebooks,
    levels,
    sink_logits: sinkLogits,
    pages,
    rope,
    partials,
    row_scores: scores,
    table,
    counters,
  };
  // The suffix of a binding's name says how the kernel sees the buffer.
  return buffers[name.replace(/(_quads|_pairs|_records|16)?(_written)?$/, "")];
}
