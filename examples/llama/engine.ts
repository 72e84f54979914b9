import { CoupletError, type KeySpace } from "@couplet/kv";
import type { AttentionCache } from "./attention_cache.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { destroyModel, type DeviceLayer, type DeviceModel, uploadModel } from "./device_model.ts";
import type { MatrixStorage } from "./kernels/common.ts";
import { MAX_WORKGROUPS } from "./kernels/common.ts";
import { NO_TARGET } from "./kernels/cross_entropy.ts";
import { storageOf } from "./matrix.ts";
import { createOperations, type Operation, type Operations, type Rows } from "./operations.ts";
import { ReadBack } from "./read_back.ts";
import { Recorder } from "./recorder.ts";

/** What an engine is made of. */
export interface EngineOptions<Sequence, Step> {
  /** The device everything runs on; the engine neither requests nor destroys it. */
  readonly device: GPUDevice;
  /** The model. */
  readonly checkpoint: Checkpoint;
  /** The KV cache, on the same device; all attention is its. */
  readonly cache: AttentionCache<Sequence, Step>;
  /** Whether the cache takes keys (and queries) before or after the rotary embedding; `pre-rope` where absent. */
  readonly keySpace?: KeySpace;
  /** Most tokens in one step over all sequences: the cache's `stepTokens`. */
  readonly maxTokens: number;
  /** Most tokens of one sequence in a step: the cache's `appendTokens`; `maxTokens` where absent. */
  readonly appendTokens?: number;
  /** How matrices are stored on the device: float16 only where the checkpoint's are, where absent. */
  readonly storage?: MatrixStorage | "as-stored";
}

/** One sequence's new tokens. */
export interface ForwardEntry<Sequence> {
  /** Of this engine's cache. */
  readonly sequence: Sequence;
  /** At least one. */
  readonly tokenIds: readonly number[];
  /** What the last token should predict; without it, it has no loss. */
  readonly nextTokenId?: number;
}

/** What to read back; nothing by default. */
export interface ReadOptions {
  /** Logits of every new token, or of each entry's last. */
  readonly logits?: "all" | "last";
  /** Loss and log-sum-exp of every new token. */
  readonly losses?: boolean;
  /** Queries of every layer, before the rotary embedding and after Qwen3's norm. */
  readonly queries?: boolean;
  /** Keys of every layer, before the rotary embedding and after Qwen3's norm. */
  readonly keys?: boolean;
  /** Values of every layer. */
  readonly values?: boolean;
}

/** What a forward pass read back. */
export interface ForwardResult {
  /** Per entry `[tokens][vocabularySize]`, or `[vocabularySize]` with `last`. */
  readonly logits?: readonly Float32Array<ArrayBuffer>[];
  /** Per entry, natural logarithm: element i is the loss of predicting token i + 1 (or `nextTokenId`). */
  readonly losses?: readonly Float32Array<ArrayBuffer>[];
  /** Per entry `[tokens]`: log-sum-exp of each token's logits. */
  readonly logSumExps?: readonly Float32Array<ArrayBuffer>[];
  /** Per layer `[tokens of all entries][queryHeads][headDim]`. */
  readonly queries?: readonly Float32Array<ArrayBuffer>[];
  /** Per layer `[tokens of all entries][keyValueHeads][headDim]`. */
  readonly keys?: readonly Float32Array<ArrayBuffer>[];
  /** Per layer `[tokens of all entries][keyValueHeads][headDim]`. */
  readonly values?: readonly Float32Array<ArrayBuffer>[];
}

/** A model on a device, with a KV cache. */
export interface Engine<Sequence> {
  /** The model. */
  readonly checkpoint: Checkpoint;
  /** A new, empty sequence. */
  createSequence(): Sequence;
  /** Gives a sequence's memory back. */
  freeSequence(sequence: Sequence): void;
  /**
   * Runs new tokens of any number of sequences, in as many steps as the cache's limits ask for. Each
   * step is one submission.
   *
   * @throws {CoupletError} `usage` for entries that are empty, repeated or hold unknown tokens; what
   * the cache throws where it is full.
   */
  forward(entries: readonly ForwardEntry<Sequence>[], read?: ReadOptions): Promise<ForwardResult>;
  /** Frees the weights and buffers. The device and the cache stay. */
  destroy(): void;
}

/** Bytes between two slots of the step's buffer: WebGPU's alignment of dynamic offsets. */
const SLOT_BYTES = 256;

/** Logits kept at a time; longer outputs are computed slab by slab. */
const SLAB_BYTES = 1 << 25;

/**
 * Brings a model to a device and compiles its kernels.
 *
 * @throws {CoupletError} `limits` where a buffer for `maxTokens` tokens exceeds the device's limits or
 * memory; `usage` where the options contradict each other; `device` where a kernel is refused.
 */
export async function createEngine<Sequence, Step>(
  options: EngineOptions<Sequence, Step>,
): Promise<Engine<Sequence>> {
  const { device, checkpoint, cache, maxTokens } = options;
  const appendTokens = options.appendTokens ?? maxTokens;
  checkTokens(maxTokens, appendTokens);
  const sizes = bufferSizes(checkpoint, maxTokens);
  checkSizes(sizes, device.limits, maxTokens);

  const storage = options.storage ?? "as-stored";
  device.pushErrorScope("out-of-memory");
  const buffers = createBuffers(device, sizes);
  const model = uploadModel(device, checkpoint, storage);
  const exhausted = await device.popErrorScope();
  if (exhausted !== null) {
    destroyModel(model);
    for (const buffer of Object.values(buffers)) buffer.destroy();
    throw new CoupletError("limits", {
      what: "The model does not fit the device",
      why: exhausted.message,
      remedy: "Use a smaller model, fewer maxTokens, or storage f16",
    });
  }
  const storages = new Set(
    matricesOf(checkpoint).map((weights) => storageOf(weights, storage)),
  );
  const operations = await createOperations(device, storages, buffers.step);
  const network = bindNetwork(
    checkpoint,
    model,
    buffers,
    operations,
    options.keySpace ?? "pre-rope",
  );
  const pass = new ForwardPass(options, buffers, network);

  return {
    checkpoint,
    createSequence: () => cache.createSequence(),
    freeSequence: (sequence) => cache.freeSequence(sequence),
    forward: (entries, read = {}) => pass.run(entries, read, appendTokens),
    destroy() {
      operations.destroy();
      destroyModel(model);
      for (const buffer of Object.values(buffers)) buffer.destroy();
    },
  };
}

/** Buffers of one step, named by what they hold. */
type BufferName =
  | "step"
  | "tokenIds"
  | "targets"
  | "turns"
  | "hidden"
  | "normed"
  | "query"
  | "key"
  | "value"
  | "attended"
  | "wide"
  | "product"
  | "selected"
  | "logits"
  | "entropy";

type Buffers = Readonly<Record<BufferName, GPUBuffer>>;

function bufferSizes({ config }: Checkpoint, maxTokens: number): Record<BufferName, number> {
  const queryWidth = config.queryHeads * config.headDim;
  const keyWidth = config.keyValueHeads * config.headDim;
  const floats = (width: number) => maxTokens * width * 4;
  const slab = slabRows(config.vocabularySize, maxTokens);
  return {
    step: (2 + Math.ceil(maxTokens / slab)) * SLOT_BYTES,
    tokenIds: floats(1),
    targets: floats(1),
    turns: floats(config.headDim),
    hidden: floats(config.hiddenSize),
    normed: floats(config.hiddenSize),
    query: floats(queryWidth),
    key: floats(keyWidth),
    value: floats(keyWidth),
    attended: floats(queryWidth),
    // Gates and ups; Qwen3's queries before their norm pass through it too.
    wide: floats(Math.max(2 * config.intermediateSize, queryWidth)),
    product: floats(config.intermediateSize),
    selected: floats(config.hiddenSize),
    logits: slab * config.vocabularySize * 4,
    entropy: floats(2),
  };
}

/** Rows of logits computed at a time. */
function slabRows(vocabularySize: number, maxTokens: number): number {
  return Math.max(1, Math.min(maxTokens, Math.floor(SLAB_BYTES / (vocabularySize * 4))));
}

function createBuffers(device: GPUDevice, sizes: Record<BufferName, number>): Buffers {
  const entries = Object.entries(sizes).map(([label, size]) => [
    label,
    device.createBuffer({
      label,
      size: Math.max(16, size),
      usage: (label === "step" ? GPUBufferUsage.UNIFORM : GPUBufferUsage.STORAGE) |
        GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
    }),
  ]);
  return Object.fromEntries(entries) as Buffers;
}

/** The operations of one decoder layer, up to its attention and after it. */
interface LayerOperations {
  /** From the residual stream to queries, keys (both unrotated) and values. */
  readonly project: readonly Operation[];
  /** Rotates queries and keys, where the cache wants them so. */
  readonly rotate: readonly Operation[];
  /** From the attention's output through the feed-forward block, back to the residual stream. */
  readonly finish: readonly Operation[];
}

/** The model's operations, bound to buffers. */
interface Network {
  readonly embed: Operation;
  readonly layers: readonly LayerOperations[];
  /** From the selected rows of the residual stream to their last norm. */
  readonly finalNorm: Operation;
  /** One slab of logits. */
  readonly head: Operation;
  /** Losses of one slab. */
  readonly entropy: Operation;
}

function bindNetwork(
  { config }: Checkpoint,
  model: DeviceModel,
  buffers: Buffers,
  operations: Operations,
  keySpace: KeySpace,
): Network {
  const { hidden, normed, query, key, value, attended, wide, product, turns } = buffers;
  const { queryHeads, keyValueHeads, headDim, normEpsilon: epsilon } = config;
  const rows = { width: config.hiddenSize, rowsPerToken: 1, epsilon };
  const { norm, matmul, swiglu, rotate } = operations;

  /** `y = x W^T + b`, then Qwen3's norm of each head. */
  function projectHeads(
    { matrix, bias }: DeviceLayer["query"],
    heads: number,
    gain: GPUBuffer | undefined,
    y: GPUBuffer,
  ): Operation[] {
    if (gain === undefined) return [matmul(normed, matrix, y, { bias })];
    return [
      matmul(normed, matrix, wide, { bias }),
      norm({ width: headDim, rowsPerToken: heads, epsilon }, wide, gain, y),
    ];
  }

  return {
    embed: operations.embed(model.embedding, buffers.tokenIds, hidden),
    layers: model.layers.map((layer): LayerOperations => ({
      project: [
        norm(rows, hidden, layer.attentionNorm, normed),
        ...projectHeads(layer.query, queryHeads, layer.queryNorm, query),
        ...projectHeads(layer.key, keyValueHeads, layer.keyNorm, key),
        matmul(normed, layer.value.matrix, value, { bias: layer.value.bias }),
      ],
      rotate: keySpace === "pre-rope"
        ? []
        : [rotate(queryHeads, headDim, turns, query), rotate(keyValueHeads, headDim, turns, key)],
      finish: [
        matmul(attended, layer.output.matrix, hidden, {
          bias: layer.output.bias,
          accumulate: true,
        }),
        norm(rows, hidden, layer.feedForwardNorm, normed),
        matmul(normed, layer.gateUp.matrix, wide, { bias: layer.gateUp.bias }),
        swiglu(config.intermediateSize, wide, product),
        matmul(product, layer.down.matrix, hidden, { bias: layer.down.bias, accumulate: true }),
      ],
    })),
    finalNorm: norm(rows, buffers.selected, model.finalNorm, normed),
    head: matmul(normed, model.head, buffers.logits),
    entropy: operations.crossEntropy(
      config.vocabularySize,
      buffers.logits,
      buffers.targets,
      buffers.entropy,
    ),
  };
}

/** Part of an entry that runs in one step. */
interface Segment {
  /** Index of the entry. */
  readonly entry: number;
  /** Its first token within the entry. */
  readonly start: number;
  /** Tokens. */
  readonly count: number;
  /** Position of its first token in the sequence. */
  readonly position: number;
  /** Row of its first token in the step. */
  readonly row: number;
}

/** Tokens of several sequences that run together. */
interface StepPlan {
  readonly segments: readonly Segment[];
  readonly tokens: number;
}

class ForwardPass<Sequence, Step> {
  readonly #options: EngineOptions<Sequence, Step>;
  readonly #buffers: Buffers;
  readonly #network: Network;
  readonly #slabRows: number;

  constructor(
    options: EngineOptions<Sequence, Step>,
    buffers: Buffers,
    network: Network,
  ) {
    this.#options = options;
    this.#buffers = buffers;
    this.#network = network;
    this.#slabRows = slabRows(options.checkpoint.config.vocabularySize, options.maxTokens);
  }

  async run(
    entries: readonly ForwardEntry<Sequence>[],
    read: ReadOptions,
    appendTokens: number,
  ): Promise<ForwardResult> {
    const { cache, checkpoint, maxTokens } = this.#options;
    checkEntries(entries, checkpoint.config.vocabularySize);
    const steps = planSteps(
      entries.map((entry) => ({
        tokens: entry.tokenIds.length,
        position: cache.length(entry.sequence),
      })),
      maxTokens,
      appendTokens,
    );
    const result = new ResultBuilder(checkpoint, entries, read);
    for (const step of steps) await this.#runStep(entries, step, result);
    return result.finish();
  }

  async #runStep(
    entries: readonly ForwardEntry<Sequence>[],
    plan: StepPlan,
    result: ResultBuilder<Sequence>,
  ): Promise<void> {
    const { device, cache } = this.#options;
    const buffers = this.#buffers;
    const network = this.#network;
    const { read } = result;
    const headRows = selectRows(entries, plan, read);
    const { rows, slabs, head } = this.#writeStep(entries, plan, headRows);

    const step = cache.beginStep(plan.segments.map(({ entry, count }) => ({
      sequence: entries[entry]!.sequence,
      tokens: count,
    })));
    const recorder = new Recorder(device, "forward");
    const readBack = new ReadBack(device);

    network.embed(recorder.pass, rows);
    network.layers.forEach((layer, index) => {
      for (const run of layer.project) run(recorder.pass, rows);
      for (const kind of ["queries", "keys", "values"] as const) {
        if (!read[kind]) continue;
        const source = { queries: buffers.query, keys: buffers.key, values: buffers.value }[kind];
        const bytes = plan.tokens * result.width(kind) * 4;
        readBack.copy(recorder.encoder, source, bytes, (copy) => {
          result.addHeads(kind, index, plan, new Float32Array(copy));
        });
      }
      for (const run of layer.rotate) run(recorder.pass, rows);
      cache.encodeAppend(recorder.pass, step, index, {
        keys: { buffer: buffers.key },
        values: { buffer: buffers.value },
      });
      cache.encodeAttend(recorder.pass, step, index, {
        queries: { buffer: buffers.query },
        output: { buffer: buffers.attended },
      });
      for (const run of layer.finish) run(recorder.pass, rows);
    });

    if (headRows.length > 0) {
      this.#encodeHead(recorder, readBack, headRows, slabs, head, result);
    }
    device.queue.submit([recorder.finish()]);
    await readBack.finish();
  }

  /** Final norm, logits and losses of the chosen rows. */
  #encodeHead(
    recorder: Recorder,
    readBack: ReadBack,
    headRows: readonly HeadRow[],
    slabs: readonly Rows[],
    head: Rows,
    result: ResultBuilder<Sequence>,
  ): void {
    const { hidden, selected, logits, entropy } = this.#buffers;
    const { hiddenSize, vocabularySize } = this.#options.checkpoint.config;
    const network = this.#network;
    for (const { first, row, count } of runsOf(headRows)) {
      const bytes = hiddenSize * 4;
      recorder.encoder.copyBufferToBuffer(
        hidden,
        row * bytes,
        selected,
        first * bytes,
        count * bytes,
      );
    }
    network.finalNorm(recorder.pass, head);
    slabs.forEach((slab, index) => {
      const first = index * this.#slabRows;
      network.head(recorder.pass, slab);
      if (result.read.losses) network.entropy(recorder.pass, slab);
      if (result.read.logits) {
        const bytes = slab.count * vocabularySize * 4;
        readBack.copy(recorder.encoder, logits, bytes, (copy) => {
          result.addLogits(headRows.slice(first, first + slab.count), new Float32Array(copy));
        });
      }
    });
    if (result.read.losses) {
      readBack.copy(recorder.encoder, entropy, head.count * 8, (copy) => {
        result.addLosses(headRows, new Float32Array(copy));
      });
    }
  }

  /** Writes everything a step's kernels read, and says where each group of rows is described. */
  #writeStep(
    entries: readonly ForwardEntry<Sequence>[],
    plan: StepPlan,
    headRows: readonly HeadRow[],
  ): { rows: Rows; head: Rows; slabs: Rows[] } {
    const { device, checkpoint } = this.#options;
    const slots = new Uint32Array(this.#buffers.step.size / 4);
    let offset = 0;
    function slot(count: number, firstRow: number): Rows {
      const rows = { count, offset };
      slots.set([count, firstRow], offset / 4);
      offset += SLOT_BYTES;
      return rows;
    }
    const rows = slot(plan.tokens, 0);
    const head = slot(headRows.length, 0);
    const slabs: Rows[] = [];
    for (let first = 0; first < headRows.length; first += this.#slabRows) {
      slabs.push(slot(Math.min(this.#slabRows, headRows.length - first), first));
    }

    const tokenIds = plan.segments.flatMap(({ entry, start, count }) =>
      entries[entry]!.tokenIds.slice(start, start + count)
    );
    const targets = headRows.map(({ target }) => target ?? NO_TARGET);
    device.queue.writeBuffer(this.#buffers.step, 0, slots);
    device.queue.writeBuffer(this.#buffers.tokenIds, 0, Uint32Array.from(tokenIds));
    if (targets.length > 0) {
      device.queue.writeBuffer(this.#buffers.targets, 0, Uint32Array.from(targets));
    }
    if (this.#options.keySpace === "as-scored") {
      const table = turns(plan, checkpoint.config.inverseFrequencies);
      device.queue.writeBuffer(this.#buffers.turns, 0, table);
    }
    return { rows, head, slabs };
  }
}

/** A row whose logits are wanted. */
interface HeadRow {
  readonly entry: number;
  /** The token within the entry. */
  readonly token: number;
  /** Its row in the step. */
  readonly row: number;
  /** The token it should predict. */
  readonly target: number | undefined;
}

function selectRows<Sequence>(
  entries: readonly ForwardEntry<Sequence>[],
  plan: StepPlan,
  read: ReadOptions,
): HeadRow[] {
  const every = read.losses === true || read.logits === "all";
  if (!every && read.logits === undefined) return [];
  return plan.segments.flatMap(({ entry, start, count, row }) => {
    const { tokenIds, nextTokenId } = entries[entry]!;
    return Array.from({ length: count }, (_, i): HeadRow => ({
      entry,
      token: start + i,
      row: row + i,
      target: tokenIds[start + i + 1] ?? nextTokenId,
    })).filter(({ token }) => every || token === tokenIds.length - 1);
  });
}

/** Neighbouring rows together, so that each run is one copy. */
function runsOf(rows: readonly HeadRow[]): { first: number; row: number; count: number }[] {
  const runs: { first: number; row: number; count: number }[] = [];
  rows.forEach(({ row }, first) => {
    const run = runs.at(-1);
    if (run !== undefined && run.row + run.count === row) run.count++;
    else runs.push({ first, row, count: 1 });
  });
  return runs;
}

/** Deals the entries' tokens to steps within the limits, in order. */
export function planSteps(
  entries: readonly { readonly tokens: number; readonly position: number }[],
  maxTokens: number,
  appendTokens: number,
): StepPlan[] {
  const done = entries.map(() => 0);
  const steps: StepPlan[] = [];
  while (entries.some(({ tokens }, entry) => done[entry]! < tokens)) {
    const segments: Segment[] = [];
    let row = 0;
    entries.forEach(({ tokens, position }, entry) => {
      const start = done[entry]!;
      const count = Math.min(tokens - start, appendTokens, maxTokens - row);
      if (count <= 0) return;
      segments.push({ entry, start, count, position: position + start, row });
      done[entry] = start + count;
      row += count;
    });
    steps.push({ segments, tokens: row });
  }
  return steps;
}

/** Cosine and sine of every token's rotary angles, `[tokens][headDim / 2][2]`, from float64 angles. */
function turns(
  { segments, tokens }: StepPlan,
  frequencies: readonly number[],
): Float32Array<ArrayBuffer> {
  const table = new Float32Array(tokens * frequencies.length * 2);
  let at = 0;
  for (const { position, count } of segments) {
    for (let i = 0; i < count; i++) {
      for (const frequency of frequencies) {
        table[at++] = Math.cos((position + i) * frequency);
        table[at++] = Math.sin((position + i) * frequency);
      }
    }
  }
  return table;
}

type HeadKind = "queries" | "keys" | "values";

/** Puts what the steps read back where the result wants it. */
class ResultBuilder<Sequence> {
  readonly read: ReadOptions;
  readonly #checkpoint: Checkpoint;
  readonly #entries: readonly ForwardEntry<Sequence>[];
  /** Tokens of the entries before each. */
  readonly #offsets: readonly number[];
  readonly #logits: Float32Array<ArrayBuffer>[];
  readonly #losses: Float32Array<ArrayBuffer>[];
  readonly #logSumExps: Float32Array<ArrayBuffer>[];
  readonly #heads: Record<HeadKind, Float32Array<ArrayBuffer>[]>;

  constructor(
    checkpoint: Checkpoint,
    entries: readonly ForwardEntry<Sequence>[],
    read: ReadOptions,
  ) {
    this.read = read;
    this.#checkpoint = checkpoint;
    this.#entries = entries;
    const { vocabularySize, layers } = checkpoint.config;
    let tokens = 0;
    this.#offsets = entries.map(({ tokenIds }) => (tokens += tokenIds.length) - tokenIds.length);
    const perEntry = (wanted: unknown, length: (entry: ForwardEntry<Sequence>) => number) =>
      wanted ? entries.map((entry) => new Float32Array(length(entry))) : [];
    this.#logits = perEntry(
      read.logits,
      ({ tokenIds }) => (read.logits === "all" ? tokenIds.length : 1) * vocabularySize,
    );
    this.#losses = perEntry(
      read.losses,
      ({ tokenIds, nextTokenId }) => tokenIds.length - (nextTokenId === undefined ? 1 : 0),
    );
    this.#logSumExps = perEntry(read.losses, ({ tokenIds }) => tokenIds.length);
    const perLayer = (kind: HeadKind) =>
      read[kind]
        ? Array.from({ length: layers }, () => new Float32Array(tokens * this.width(kind)))
        : [];
    this.#heads = {
      queries: perLayer("queries"),
      keys: perLayer("keys"),
      values: perLayer("values"),
    };
  }

  /** Channels per token of a kind of heads. */
  width(kind: HeadKind): number {
    const { queryHeads, keyValueHeads, headDim } = this.#checkpoint.config;
    return (kind === "queries" ? queryHeads : keyValueHeads) * headDim;
  }

  addHeads(kind: HeadKind, layer: number, { segments }: StepPlan, rows: Float32Array): void {
    const width = this.width(kind);
    for (const { entry, start, count, row } of segments) {
      this.#heads[kind][layer]!.set(
        rows.subarray(row * width, (row + count) * width),
        (this.#offsets[entry]! + start) * width,
      );
    }
  }

  addLogits(rows: readonly HeadRow[], logits: Float32Array): void {
    const width = this.#checkpoint.config.vocabularySize;
    rows.forEach(({ entry, token }, i) => {
      const all = this.read.logits === "all";
      if (!all && token !== this.#entries[entry]!.tokenIds.length - 1) return;
      const row = logits.subarray(i * width, (i + 1) * width);
      this.#logits[entry]!.set(row, all ? token * width : 0);
    });
  }

  addLosses(rows: readonly HeadRow[], pairs: Float32Array): void {
    rows.forEach(({ entry, token, target }, i) => {
      if (target !== undefined) this.#losses[entry]![token] = pairs[2 * i]!;
      this.#logSumExps[entry]![token] = pairs[2 * i + 1]!;
    });
  }

  finish(): ForwardResult {
    const { read } = this;
    return {
      ...(read.logits ? { logits: this.#logits } : {}),
      ...(read.losses ? { losses: this.#losses, logSumExps: this.#logSumExps } : {}),
      ...(read.queries ? { queries: this.#heads.queries } : {}),
      ...(read.keys ? { keys: this.#heads.keys } : {}),
      ...(read.values ? { values: this.#heads.values } : {}),
    };
  }
}

function matricesOf({ weights }: Checkpoint) {
  return [
    [weights.embedding],
    [weights.head],
    ...weights.layers.flatMap(({ query, key, value, output, gate, up, down }) => [
      [query.weight],
      [key.weight],
      [value.weight],
      [output.weight],
      [gate.weight, up.weight],
      [down.weight],
    ]),
  ];
}

function checkTokens(maxTokens: number, appendTokens: number): void {
  for (const [name, count] of Object.entries({ maxTokens, appendTokens })) {
    if (!Number.isInteger(count) || count < 1 || count > MAX_WORKGROUPS) {
      throw new CoupletError("usage", {
        what: "The engine cannot be planned",
        why: `${name} is ${count}, not an integer from 1 to ${MAX_WORKGROUPS}`,
        remedy: "Pass the cache's stepTokens and appendTokens",
      });
    }
  }
}

function checkSizes(
  sizes: Readonly<Record<BufferName, number>>,
  limits: GPUSupportedLimits,
  maxTokens: number,
): void {
  const most = Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
  for (const [name, bytes] of Object.entries(sizes)) {
    if (bytes <= most) continue;
    throw new CoupletError("limits", {
      what: "The engine's buffers do not fit the device",
      why: `"${name}" takes ${bytes} bytes at ${maxTokens} tokens a step, and a binding ${most}`,
      remedy: `Lower maxTokens, to ${Math.floor(maxTokens * most / bytes)} or less`,
    });
  }
}

function checkEntries<Sequence>(
  entries: readonly ForwardEntry<Sequence>[],
  vocabularySize: number,
): void {
  const seen = new Set<Sequence>();
  for (const { sequence, tokenIds, nextTokenId } of entries) {
    if (tokenIds.length === 0) throw misused("an entry has no tokens", "Leave the entry out");
    if (seen.has(sequence)) {
      throw misused("a sequence is in two entries", "Join its tokens in one entry");
    }
    seen.add(sequence);
    const wrong = [...tokenIds, ...(nextTokenId === undefined ? [] : [nextTokenId])].find((id) =>
      !Number.isInteger(id) || id < 0 || id >= vocabularySize
    );
    if (wrong !== undefined) {
      throw misused(
        `token ${wrong} is not in the vocabulary of ${vocabularySize}`,
        "Use the checkpoint's own tokenizer",
      );
    }
  }
}

function misused(why: string, remedy: string): CoupletError {
  return new CoupletError("usage", { what: "These tokens cannot be run", why, remedy });
}
