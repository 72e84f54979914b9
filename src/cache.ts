import { type CacheIdentity, identifyCache } from "./cache_identity.ts";
import { registerInternals } from "./cache_internals.ts";
import { checkSinkLogits, poolPages } from "./cache_options.ts";
import {
  type CacheBytes,
  pageTableBytes,
  ropeBytes,
  ropeRows,
  rowTiles,
  sequencePages,
  STEP_BYTES,
  STEP_SLOTS,
  stepsBytes,
  stepSplits,
  stepStride,
} from "./cache_sizes.ts";
import type { CodebookSet, ModelFingerprint } from "./codebook.ts";
import { CoupletError } from "./errors.ts";
import { cacheCodebook, checkCodebookSet } from "./find_codebook.ts";
import type { BindingName } from "./kernel_bindings.ts";
import { BLOCK_ROWS, TILE_TOKENS, WORKGROUP_SIZE } from "./kernel_constants.ts";
import {
  createLayerBuffers,
  type LayerBuffers,
  storageBuffer,
  uniformBuffer,
} from "./layer_buffers.ts";
import { PagePool } from "./page_pool.ts";
import type { CompiledKernel } from "./pipelines.ts";
import { type CompiledLayer, compileLayer, type CopiedPart } from "./compiled_layer.ts";
import { type CachePlan, largestBuffer } from "./plan.ts";
import { ropeTable } from "./rope_table.ts";
import { parseScheme, type Side } from "./scheme.ts";
import { type PageCopy, type Sequence, Sequences, type SequenceState } from "./sequences.ts";
import { stepParameters } from "./uniforms.ts";

/** What {@linkcode createCache} needs. */
export interface CacheInit {
  /** The host's device. It is never destroyed and nothing is submitted to it. */
  readonly device: GPUDevice;
  /** The plan. */
  readonly plan: CachePlan;
  /** Codebooks of every layer, side and scheme of the policy; not needed where all are `f16`. */
  readonly codebooks?: CodebookSet;
  /** Learned attention sinks (gpt-oss), `[layers][queryHeads]`: one more logit in each head's softmax, without a value. */
  readonly sinkLogits?: Float32Array<ArrayBuffer>;
  /** The model in use, to refuse the codebooks of another. */
  readonly model?: ModelFingerprint;
}

/** One sequence's share of a step. */
export interface StepEntry {
  /** The sequence that grows. */
  readonly sequence: Sequence;
  /** Tokens it grows by, 1 to `capacity.appendTokens`. */
  readonly tokens: number;
}

/** New tokens of some sequences on their way through the layers; opaque. */
export interface Step {
  /** Tokens of all entries. The host's buffers hold them in the order of the entries. */
  readonly tokens: number;
}

/** Where commands go: an encoder, in which a compute pass is opened, or a pass of the host. */
export type CommandTarget = GPUCommandEncoder | GPUComputePassEncoder;

/** Which vectors {@linkcode Cache.encodeDecode} decodes, and where they go. */
export interface DecodeRange {
  /** Keys or values. */
  readonly side: Side;
  /** First coded token, counted from behind the sinks. */
  readonly first: number;
  /** Number of tokens. */
  readonly count: number;
  /** f32 `[count][keyValueHeads][headDim]`. */
  readonly output: GPUBufferBinding;
}

/** What a cache holds. */
export interface CacheStats {
  /** Bytes read off the allocated buffers. */
  readonly bytes: CacheBytes;
  /** Sequences alive. */
  readonly sequences: number;
  /** Pages of the pool of each layer and side. */
  readonly pages: { readonly total: number; readonly free: number; readonly shared: number };
}

/** A compressed KV cache on a GPU. */
export interface Cache {
  /** The plan it was created from. */
  readonly plan: CachePlan;
  /**
   * A new, empty sequence.
   *
   * @throws {CoupletError} `capacity` where all planned sequences are alive.
   */
  createSequence(): Sequence;
  /**
   * Records the forking of a sequence: a new one that holds the same tokens. Pages are shared until one of
   * the two writes to them; only the exact tier is copied. Forks and frees make a beam search's reordering.
   *
   * @throws {CoupletError} `capacity` where all planned sequences are alive; `usage` where a step of the
   * sequence is not through all layers.
   */
  encodeFork(target: CommandTarget, sequence: Sequence): Sequence;
  /** Gives a sequence and its pages up. */
  freeSequence(sequence: Sequence): void;
  /** Tokens of a sequence, those of a step begun included. */
  length(sequence: Sequence): number;
  /**
   * Takes back the tokens from `length` on, as if they had never been. Up to `appendTokens` tokens
   * restore the recent window exactly; beyond, tokens whose exact form is gone are seen by their codes.
   *
   * @throws {CoupletError} `usage` where the sequence is shorter.
   */
  truncate(sequence: Sequence, length: number): void;
  /**
   * Begins a step: takes pages, advances lengths and uploads the step's parameters. Each layer is then
   * appended to and attended. At most 64 steps may be recorded before the host submits.
   *
   * @throws {CoupletError} `capacity` or `usage`; nothing has changed then.
   */
  beginStep(entries: readonly StepEntry[]): Step;
  /**
   * Records the storing and encoding of one layer's new keys and values.
   *
   * @param target Encoder or compute pass of the host.
   * @param tensors `[tokens][keyValueHeads][headDim]` each, in the plan's element type and strides.
   */
  encodeAppend(
    target: CommandTarget,
    step: Step,
    layer: number,
    tensors: { readonly keys: GPUBufferBinding; readonly values: GPUBufferBinding },
  ): void;
  /**
   * Records attention of the step's queries over their sequences, in one layer, after its append.
   *
   * @param target Encoder or compute pass of the host.
   * @param tensors `[tokens][queryHeads][headDim]` each, in the plan's element type and strides.
   */
  encodeAttend(
    target: CommandTarget,
    step: Step,
    layer: number,
    tensors: { readonly queries: GPUBufferBinding; readonly output: GPUBufferBinding },
  ): void;
  /**
   * Records the decoding of coded tokens into f32 vectors, as they were coded (not rotated).
   *
   * @throws {CoupletError} `usage` where a token of the range is not coded.
   */
  encodeDecode(
    target: CommandTarget,
    sequence: Sequence,
    layer: number,
    range: DecodeRange,
  ): void;
  /** Coded tokens of a sequence, counted from behind the sinks. */
  codedTokens(sequence: Sequence): number;
  /** One layer's buffers, to read: records in pages, the exact tier, codebooks. */
  buffers(layer: number): LayerBuffers;
  /** The physical pages of a sequence's coded tokens, in order. */
  pages(sequence: Sequence): readonly number[];
  /** Bytes, sequences and pages. */
  stats(): CacheStats;
  /** Destroys the cache's own buffers; the host's device and buffers stay. */
  destroy(): void;
}

/** A step as the cache knows it. */
interface StepState extends Step {
  readonly offset: number;
  readonly entries: number;
  readonly maxTokens: number;
  readonly splits: number;
  /** Coded tokens before and after, by entry. */
  readonly coded: readonly { readonly before: number; readonly after: number }[];
  /** Offset of the parameters of the page copies that come first, and how many there are. */
  readonly copies: { readonly offset: number; readonly count: number };
  /** How far each layer has come. */
  readonly progress: Uint8Array;
}

/** A kernel's bind group in one layer, and the host's buffers it was made for. */
interface BoundKernel {
  readonly group: GPUBindGroup;
  readonly host: readonly GPUBufferBinding[];
}

/** Buffers all layers share. */
interface SharedBuffers {
  readonly pages: GPUBuffer;
  readonly rope: GPUBuffer;
  readonly steps: GPUBuffer;
  readonly partials: GPUBuffer;
  readonly scores: GPUBuffer;
  readonly table: GPUBuffer;
}

/**
 * Allocates a cache and compiles its kernels.
 *
 * @throws {CoupletError} `codebook` where a codebook is missing, foreign or of another shape; `limits`
 * where the device offers less than was planned for; `device` where it refuses a kernel or the memory.
 */
export async function createCache(init: CacheInit): Promise<Cache> {
  const { device, plan, codebooks, model, sinkLogits } = init;
  const { options } = plan;
  if (codebooks !== undefined) checkCodebookSet(codebooks, options.keys.space, model);
  const layerCodebooks = options.layers.map(({ keys, values }, layer) => ({
    keys: cacheCodebook(codebooks, options.shape, layer, "keys", keys),
    values: cacheCodebook(codebooks, options.shape, layer, "values", values),
  }));
  checkDevice(device, plan);
  checkSinkLogits(sinkLogits, options.shape);

  const identity = await identifyCache(
    options,
    layerCodebooks,
    sinkLogits,
    model ?? codebooks?.model,
  );
  const compiled = await Promise.all(plan.layers.map((layer) => compileLayer(device, plan, layer)));
  device.pushErrorScope("out-of-memory");
  device.pushErrorScope("validation");
  const layers = options.layers.map((policy, layer) =>
    createLayerBuffers(
      device,
      options,
      layer,
      policy,
      layerCodebooks[layer]!,
      sinkLogits?.slice(layer * options.shape.queryHeads, (layer + 1) * options.shape.queryHeads),
    )
  );
  const shared = createSharedBuffers(device, plan);
  const errors = [await device.popErrorScope(), await device.popErrorScope()];
  const error = errors.find((found) => found !== null);
  if (error !== undefined) {
    for (const buffer of allBuffers(layers, shared)) buffer.destroy();
    throw new CoupletError("device", {
      what: "Cannot allocate the cache",
      why: error?.message || "the device is out of memory",
      remedy: `Plan a smaller cache; this one takes ${plan.bytes.total} bytes`,
    });
  }
  return new DeviceCache(device, plan, compiled, layers, shared, identity);
}

function allBuffers(layers: readonly LayerBuffers[], shared: SharedBuffers): GPUBuffer[] {
  return [...layers, shared].flatMap((buffers) => Object.values(buffers) as GPUBuffer[]);
}

function checkDevice({ limits }: GPUDevice, { options, scratch }: CachePlan): void {
  const { name, bytes } = largestBuffer(options, scratch);
  const bound = Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
  if (bytes > bound) {
    throw new CoupletError("limits", {
      what: "Cannot create the cache on this device",
      why: `${name} takes ${bytes} bytes in one buffer and the device binds at most ${bound}`,
      remedy: "Request the device with the limits requiredLimits() gives, or plan with its limits",
    });
  }
}

function createSharedBuffers(device: GPUDevice, { options, scratch }: CachePlan): SharedBuffers {
  const shared: SharedBuffers = {
    pages: storageBuffer(device, "couplet page tables", pageTableBytes(options)),
    rope: storageBuffer(device, "couplet rotary table", ropeBytes(options)),
    steps: uniformBuffer(device, "couplet steps", stepsBytes(options)),
    partials: storageBuffer(device, "couplet partial results", scratch.partials),
    scores: storageBuffer(device, "couplet scores", scratch.scores),
    table: storageBuffer(device, "couplet q.centroid tables", scratch.tables),
  };
  if (options.keys.space === "pre-rope") {
    const { rope } = options.keys;
    const table = ropeTable(rope, options.shape.headDim, ropeRows(options));
    device.queue.writeBuffer(shared.rope, 0, table);
  }
  return shared;
}

/** Workgroups that copy one unit; each lane copies every so many words. */
const COPY_WORKGROUPS = 1024;

class DeviceCache implements Cache {
  readonly plan: CachePlan;
  readonly #device: GPUDevice;
  readonly #compiled: readonly CompiledLayer[];
  readonly #layers: readonly LayerBuffers[];
  readonly #shared: SharedBuffers;
  readonly #pool: PagePool;
  readonly #sequences: Sequences;
  readonly #bindGroups = new Map<CompiledKernel, BoundKernel[]>();
  readonly #steps = new WeakSet<Step>();
  /** The step that last grew a sequence, and the sequence's length before. */
  readonly #lastSteps = new WeakMap<Sequence, { step: StepState; start: number }>();
  #nextSlot = 0;

  constructor(
    device: GPUDevice,
    plan: CachePlan,
    compiled: readonly CompiledLayer[],
    layers: readonly LayerBuffers[],
    shared: SharedBuffers,
    identity: CacheIdentity,
  ) {
    this.#device = device;
    this.plan = plan;
    this.#compiled = compiled;
    this.#layers = layers;
    this.#shared = shared;
    this.#pool = new PagePool(poolPages(plan.options));
    this.#sequences = new Sequences(plan.options, this.#pool);
    registerInternals(this, {
      device,
      identity,
      state: (sequence) => this.#sequences.state(sequence),
      isUnfinished: (sequence) => this.#isUnfinished(sequence),
      adopt: (length, exactFrom) => this.#adopt(length, exactFrom),
    });
  }

  createSequence(): Sequence {
    return this.#sequences.create();
  }

  freeSequence(sequence: Sequence): void {
    this.#sequences.free(sequence);
  }

  length(sequence: Sequence): number {
    return this.#sequences.state(sequence).length;
  }

  codedTokens(sequence: Sequence): number {
    return this.#sequences.coded(sequence);
  }

  truncate(sequence: Sequence, length: number): void {
    this.#sequences.truncate(sequence, length);
  }

  beginStep(entries: readonly StepEntry[]): Step {
    const { options } = this.plan;
    const growth = this.#sequences.grow(entries);
    let tokens = 0;
    const parameters = growth.map(({ state, start, codedBefore, newPages }, i) => {
      const first = tokens;
      const count = entries[i]!.tokens;
      tokens += count;
      if (newPages) this.#uploadPages(state);
      const { slot, exactFrom } = state;
      return { slot, start, count, first, encodeFrom: codedBefore, exactFrom };
    });
    const maxTokens = Math.max(...entries.map((entry) => entry.tokens));
    const { queryHeads, keyValueHeads } = options.shape;
    const rows = (maxTokens * queryHeads) / keyValueHeads;
    const blocks = entries.length * keyValueHeads * Math.ceil(rows / BLOCK_ROWS);
    const longest = Math.max(...growth.map(({ state }) => state.length));
    const tiles = Math.ceil(longest / TILE_TOKENS) + 2;
    const splits = stepSplits(options, tokens * queryHeads, blocks, tiles);
    const offset = this.#parameters(parameters, splits);
    const copies = growth.flatMap(({ copy }) => copy ?? []);
    const step: StepState = {
      tokens,
      offset,
      copies: this.#copyParameters(copies),
      entries: entries.length,
      maxTokens,
      splits,
      coded: growth.map(({ codedBefore, codedAfter }) => ({
        before: codedBefore,
        after: codedAfter,
      })),
      progress: new Uint8Array(options.shape.layers),
    };
    this.#steps.add(step);
    growth.forEach(({ start }, i) => this.#lastSteps.set(entries[i]!.sequence, { step, start }));
    return step;
  }

  #isUnfinished(sequence: Sequence): boolean {
    const last = this.#lastSteps.get(sequence);
    return last !== undefined && this.length(sequence) > last.start &&
      last.step.progress.includes(0);
  }

  #adopt(length: number, exactFrom: number): Sequence {
    const sequence = this.#sequences.adopt(length, exactFrom);
    this.#uploadPages(this.#sequences.state(sequence));
    return sequence;
  }

  #uploadPages(state: SequenceState): void {
    const row = this.#sequences.pageRow(state);
    const offset = state.slot * sequencePages(this.plan.options) * 4;
    this.#device.queue.writeBuffer(this.#shared.pages, offset, row);
  }

  /** Uploads the units that a copy kernel copies. */
  #copyParameters(copies: readonly PageCopy[]): StepState["copies"] {
    if (copies.length === 0) return { offset: 0, count: 0 };
    const unused = { count: 0, first: 0, encodeFrom: 0, exactFrom: 0 };
    const entries = copies.map(({ from, to }) => ({ slot: from, start: to, ...unused }));
    return { offset: this.#parameters(entries, 1), count: copies.length };
  }

  #encodeCopy(
    pass: GPUComputePassEncoder,
    part: CopiedPart,
    layer: number,
    { offset, count }: StepState["copies"],
  ): void {
    const { kernel, words } = this.#compiled[layer]!.copy[part];
    const groups = Math.min(Math.ceil(words / WORKGROUP_SIZE), COPY_WORKGROUPS);
    const records = { buffer: this.#layers[layer]![part] };
    this.#dispatch(pass, kernel, layer, offset, { records }, [groups, count, 1]);
  }

  encodeFork(target: CommandTarget, sequence: Sequence): Sequence {
    if (this.#isUnfinished(sequence)) {
      throw new CoupletError("usage", {
        what: `Cannot fork sequence ${sequence.id}`,
        why: "its last step was not appended to every layer",
        remedy: "Record the step's appends first",
      });
    }
    const fork = this.#sequences.fork(sequence);
    const from = this.#sequences.state(sequence).slot;
    const state = this.#sequences.state(fork);
    this.#uploadPages(state);
    const copies = this.#copyParameters([{ from, to: state.slot }]);
    withPass(target, (pass) => {
      for (let layer = 0; layer < this.#layers.length; layer++) {
        this.#encodeCopy(pass, "exact", layer, copies);
      }
    });
    return fork;
  }

  /** Uploads a step's parameters into the next slot; gives its offset. */
  #parameters(entries: Parameters<typeof stepParameters>[0], splits: number): number {
    const offset = this.#nextSlot * stepStride(this.plan.options);
    this.#nextSlot = (this.#nextSlot + 1) % STEP_SLOTS;
    const stride = rowTiles(this.plan.options) * TILE_TOKENS;
    const words = stepParameters(entries, splits, stride);
    this.#device.queue.writeBuffer(this.#shared.steps, offset, words);
    return offset;
  }

  encodeAppend(
    target: CommandTarget,
    step: Step,
    layer: number,
    tensors: { readonly keys: GPUBufferBinding; readonly values: GPUBufferBinding },
  ): void {
    const state = this.#advance(step, layer, 0);
    const { shape, io } = this.plan.options;
    this.#checkTensor("keys", tensors.keys, state.tokens, shape.keyValueHeads, io.keys);
    this.#checkTensor("values", tensors.values, state.tokens, shape.keyValueHeads, io.values);
    const compiled = this.#compiled[layer]!;
    withPass(target, (pass) => {
      if (state.copies.count > 0) {
        this.#encodeCopy(pass, "keyRecords", layer, state.copies);
        this.#encodeCopy(pass, "valueRecords", layer, state.copies);
      }
      const words = (shape.keyValueHeads * shape.headDim) / 2;
      this.#dispatch(pass, compiled.store, layer, state.offset, tensors, [
        Math.ceil(words / WORKGROUP_SIZE),
        state.maxTokens,
        state.entries * 2,
      ]);
      for (const side of ["keys", "values"] as const) {
        const { recordTokens, one, many, manyTokens } = compiled[side];
        const tokens = Math.max(
          ...state.coded.map(({ before, after }) =>
            after > before ? after - Math.floor(before / recordTokens) * recordTokens : 0
          ),
        );
        if (tokens === 0) continue;
        const [kernel, block] = tokens < manyTokens ? [one, recordTokens] : [many, manyTokens];
        const sideRecords = side === "keys" ? "keyRecords" : "valueRecords";
        this.#dispatch(pass, kernel, layer, state.offset, {
          records: { buffer: this.#layers[layer]![sideRecords] },
        }, [Math.ceil(tokens / block), shape.keyValueHeads, state.entries]);
      }
    });
  }

  encodeAttend(
    target: CommandTarget,
    step: Step,
    layer: number,
    tensors: { readonly queries: GPUBufferBinding; readonly output: GPUBufferBinding },
  ): void {
    const state = this.#advance(step, layer, 1);
    const { shape, io } = this.plan.options;
    this.#checkTensor("queries", tensors.queries, state.tokens, shape.queryHeads, io.queries);
    this.#checkTensor("output", tensors.output, state.tokens, shape.queryHeads, io.output);
    const compiled = this.#compiled[layer]!;
    const attention = state.maxTokens === 1 ? compiled.decode : compiled.prefill;
    const rows = (state.maxTokens * shape.queryHeads) / shape.keyValueHeads;
    const grid: [number, number, number] = [
      state.splits,
      shape.keyValueHeads,
      state.entries * Math.ceil(rows / attention.rows),
    ];
    withPass(target, (pass) => {
      if (attention.table !== undefined) {
        const { centroids, layout } = parseScheme(this.plan.layers[layer]!.keys);
        const entries = layout(shape.headDim).codes * centroids;
        this.#dispatch(pass, attention.table, layer, state.offset, tensors, [
          Math.ceil(entries / WORKGROUP_SIZE),
          shape.queryHeads,
          state.tokens,
        ]);
      }
      for (const kernel of [attention.attend, attention.score, attention.mix]) {
        if (kernel !== undefined) {
          this.#dispatch(pass, kernel, layer, state.offset, tensors, grid);
        }
      }
      this.#dispatch(pass, compiled.combine, layer, state.offset, tensors, [
        shape.queryHeads,
        state.tokens,
        1,
      ]);
    });
  }

  encodeDecode(
    target: CommandTarget,
    sequence: Sequence,
    layer: number,
    range: DecodeRange,
  ): void {
    const { side, first, count, output } = range;
    const { shape } = this.plan.options;
    const coded = this.codedTokens(sequence);
    if (first < 0 || count < 1 || first + count > coded) {
      throw new CoupletError("usage", {
        what: `Cannot decode tokens ${first} to ${first + count}`,
        why: `sequence ${sequence.id} has ${coded} coded tokens`,
        remedy: "Decode tokens that are coded; exact ones never were",
      });
    }
    const bytes = count * shape.keyValueHeads * shape.headDim * 4;
    checkBytes("output", output, bytes);
    const { slot } = this.#sequences.state(sequence);
    const entry = { slot, start: first, count, first: 0, encodeFrom: 0, exactFrom: 0 };
    const offset = this.#parameters([entry], 1);
    const compiled = this.#compiled[layer]!;
    const kernel = side === "keys" ? compiled.decodeKeys : compiled.decodeValues;
    const buffers = this.#layers[layer]!;
    const chunks = (shape.keyValueHeads * shape.headDim) / 4;
    withPass(target, (pass) =>
      this.#dispatch(pass, kernel, layer, offset, {
        coded_records: { buffer: side === "keys" ? buffers.keyRecords : buffers.valueRecords },
        decoded: output,
      }, [Math.ceil(chunks / WORKGROUP_SIZE), count, 1]));
  }

  buffers(layer: number): LayerBuffers {
    return this.#layers[layer]!;
  }

  pages(sequence: Sequence): readonly number[] {
    return [...this.#sequences.state(sequence).pages];
  }

  stats(): CacheStats {
    const size = (pick: (layer: LayerBuffers) => GPUBuffer) =>
      this.#layers.reduce((sum, layer) => sum + pick(layer).size, 0);
    const { pages, rope, steps, partials, scores, table } = this.#shared;
    const bytes = {
      codes: size((layer) => layer.keyRecords) + size((layer) => layer.valueRecords),
      exact: size((layer) => layer.exact),
      codebooks: size((layer) => layer.codebooks),
      tables: pages.size + rope.size + steps.size + size((layer) => layer.parameters) +
        size((layer) => layer.sinkLogits),
      scratch: partials.size + scores.size + table.size,
    };
    return {
      bytes: { ...bytes, total: Object.values(bytes).reduce((sum, part) => sum + part) },
      sequences: this.#sequences.count,
      pages: { total: this.#pool.pages, free: this.#pool.free, shared: this.#pool.shared },
    };
  }

  destroy(): void {
    for (const buffer of allBuffers(this.#layers, this.#shared)) buffer.destroy();
  }

  /** Checks that a step's calls come in order: append, then attend as often as wanted. */
  #advance(step: Step, layer: number, from: 0 | 1): StepState {
    const state = step as StepState;
    if (!this.#steps.has(step) || !(layer in this.#layers)) {
      throw new CoupletError("usage", {
        what: `Cannot use layer ${layer} of the step`,
        why: this.#steps.has(step)
          ? `the model has layers 0 to ${this.#layers.length - 1}`
          : "the step is another cache's",
        remedy: "Pass a step of this cache's beginStep() and a layer of its model",
      });
    }
    if (state.progress[layer] !== from) {
      throw new CoupletError("usage", {
        what: `Cannot ${from === 0 ? "append to" : "attend in"} layer ${layer}`,
        why: from === 0 ? "the step was appended to it before" : "the step was not appended to it",
        remedy: "Append to each layer once a step, then attend",
      });
    }
    state.progress[layer] = 1;
    return state;
  }

  #checkTensor(
    name: string,
    binding: GPUBufferBinding,
    tokens: number,
    heads: number,
    strides: { readonly token: number; readonly head: number },
  ): void {
    const { shape, io } = this.plan.options;
    const elements = (tokens - 1) * strides.token + (heads - 1) * strides.head + shape.headDim;
    checkBytes(name, binding, elements * (io.dtype === "f16" ? 2 : 4));
  }

  #dispatch(
    pass: GPUComputePassEncoder,
    kernel: CompiledKernel,
    layer: number,
    stepOffset: number,
    host: Partial<Record<BindingName, GPUBufferBinding>>,
    grid: readonly [number, number, number],
  ): void {
    pass.setPipeline(kernel.pipeline);
    pass.setBindGroup(0, this.#bindGroup(kernel, layer, host), [stepOffset]);
    pass.dispatchWorkgroups(...grid);
  }

  /** The bind group of a kernel in a layer; made again only where the host's buffers changed. */
  #bindGroup(
    kernel: CompiledKernel,
    layer: number,
    host: Partial<Record<BindingName, GPUBufferBinding>>,
  ): GPUBindGroup {
    const given = kernel.kernel.bindings.flatMap((name) => host[name] ?? []);
    let bound = this.#bindGroups.get(kernel);
    if (bound === undefined) this.#bindGroups.set(kernel, bound = []);
    const cached = bound[layer];
    if (
      cached !== undefined &&
      cached.host.every((binding, i) =>
        binding.buffer === given[i]!.buffer && binding.offset === given[i]!.offset &&
        binding.size === given[i]!.size
      )
    ) return cached.group;
    const group = this.#device.createBindGroup({
      label: kernel.kernel.name,
      layout: kernel.layout,
      entries: kernel.kernel.bindings.map((name, binding) => ({
        binding,
        resource: host[name] ?? this.#resource(name, layer),
      })),
    });
    bound[layer] = { group, host: given };
    return group;
  }

  /** The cache's own buffer behind a binding. */
  #resource(name: BindingName, layer: number): GPUBufferBinding {
    const own = this.#layers[layer]!;
    const { pages, rope, steps, partials, scores, table } = this.#shared;
    const buffers: Partial<Record<BindingName, GPUBuffer>> = {
      layer: own.parameters,
      exact: own.exact,
      sink_logits: own.sinkLogits,
      exact_written: own.exact,
      codebooks: own.codebooks,
      key_records: own.keyRecords,
      value_records: own.valueRecords,
      pages,
      rope,
      partials,
      partials_written: partials,
      row_scores: scores,
      row_scores_written: scores,
      table,
      table_written: table,
    };
    if (name === "step") return { buffer: steps, size: STEP_BYTES };
    return { buffer: buffers[name]! };
  }
}

/** Records into the host's pass, or into one of its own. */
function withPass(target: CommandTarget, record: (pass: GPUComputePassEncoder) => void): void {
  if ("dispatchWorkgroups" in target) return record(target);
  const pass = target.beginComputePass({ label: "couplet" });
  record(pass);
  pass.end();
}

function checkBytes(name: string, { buffer, offset = 0, size }: GPUBufferBinding, bytes: number) {
  const available = size ?? (buffer as GPUBuffer).size - offset;
  if (available < bytes) {
    throw new CoupletError("shape", {
      what: `Cannot use the binding of the ${name}`,
      why: `it covers ${available} bytes and the step needs ${bytes}`,
      remedy: "Bind the whole tensor, in the plan's element type and strides",
    });
  }
}
