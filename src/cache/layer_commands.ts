/** Records what one layer does in a step. */
import { type HostBindings, NO_HOST } from "./bound_kernel.ts";
import type { ResolvedLayer } from "../plan/options.ts";
import type { CompiledLayer, CopiedBuffer } from "./compiled_layer.ts";
import { WORKGROUP_SIZE } from "../kernels/constants.ts";
import type { LayerBuffers } from "./layer_buffers.ts";
import type { EntryGrid, StepGrid } from "./grids.ts";
import {
  copyGroups,
  LayerKernels,
  recordAttention,
  recordsOf,
  recordStores,
} from "./layer_kernels.ts";
import type { Recorder } from "./recorder.ts";
import type { RestoredPart } from "./restored_content.ts";
import { type Side, sideDim, SIDES } from "../model/side.ts";
import type { SharedBuffers } from "./shared_buffers.ts";

/** One layer's kernels with their buffers. */
export class LayerCommands {
  readonly #layer: ResolvedLayer;
  readonly #compiled: CompiledLayer;
  readonly #buffers: LayerBuffers;
  readonly #kernels: LayerKernels;

  constructor(
    device: GPUDevice,
    layer: ResolvedLayer,
    compiled: CompiledLayer,
    buffers: LayerBuffers,
    shared: SharedBuffers,
  ) {
    this.#layer = layer;
    this.#compiled = compiled;
    this.#buffers = buffers;
    this.#kernels = new LayerKernels(device, buffers, shared, layer.ropeTable);
  }

  /** The page table the layer reads. */
  get pageTable(): number {
    return this.#layer.pageTable;
  }

  /** Copies units of one kind within their buffers. */
  copy(recorder: Recorder, buffer: CopiedBuffer, { place, entries }: EntryGrid): void {
    this.#buffers.parts.forEach((part, i) => {
      const { kernel, words } = this.#compiled.units[i]!.copies[buffer];
      const copy = this.#kernels.bind(kernel, part, part[buffer]);
      copy.dispatch(recorder, place, NO_HOST, copyGroups(words), entries, 1);
    });
  }

  /**
   * Copies runs of units of one kind out of buffers, such as a restored sequence's.
   *
   * @param to Where they go, by part. Defaults to the layer's own buffers.
   */
  restore(
    recorder: Recorder,
    buffer: CopiedBuffer,
    { place, entries, most }: EntryGrid,
    restored: readonly RestoredPart[],
    to: readonly RestoredPart[] = this.#buffers.parts,
  ): void {
    this.#buffers.parts.forEach((part, i) => {
      const source = restored[i]![buffer];
      if (source === undefined) return;
      const { kernel, words } = this.#compiled.units[i]!.restores[buffer];
      const host = { restored: { buffer: source } };
      // Restored content is put in place once, from large buffers, so no bind group is kept.
      const restore = this.#kernels.bind(kernel, part, to[i]![buffer], 0);
      restore.dispatch(recorder, place, host, copyGroups(words * most), entries, 1);
    });
  }

  /** Stores tokens in the exact tier. */
  store(recorder: Recorder, grid: EntryGrid, host: HostBindings): void {
    for (const part of this.#buffers.parts) {
      recordStores(recorder, this.#kernels, part, this.#compiled.stores, this.#layer, grid, host);
    }
  }

  /** Stores and encodes a step's tokens. */
  append(recorder: Recorder, step: StepGrid, host: HostBindings): void {
    this.store(recorder, step, host);
    for (const part of this.#buffers.parts) {
      const heads = part.heads.count;
      for (const side of SIDES) {
        const { recordTokens, manyTokens, one, many } = this.#compiled[side];
        const tokens = tokensToEncode(step, recordTokens);
        if (tokens === 0) continue;
        const [encode, block] = tokens < manyTokens ? [one, recordTokens] : [many, manyTokens];
        const blocks = Math.ceil(tokens / block);
        const kernel = this.#kernels.bind(encode, part, recordsOf(part, side));
        kernel.dispatch(recorder, step.place, NO_HOST, blocks, heads, step.entries);
      }
    }
  }

  /** Attends with a step's queries; `kind` is the layer's kind of shares. */
  attend(recorder: Recorder, step: StepGrid, kind: number, host: HostBindings): void {
    const { place, splits } = step.shares[kind]!;
    const { entries, most, way } = step;
    const grid = { place, entries, most, splits };
    const compiled = this.#compiled[way];
    recordAttention(recorder, this.#kernels, compiled, this.#layer, grid, host);
    const combine = this.#kernels.bind(this.#compiled.combine, this.#buffers.parts[0]!);
    combine.dispatch(recorder, place, host, this.#layer.queryHeads, most, entries);
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
      const groups = Math.ceil((heads * sideDim(this.#layer, side)) / 4 / WORKGROUP_SIZE);
      const read = this.#kernels.bind(this.#compiled.read[side][tier], part, recordsOf(part, side));
      read.dispatch(recorder, place, { vectors: output }, groups, most, entries);
    }
  }
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
