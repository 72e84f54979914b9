/** Records what one layer does in a step. */
import { BoundKernel, type HostBindings, NO_HOST } from "./bound_kernel.ts";
import type { ResolvedOptions } from "./cache_options.ts";
import { headBlocks } from "./cache_sizes.ts";
import type {
  CompiledAttention,
  CompiledCopy,
  CompiledLayer,
  CopiedBuffer,
} from "./compiled_layer.ts";
import type { BindingName } from "./kernel_bindings.ts";
import { TABLE_LANE_ENTRIES, WORKGROUP_SIZE } from "./kernel_constants.ts";
import type { LayerBuffers, PartBuffers } from "./layer_buffers.ts";
import type { CompiledKernel } from "./pipelines.ts";
import type { Recorder } from "./recorder.ts";
import type { RestoredPart } from "./restored_content.ts";
import { bySide, parseScheme, type Side, SIDES } from "./scheme.ts";
import type { SharedBuffers } from "./shared_buffers.ts";
import type { ParameterPlace } from "./step_places.ts";
import type { AttentionWay } from "./tuning.ts";

/** Entries of a kernel's parameters: where they lie, and how many there are. */
export interface EntryGrid {
  readonly place: ParameterPlace;
  readonly entries: number;
  /** Most of what an entry counts: tokens, pages or units. */
  readonly most: number;
}

/** A step, as far as dispatches depend on it. */
export interface StepGrid extends EntryGrid {
  /** Coded tokens before and after, by entry. */
  readonly coded: readonly { readonly codedBefore: number; readonly codedAfter: number }[];
  /** How it attends, */
  readonly way: AttentionWay;
  /** and how layers share that among workgroups, by kind of layer. */
  readonly shares: readonly StepShare[];
}

/** How one layer shares a step's attention among workgroups. */
export interface StepShare {
  /** Where the parameters lie that say so. */
  readonly place: ParameterPlace;
  /** Workgroups for each block of query rows. */
  readonly splits: number;
}

/** Workgroups that copy one unit; each lane copies every so many words. */
const COPY_WORKGROUPS = 1024;

/** Kernels of one way of attending, bound to one part of a layer. */
type BoundAttention = readonly BoundKernel[];

/** The kernels of one part of a layer. */
interface BoundPart {
  readonly heads: number;
  readonly store: BoundKernel;
  readonly encode: Readonly<
    Record<Side, { readonly one: BoundKernel; readonly many: BoundKernel }>
  >;
  readonly read: Readonly<
    Record<Side, { readonly exact: BoundKernel; readonly coded: BoundKernel }>
  >;
  readonly attention: Readonly<Record<AttentionWay, BoundAttention>>;
  readonly copy: Readonly<Record<CopiedBuffer, BoundKernel>>;
  readonly restore: Readonly<Record<CopiedBuffer, BoundKernel>>;
}

/** One layer's kernels with their buffers. */
export class LayerCommands {
  readonly #options: ResolvedOptions;
  readonly #index: number;
  readonly #compiled: CompiledLayer;
  readonly #parts: readonly BoundPart[];
  readonly #combine: BoundKernel;
  readonly #tables: Readonly<Record<AttentionWay, BoundKernel | undefined>>;

  constructor(
    device: GPUDevice,
    options: ResolvedOptions,
    index: number,
    compiled: CompiledLayer,
    buffers: LayerBuffers,
    shared: SharedBuffers,
  ) {
    this.#options = options;
    this.#index = index;
    this.#compiled = compiled;
    const bind = (
      kernel: CompiledKernel,
      part: PartBuffers,
      records?: GPUBuffer,
      mostGroups?: number,
    ) =>
      new BoundKernel(
        device,
        kernel,
        (name) => ownBuffer(name, buffers, part, shared, records),
        mostGroups,
      );
    const byWay = <T>(make: (compiled: CompiledAttention) => T): Record<AttentionWay, T> => ({
      decode: make(compiled.decode),
      prefill: make(compiled.prefill),
    });
    this.#parts = buffers.parts.map((part, i): BoundPart => {
      const records = { keys: part.keyRecords, values: part.valueRecords };
      const units = (
        kernels: Readonly<Record<CopiedBuffer, CompiledCopy>>,
        mostGroups?: number,
      ) => {
        const unit = (buffer: CopiedBuffer) =>
          bind(kernels[buffer].kernel, part, part[buffer], mostGroups);
        return {
          keyRecords: unit("keyRecords"),
          valueRecords: unit("valueRecords"),
          exact: unit("exact"),
        };
      };
      const own = (kernel: CompiledKernel) => bind(kernel, part);
      const { copies, restores } = compiled.units[i]!;
      return {
        heads: part.heads.count,
        store: own(compiled.store),
        encode: bySide((side) => ({
          one: bind(compiled[side].one, part, records[side]),
          many: bind(compiled[side].many, part, records[side]),
        })),
        read: bySide((side) => ({
          exact: own(compiled.read[side].exact),
          coded: bind(compiled.read[side].coded, part, records[side]),
        })),
        attention: byWay(({ attend, score, mix }) =>
          [attend, score, mix].flatMap((kernel) => kernel ? [own(kernel)] : [])
        ),
        copy: units(copies),
        // What was restored is put in place once, and its buffers are large: no group keeps them.
        restore: units(restores, 0),
      };
    });
    // What concerns all heads at once finds all it needs in any part.
    const [part] = buffers.parts;
    this.#combine = bind(compiled.combine, part!);
    this.#tables = byWay(({ table }) => table && bind(table, part!));
  }

  /** The page table the layer reads. */
  get pageTable(): number {
    return this.#options.layers[this.#index]!.pageTable;
  }

  /** Copies units of one kind within their buffers. */
  copy(recorder: Recorder, buffer: CopiedBuffer, { place, entries }: EntryGrid): void {
    this.#parts.forEach(({ copy }, i) => {
      const { words } = this.#compiled.units[i]!.copies[buffer];
      copy[buffer].dispatch(recorder, place, NO_HOST, copyGroups(words), entries, 1);
    });
  }

  /** Puts runs of units of one kind out of a restored sequence's buffers in place. */
  restore(
    recorder: Recorder,
    buffer: CopiedBuffer,
    { place, entries, most }: EntryGrid,
    restored: readonly RestoredPart[],
  ): void {
    this.#parts.forEach(({ restore }, i) => {
      const source = restored[i]![buffer];
      if (source === undefined) return;
      const { words } = this.#compiled.units[i]!.restores[buffer];
      const host = { restored: { buffer: source } };
      restore[buffer].dispatch(recorder, place, host, copyGroups(words * most), entries, 1);
    });
  }

  /** Stores and encodes a step's tokens. */
  append(recorder: Recorder, step: StepGrid, host: HostBindings): void {
    for (const { heads, store, encode } of this.#parts) {
      const words = (heads * this.#options.shape.headDim) / 2;
      const groups = Math.ceil(words / WORKGROUP_SIZE);
      store.dispatch(recorder, step.place, host, groups, step.most, step.entries * 2);
      for (const side of SIDES) {
        const { recordTokens, manyTokens } = this.#compiled[side];
        const tokens = tokensToEncode(step, recordTokens);
        if (tokens === 0) continue;
        const { one, many } = encode[side];
        const [kernel, block] = tokens < manyTokens ? [one, recordTokens] : [many, manyTokens];
        const blocks = Math.ceil(tokens / block);
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
    const table = this.#tables[way];
    if (table !== undefined) {
      const { centroids, layout } = parseScheme(keys);
      const codes = layout(shape.headDim).codes * centroids;
      const groups = Math.ceil(codes / TABLE_LANE_ENTRIES / WORKGROUP_SIZE);
      table.dispatch(recorder, place, host, groups, keyValueHeads, blocks);
    }
    for (const { heads, attention } of this.#parts) {
      for (const kernel of attention[way]) {
        kernel.dispatch(recorder, place, host, splits, heads, blocks);
      }
    }
    this.#combine.dispatch(recorder, place, host, shape.queryHeads, most, entries);
  }

  /** Reads tokens of one side into the host's tensor, from one tier. */
  read(
    recorder: Recorder,
    side: Side,
    tier: "exact" | "coded",
    { place, entries, most }: EntryGrid,
    output: GPUBufferBinding,
  ): void {
    for (const { heads, read } of this.#parts) {
      const groups = Math.ceil((heads * this.#options.shape.headDim) / 4 / WORKGROUP_SIZE);
      read[side][tier].dispatch(recorder, place, { vectors: output }, groups, most, entries);
    }
  }
}

function copyGroups(words: number): number {
  return Math.min(Math.ceil(words / WORKGROUP_SIZE), COPY_WORKGROUPS);
}

/** Most tokens an entry encodes, counted from the start of the record that is to be completed. */
function tokensToEncode({ coded }: StepGrid, recordTokens: number): number {
  let most = 0;
  for (const { codedBefore, codedAfter } of coded) {
    if (codedAfter === codedBefore) continue;
    most = Math.max(most, codedAfter - Math.floor(codedBefore / recordTokens) * recordTokens);
  }
  return most;
}

/** The cache's own buffer behind a binding, or undefined where it comes with the dispatch. */
function ownBuffer(
  name: BindingName,
  { codebooks, sinkLogits }: LayerBuffers,
  { parameters, exact, keyRecords, valueRecords }: PartBuffers,
  { pages, rope, partials, counters, scores, table }: SharedBuffers,
  records: GPUBuffer | undefined,
): GPUBuffer | undefined {
  const buffers: Partial<Record<BindingName, GPUBuffer | undefined>> = {
    layer: parameters,
    exact,
    exact_quads: exact,
    exact_written: exact,
    counters,
    key_records: keyRecords,
    key_quads: keyRecords,
    value_records: valueRecords,
    value_quads: valueRecords,
    records,
    coded_records: records,
    codebooks,
    codebook_pairs: codebooks,
    codebook_quads: codebooks,
    sink_logits: sinkLogits,
    pages,
    rope,
    partials,
    partials_written: partials,
    row_scores: scores,
    row_scores_written: scores,
    table,
    table_written: table,
    table16: table,
    table16_written: table,
  };
  return buffers[name];
}
