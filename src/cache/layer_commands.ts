/** Records what one layer does in a step. */
import { tableEntries } from "../plan/sizes.ts";
import { BoundKernel, type HostBindings, NO_HOST } from "./bound_kernel.ts";
import type { ResolvedOptions } from "../plan/options.ts";
import { type AttentionWay, headBlocks } from "../plan/steps.ts";
import type { CompiledLayer, CopiedBuffer } from "./compiled_layer.ts";
import type { BindingName } from "../kernels/bindings.ts";
import { TABLE_LANE_ENTRIES, WORKGROUP_SIZE } from "../kernels/constants.ts";
import type { LayerBuffers, PartBuffers } from "./layer_buffers.ts";
import type { CompiledKernel } from "./pipelines.ts";
import type { Recorder } from "./recorder.ts";
import type { RestoredPart } from "./restored_content.ts";
import { type Side, SIDES } from "../model/side.ts";
import type { SharedBuffers } from "./shared_buffers.ts";
import type { ParameterPlace } from "./step_places.ts";

/** Entries of a kernel's parameters: where they lie, and how many there are. */
export interface EntryGrid {
  readonly place: ParameterPlace;
  readonly entries: number;
  /** Most of what an entry counts: tokens, pages or units. */
  readonly most: number;
}

/** What dispatches depend on in a step. */
export interface StepGrid extends EntryGrid {
  /** Coded tokens before and after, by entry. */
  readonly coded: readonly { readonly codedBefore: number; readonly codedAfter: number }[];
  /** Decode or prefill, */
  readonly way: AttentionWay;
  /** and how layers divide attention among workgroups, by kind of layer. */
  readonly shares: readonly StepShare[];
}

/** How one layer divides a step's attention among workgroups. */
export interface StepShare {
  /** Where its parameters lie. */
  readonly place: ParameterPlace;
  /** Workgroups for each block of query rows. */
  readonly splits: number;
}

/** Workgroups that copy one unit, a word of each stride per lane. */
const COPY_WORKGROUPS = 1024;

/** One layer's kernels with their buffers. */
export class LayerCommands {
  readonly #device: GPUDevice;
  readonly #options: ResolvedOptions;
  readonly #index: number;
  readonly #compiled: CompiledLayer;
  readonly #buffers: LayerBuffers;
  readonly #shared: SharedBuffers;
  /** Kernels that were already dispatched, by the buffer of records they were given. */
  readonly #bound = new Map<GPUBuffer, Map<CompiledKernel, BoundKernel>>();

  constructor(
    device: GPUDevice,
    options: ResolvedOptions,
    index: number,
    compiled: CompiledLayer,
    buffers: LayerBuffers,
    shared: SharedBuffers,
  ) {
    this.#device = device;
    this.#options = options;
    this.#index = index;
    this.#compiled = compiled;
    this.#buffers = buffers;
    this.#shared = shared;
  }

  /**
   * A kernel with the buffers of a part of the layer.
   *
   * @param records The buffer of records to read or write.
   * @param mostGroups Bind groups to keep.
   */
  #bind(
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
        ownBuffer(name, this.#buffers, part, this.#shared, records);
      bound.set(kernel, found = new BoundKernel(this.#device, kernel, own, mostGroups));
    }
    return found;
  }

  /** The page table the layer reads. */
  get pageTable(): number {
    return this.#options.layers[this.#index]!.pageTable;
  }

  /** Copies units of one kind within their buffers. */
  copy(recorder: Recorder, buffer: CopiedBuffer, { place, entries }: EntryGrid): void {
    this.#buffers.parts.forEach((part, i) => {
      const { kernel, words } = this.#compiled.units[i]!.copies[buffer];
      const copy = this.#bind(kernel, part, part[buffer]);
      copy.dispatch(recorder, place, NO_HOST, copyGroups(words), entries, 1);
    });
  }

  /** Puts runs of units of one kind out of a restored sequence's buffers in place. */
  restore(
    recorder: Recorder,
    buffer: CopiedBuffer,
    { place, entries, most }: EntryGrid,
    restored: readonly RestoredPart[],
  ): void {
    this.#buffers.parts.forEach((part, i) => {
      const source = restored[i]![buffer];
      if (source === undefined) return;
      const { kernel, words } = this.#compiled.units[i]!.restores[buffer];
      const host = { restored: { buffer: source } };
      // Restored content is put in place once, from large buffers, so no bind group is kept.
      const restore = this.#bind(kernel, part, part[buffer], 0);
      restore.dispatch(recorder, place, host, copyGroups(words * most), entries, 1);
    });
  }

  /** Stores and encodes a step's tokens. */
  append(recorder: Recorder, step: StepGrid, host: HostBindings): void {
    for (const part of this.#buffers.parts) {
      const heads = part.heads.count;
      const words = (heads * this.#options.shape.headDim) / 2;
      const groups = Math.ceil(words / WORKGROUP_SIZE);
      const store = this.#bind(this.#compiled.store, part);
      store.dispatch(recorder, step.place, host, groups, step.most, step.entries * 2);
      for (const side of SIDES) {
        const { recordTokens, manyTokens, one, many } = this.#compiled[side];
        const tokens = tokensToEncode(step, recordTokens);
        if (tokens === 0) continue;
        const [encode, block] = tokens < manyTokens ? [one, recordTokens] : [many, manyTokens];
        const blocks = Math.ceil(tokens / block);
        const kernel = this.#bind(encode, part, recordsOf(part, side));
        kernel.dispatch(recorder, step.place, NO_HOST, blocks, heads, step.entries);
      }
    }
  }

  /** Attends with a step's queries; `kind` is the layer's kind of shares. */
  attend(recorder: Recorder, step: StepGrid, kind: number, host: HostBindings): void {
    const { shape, layers } = this.#options;
    const { keys, keyValueHeads } = layers[this.#index]!;
    const { way, entries, most } = step;
    const { place, splits } = step.shares[kind]!;
    const blocks = entries * headBlocks(most * shape.queryHeads, keyValueHeads);
    const { table: fill, attend, score, mix } = this.#compiled[way];
    // Kernels for all heads at once can use the buffers of any part.
    const { parts } = this.#buffers;
    if (fill !== undefined) {
      const entries = tableEntries(keys, shape.headDim);
      const groups = Math.ceil(entries / TABLE_LANE_ENTRIES / WORKGROUP_SIZE);
      const table = this.#bind(fill, parts[0]!);
      table.dispatch(recorder, place, host, groups, keyValueHeads, blocks);
    }
    for (const part of parts) {
      for (const kernel of [attend, score, mix]) {
        if (kernel === undefined) continue;
        this.#bind(kernel, part).dispatch(recorder, place, host, splits, part.heads.count, blocks);
      }
    }
    const combine = this.#bind(this.#compiled.combine, parts[0]!);
    combine.dispatch(recorder, place, host, shape.queryHeads, most, entries);
  }

  /** Reads tokens of one side into the host's tensor, from one tier. */
  read(
    recorder: Recorder,
    side: Side,
    tier: "exact" | "coded",
    { place, entries, most }: EntryGrid,
    output: GPUBufferBinding,
  ): void {
    for (const part of this.#buffers.parts) {
      const heads = part.heads.count;
      const groups = Math.ceil((heads * this.#options.shape.headDim) / 4 / WORKGROUP_SIZE);
      const read = this.#bind(this.#compiled.read[side][tier], part, recordsOf(part, side));
      read.dispatch(recorder, place, { vectors: output }, groups, most, entries);
    }
  }
}

function recordsOf({ keyRecords, valueRecords }: PartBuffers, side: Side): GPUBuffer {
  return side === "keys" ? keyRecords : valueRecords;
}

function copyGroups(words: number): number {
  return Math.min(Math.ceil(words / WORKGROUP_SIZE), COPY_WORKGROUPS);
}

/** Most tokens an entry encodes, counted from the start of its incomplete record. */
function tokensToEncode({ coded }: StepGrid, recordTokens: number): number {
  let most = 0;
  for (const { codedBefore, codedAfter } of coded) {
    if (codedAfter === codedBefore) continue;
    most = Math.max(most, codedAfter - Math.floor(codedBefore / recordTokens) * recordTokens);
  }
  return most;
}

/** The cache's own buffer behind a binding, or undefined where it is given with the dispatch. */
function ownBuffer(
  name: BindingName,
  { codebooks, sinkLogits }: LayerBuffers,
  { parameters, exact, keyRecords, valueRecords }: PartBuffers,
  { pages, rope, partials, counters, scores, table }: SharedBuffers,
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
