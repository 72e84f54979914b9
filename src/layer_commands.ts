/** Records what one layer does in a step. */
import type { ResolvedOptions } from "./cache_options.ts";
import type { CompiledAttention, CompiledLayer, CopiedBuffer } from "./compiled_layer.ts";
import type { BindingName } from "./kernel_bindings.ts";
import { TABLE_LANE_ENTRIES, WORKGROUP_SIZE } from "./kernel_constants.ts";
import type { LayerBuffers, PartBuffers } from "./layer_buffers.ts";
import type { CompiledKernel } from "./pipelines.ts";
import type { Recorder } from "./recorder.ts";
import { parseScheme, type Side, SIDES } from "./scheme.ts";
import type { SharedBuffers } from "./shared_buffers.ts";
import { headBlocks, STEP_BYTES } from "./cache_sizes.ts";
import type { AttentionWay } from "./tuning.ts";

/** Units a copy kernel copies: where its parameters lie, and how many there are. */
export interface Copies {
  readonly offset: number;
  readonly count: number;
}

/** A step, as far as dispatches depend on it. */
export interface StepGrid {
  /** Where its parameters lie. */
  readonly offset: number;
  readonly entries: number;
  /** Tokens of all entries. */
  readonly tokens: number;
  /** Most tokens of an entry. */
  readonly maxTokens: number;
  /** Coded tokens before and after, by entry. */
  readonly coded: readonly { readonly codedBefore: number; readonly codedAfter: number }[];
  /** Page copies that come first, by page table. */
  readonly copies: readonly Copies[];
}

/** How one layer shares a step's attention among workgroups. */
export interface StepShare {
  /** Where the parameters lie that say so. */
  readonly offset: number;
  /** Workgroups for each block of query rows. */
  readonly splits: number;
}

/** How a step attends. */
export function stepWay({ maxTokens }: Pick<StepGrid, "maxTokens">): AttentionWay {
  return maxTokens === 1 ? "decode" : "prefill";
}

/** Bindings of the host, by the name they have in kernels. */
type HostBindings = Readonly<Partial<Record<BindingName, GPUBufferBinding>>>;

/** Bind groups that are kept for one kernel: hosts that alternate between buffers find theirs again. */
const KEPT_GROUPS = 4;

/** Workgroups that copy one unit; each lane copies every so many words. */
const COPY_WORKGROUPS = 1024;

/** A kernel with the cache's own buffers; the host's come with each dispatch. */
class BoundKernel {
  readonly #device: GPUDevice;
  readonly #kernel: CompiledKernel;
  readonly #own: readonly (GPUBufferBinding | undefined)[];
  /** The names of the host's bindings. */
  readonly #names: readonly BindingName[];
  readonly #groups: { readonly host: readonly GPUBufferBinding[]; readonly group: GPUBindGroup }[] =
    [];
  #next = 0;

  constructor(
    device: GPUDevice,
    kernel: CompiledKernel,
    own: (name: BindingName) => GPUBufferBinding | undefined,
  ) {
    this.#device = device;
    this.#kernel = kernel;
    this.#own = kernel.kernel.bindings.map(own);
    this.#names = kernel.kernel.bindings.filter((_, i) => this.#own[i] === undefined);
  }

  dispatch(
    recorder: Recorder,
    offset: number,
    host: HostBindings,
    x: number,
    y: number,
    z: number,
  ): void {
    recorder.dispatch(this.#kernel, this.#group(host), offset, x, y, z);
  }

  #group(host: HostBindings): GPUBindGroup {
    for (const known of this.#groups) {
      let same = true;
      for (let i = 0; i < this.#names.length; i++) {
        const given = host[this.#names[i]!]!;
        const kept = known.host[i]!;
        same &&= kept.buffer === given.buffer && kept.offset === given.offset &&
          kept.size === given.size;
      }
      if (same) return known.group;
    }
    const { kernel, layout } = this.#kernel;
    const group = this.#device.createBindGroup({
      label: kernel.name,
      layout,
      entries: kernel.bindings.map((name, binding) => ({
        binding,
        resource: this.#own[binding] ?? host[name]!,
      })),
    });
    // Copies, because the host may change its objects.
    this.#groups[this.#next] = { host: this.#names.map((name) => ({ ...host[name]! })), group };
    this.#next = (this.#next + 1) % KEPT_GROUPS;
    return group;
  }
}

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
}

const NO_HOST: HostBindings = {};

/** One layer's kernels with their buffers. Bind groups are made once, and again only where the host's buffers change. */
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
    const bind = (kernel: CompiledKernel, part: PartBuffers, records?: GPUBuffer) =>
      new BoundKernel(
        device,
        kernel,
        (name) => ownBinding(name, buffers, part, shared, records),
      );
    const attention = ({ attend, score, mix }: CompiledAttention, part: PartBuffers) =>
      [attend, score, mix].flatMap((kernel) => kernel === undefined ? [] : [bind(kernel, part)]);
    this.#parts = buffers.parts.map((part, i): BoundPart => {
      const { keyRecords, valueRecords, exact } = part;
      const copies = compiled.copies[i]!;
      const encode = (side: Side, records: GPUBuffer) => ({
        one: bind(compiled[side].one, part, records),
        many: bind(compiled[side].many, part, records),
      });
      const read = (side: Side, records: GPUBuffer) => ({
        exact: bind(compiled.read[side].exact, part),
        coded: bind(compiled.read[side].coded, part, records),
      });
      return {
        heads: part.heads.count,
        store: bind(compiled.store, part),
        encode: { keys: encode("keys", keyRecords), values: encode("values", valueRecords) },
        read: { keys: read("keys", keyRecords), values: read("values", valueRecords) },
        attention: {
          decode: attention(compiled.decode, part),
          prefill: attention(compiled.prefill, part),
        },
        copy: {
          keyRecords: bind(copies.keyRecords.kernel, part, keyRecords),
          valueRecords: bind(copies.valueRecords.kernel, part, valueRecords),
          exact: bind(copies.exact.kernel, part, exact),
        },
      };
    });
    // What concerns all heads at once finds all it needs in any part.
    const [part] = buffers.parts;
    this.#combine = bind(compiled.combine, part!);
    const table = ({ table }: CompiledAttention) =>
      table === undefined ? undefined : bind(table, part!);
    this.#tables = { decode: table(compiled.decode), prefill: table(compiled.prefill) };
  }

  /** Copies units of one kind within their buffers. */
  copy(recorder: Recorder, buffer: CopiedBuffer, { offset, count }: Copies): void {
    this.#parts.forEach(({ copy }, i) => {
      const { words } = this.#compiled.copies[i]![buffer];
      const groups = Math.min(Math.ceil(words / WORKGROUP_SIZE), COPY_WORKGROUPS);
      copy[buffer].dispatch(recorder, offset, NO_HOST, groups, count, 1);
    });
  }

  /** Stores and encodes a step's tokens. */
  append(recorder: Recorder, step: StepGrid, host: HostBindings): void {
    const copies = step.copies[this.#options.layers[this.#index]!.pageTable]!;
    if (copies.count > 0) {
      this.copy(recorder, "keyRecords", copies);
      this.copy(recorder, "valueRecords", copies);
    }
    for (const { heads, store, encode } of this.#parts) {
      const words = (heads * this.#options.shape.headDim) / 2;
      const groups = Math.ceil(words / WORKGROUP_SIZE);
      store.dispatch(recorder, step.offset, host, groups, step.maxTokens, step.entries * 2);
      for (const side of SIDES) {
        const { recordTokens, manyTokens } = this.#compiled[side];
        const tokens = tokensToEncode(step, recordTokens);
        if (tokens === 0) continue;
        const { one, many } = encode[side];
        const [kernel, block] = tokens < manyTokens ? [one, recordTokens] : [many, manyTokens];
        const blocks = Math.ceil(tokens / block);
        kernel.dispatch(recorder, step.offset, NO_HOST, blocks, heads, step.entries);
      }
    }
  }

  /** Attends with a step's queries. */
  attend(
    recorder: Recorder,
    step: StepGrid,
    { offset, splits }: StepShare,
    host: HostBindings,
  ): void {
    const { shape, layers } = this.#options;
    const { keys, keyValueHeads } = layers[this.#index]!;
    const way = stepWay(step);
    const blocks = step.entries * headBlocks(step.maxTokens * shape.queryHeads, keyValueHeads);
    const table = this.#tables[way];
    if (table !== undefined) {
      const { centroids, layout } = parseScheme(keys);
      const entries = layout(shape.headDim).codes * centroids;
      const groups = Math.ceil(entries / TABLE_LANE_ENTRIES / WORKGROUP_SIZE);
      table.dispatch(recorder, offset, host, groups, keyValueHeads, blocks);
    }
    for (const { heads, attention } of this.#parts) {
      for (const kernel of attention[way]) {
        kernel.dispatch(recorder, offset, host, splits, heads, blocks);
      }
    }
    this.#combine.dispatch(recorder, offset, host, shape.queryHeads, step.tokens, 1);
  }

  /** Reads tokens of one side into the host's tensor, from one tier. */
  read(
    recorder: Recorder,
    side: Side,
    tier: "exact" | "coded",
    { offset, entries, maxTokens }: Pick<StepGrid, "offset" | "entries" | "maxTokens">,
    output: GPUBufferBinding,
  ): void {
    for (const { heads, read } of this.#parts) {
      const groups = Math.ceil((heads * this.#options.shape.headDim) / 4 / WORKGROUP_SIZE);
      read[side][tier].dispatch(recorder, offset, { vectors: output }, groups, maxTokens, entries);
    }
  }
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

/** The cache's own buffer behind a binding, or undefined where it is the host's. */
function ownBinding(
  name: BindingName,
  { codebooks, sinkLogits }: LayerBuffers,
  { parameters, exact, keyRecords, valueRecords }: PartBuffers,
  { pages, rope, steps, partials, counters, scores, table }: SharedBuffers,
  records: GPUBuffer | undefined,
): GPUBufferBinding | undefined {
  if (name === "step") return { buffer: steps, size: STEP_BYTES };
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
  const buffer = buffers[name];
  return buffer === undefined ? undefined : { buffer };
}
