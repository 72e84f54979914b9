/** The cache on a GPU: sequences and steps on the host's side, and the layers that record them. */
import type { Cache, CacheInit, CacheStats, ReadRange, Step, StepEntry } from "./cache.ts";
import { registerInternals } from "./cache_internals.ts";
import {
  centroidBytes,
  type LayerBytes,
  pageTableStart,
  rowScores,
  sequencePages,
  STEP_SLOTS,
  stepSplits,
  stepStride,
  tokenChannels,
  totalBytes,
} from "./cache_sizes.ts";
import type { CompiledLayer } from "./compiled_layer.ts";
import { CoupletError } from "./errors.ts";
import { checkApart, checkBinding, tensorBytes } from "./host_bindings.ts";
import { PAGE_TOKENS } from "./kernel_constants.ts";
import type { LayerBuffers, LayerCodebooks } from "./layer_buffers.ts";
import {
  type Copies,
  LayerCommands,
  type StepGrid,
  type StepShare,
  stepWay,
} from "./layer_commands.ts";
import { NumberCounters, type NumberCounts } from "./number_counters.ts";
import type { CachePlan } from "./plan.ts";
import { type CommandTarget, Recorder } from "./recorder.ts";
import { parseScheme, type Side } from "./scheme.ts";
import {
  type Growth,
  type Sequence,
  type SequencePages,
  Sequences,
  type SequenceState,
} from "./sequences.ts";
import { allBuffers, type SharedBuffers } from "./shared_buffers.ts";
import { parameterSets, type SplitKinds, splitKinds } from "./split_kinds.ts";
import type { AttentionWay } from "./tuning.ts";
import { type StepEntryParameters, stepParameters } from "./uniforms.ts";

/** How far a step has come in a layer: begun, */
const BEGUN = 0;
/** appended, so that it may attend, */
const APPENDED = 1;
/** or passed: a later step of one of its sequences was appended, whose tokens attention would find. */
const PASSED = 2;

/** A step as the cache knows it. */
interface StepState extends Step, StepGrid {
  /** Its sequences, and how often each had been rolled back. */
  readonly sequences: readonly { readonly sequence: Sequence; readonly rollbacks: number }[];
  /** How far each layer has come, as the constants above say. */
  readonly progress: Uint8Array;
  /** Its splits, by kind of layers. */
  readonly shares: readonly StepShare[];
  /** Number of the upload of its parameters. */
  readonly upload: number;
  /** The steps before it of the same sequences. */
  previous: readonly StepState[];
}

/** Parameters of an entry that only names a place. */
const UNUSED = { count: 0, first: 0, encodeFrom: 0, exactFrom: 0 };

/** Splits of what no workgroups share. */
const UNSHARED: readonly number[] = [1];

const NO_COPIES: Copies = { offset: 0, count: 0 };

/** The cache of {@linkcode createCache}. */
export class DeviceCache implements Cache {
  readonly plan: CachePlan;
  readonly #device: GPUDevice;
  readonly #commands: readonly LayerCommands[];
  readonly #layers: readonly LayerBuffers[];
  readonly #codebooks: readonly LayerCodebooks[];
  readonly #shared: SharedBuffers;
  readonly #own: ReadonlySet<GPUBuffer>;
  readonly #sequences: Sequences;
  readonly #recorder: Recorder;
  readonly #steps = new WeakSet<Step>();
  /** The step that last grew a sequence. */
  readonly #lastSteps = new WeakMap<Sequence, StepState>();
  readonly #onFault: CacheInit["onFault"];
  readonly #numbers: NumberCounters;
  /** What each layer's splits are counted by. */
  readonly #splitKinds: Readonly<Record<AttentionWay, SplitKinds>>;
  /** Bytes from one set of parameters of a step to its next, and from one step's to the next step's. */
  readonly #stride: { readonly set: number; readonly step: number };
  #uploads = 0;
  #lost: CoupletError | undefined;

  constructor(
    { device, plan, profile, onFault, codebooks: given, sinkLogits, model }: CacheInit,
    compiled: readonly CompiledLayer[],
    layers: readonly LayerBuffers[],
    codebooks: readonly LayerCodebooks[],
    shared: SharedBuffers,
  ) {
    this.#device = device;
    this.plan = plan;
    this.#layers = layers;
    this.#codebooks = codebooks;
    this.#shared = shared;
    this.#own = allBuffers(layers, shared);
    this.#sequences = new Sequences(plan.options);
    this.#recorder = new Recorder(profile);
    this.#commands = compiled.map((kernels, layer) =>
      new LayerCommands(device, plan.options, layer, kernels, layers[layer]!, shared)
    );
    this.#onFault = onFault;
    this.#numbers = new NumberCounters(device, shared.counters, onFault);
    this.#splitKinds = {
      decode: splitKinds(plan.layers, "decode"),
      prefill: splitKinds(plan.layers, "prefill"),
    };
    const set = stepStride(plan.options);
    this.#stride = { set, step: set * parameterSets(plan.layers) };
    this.#watch();
    registerInternals(this, {
      device,
      codedWith: {
        codebooks,
        // A copy, because it is the host's, and is read when a snapshot first asks.
        sinkLogits: sinkLogits?.slice(),
        model: model ?? given?.model,
      },
      state: (sequence) => this.#sequences.state(sequence),
      isUnfinished: (sequence) => this.#isUnfinished(sequence),
      adopt: (length, exactFrom, firstPages) => this.#adopt(length, exactFrom, firstPages),
    });
  }

  /** Listens for what goes wrong on the device. */
  #watch(): void {
    this.#device.lost.then(({ message, reason }) => {
      this.#lost = new CoupletError("lost", {
        what: "Cannot use the cache",
        why: `its device was lost: ${message || reason}`,
        remedy: "Create the cache anew on a new device, and restore its sequences from snapshots",
      });
      this.#onFault?.(this.#lost);
    });
    if (this.#onFault !== undefined) {
      this.#device.addEventListener("uncapturederror", this.#onUncaptured);
    }
  }

  readonly #onUncaptured = (event: unknown): void => {
    const { error } = event as GPUUncapturedErrorEvent;
    // By name, because not every runtime has the class as a global.
    if (error.constructor.name !== "GPUOutOfMemoryError") return;
    this.#onFault?.(
      new CoupletError("memory", {
        what: "The device ran out of memory",
        why: error.message || "an allocation failed",
        remedy: "Free what is not needed; what was recorded since may be missing",
      }),
    );
  };

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
    this.#checkDevice();
    const growth = this.#sequences.grow(entries);
    let tokens = 0;
    let maxTokens = 0;
    let longest = 0;
    const parameters = growth.map((grown): StepEntryParameters => {
      const { state, start, codedBefore } = grown;
      for (const table of grown.changed) this.#uploadPages(state, table);
      const first = tokens;
      tokens += grown.tokens;
      maxTokens = Math.max(maxTokens, grown.tokens);
      longest = Math.max(longest, state.length);
      const { slot, exactFrom } = state;
      return { slot, start, count: grown.tokens, first, encodeFrom: codedBefore, exactFrom };
    });
    const size = { tokens, entries: entries.length, maxTokens, context: longest };
    const splits = this.#splitKinds[stepWay(size)].targets
      .map((target) => stepSplits(this.plan.options, target, size));
    const offset = this.#upload(parameters, splits);
    const step: StepState = {
      tokens,
      maxTokens,
      offset,
      upload: this.#uploads,
      shares: splits.map((splits, kind) => ({ offset: offset + kind * this.#stride.set, splits })),
      entries: entries.length,
      coded: growth,
      copies: this.#uploadCopies(growth),
      sequences: growth.map(({ state }, i) => ({
        sequence: entries[i]!.sequence,
        rollbacks: state.rollbacks,
      })),
      progress: new Uint8Array(this.plan.options.shape.layers),
      previous: this.#previousSteps(entries),
    };
    this.#steps.add(step);
    for (const { sequence } of entries) this.#lastSteps.set(sequence, step);
    return step;
  }

  /** The last steps of the sequences; what came before those is forgotten where it is through. */
  #previousSteps(entries: readonly StepEntry[]): readonly StepState[] {
    const steps = new Set<StepState>();
    for (const { sequence } of entries) {
      const last = this.#lastSteps.get(sequence);
      if (last === undefined) continue;
      last.previous = last.previous.filter(isUnfinished);
      steps.add(last);
    }
    return [...steps];
  }

  /** Whether the sequence of a step's entry still holds the tokens that the step added. */
  #isHeld({ sequence, rollbacks }: StepState["sequences"][number]): boolean {
    return this.#sequences.isAlive(sequence) &&
      this.#sequences.state(sequence).rollbacks === rollbacks;
  }

  #isUnfinished(sequence: Sequence): boolean {
    const last = this.#lastSteps.get(sequence);
    const own = last?.sequences.find((entry) => entry.sequence === sequence);
    return own !== undefined && this.#isHeld(own) && isUnfinished(last!);
  }

  /** Whether a layer was not given the tokens that a sequence's last step added. */
  #isAwaited(sequence: Sequence, layer: number): boolean {
    const last = this.#lastSteps.get(sequence);
    const own = last?.sequences.find((entry) => entry.sequence === sequence);
    return own !== undefined && this.#isHeld(own) && last!.progress[layer] === BEGUN;
  }

  /** Whether some sequence of a step holds tokens of an earlier step that a layer was not given. */
  #misses({ previous, sequences }: StepState, layer: number): boolean {
    for (const step of previous) {
      if (step.progress[layer] !== BEGUN) continue;
      for (const entry of step.sequences) {
        const shared = sequences.some(({ sequence }) => sequence === entry.sequence);
        if (shared && this.#isHeld(entry)) return true;
      }
    }
    return false;
  }

  #adopt(length: number, exactFrom: number, firstPages: readonly number[]): Sequence {
    const sequence = this.#sequences.adopt(length, exactFrom, firstPages);
    this.#uploadAllPages(this.#sequences.state(sequence));
    return sequence;
  }

  #uploadAllPages(state: SequenceState): void {
    state.tables.forEach((_, table) => this.#uploadPages(state, table));
  }

  #uploadPages(state: SequenceState, table: number): void {
    const { options } = this.plan;
    const word = pageTableStart(options, table) + state.slot * sequencePages(options);
    const row = this.#sequences.pageRow(state, table);
    this.#device.queue.writeBuffer(this.#shared.pages, word * 4, row);
  }

  /** Uploads which pages a step copies, by page table. */
  #uploadCopies(growth: readonly Growth[]): readonly Copies[] {
    return this.plan.options.pageTables.map((_, table): Copies => {
      const own = growth.flatMap(({ copies }) =>
        copies.filter(({ pageTable }) => pageTable === table)
      );
      if (own.length === 0) return NO_COPIES;
      const entries = own.map(({ from, to }) => ({ slot: from, start: to, ...UNUSED }));
      return { offset: this.#upload(entries, UNSHARED), count: own.length };
    });
  }

  /** Uploads parameters into the next slot, one set for each number of splits; gives the offset of the first. */
  #upload(entries: readonly StepEntryParameters[], splits: readonly number[]): number {
    const offset = (this.#uploads % STEP_SLOTS) * this.#stride.step;
    this.#uploads++;
    const stride = rowScores(this.plan.options);
    splits.forEach((own, set) => {
      const words = stepParameters(entries, own, stride);
      this.#device.queue.writeBuffer(this.#shared.steps, offset + set * this.#stride.set, words);
    });
    return offset;
  }

  encodeFork(target: CommandTarget, sequence: Sequence): Sequence {
    this.#checkDevice();
    this.#checkForkable(sequence);
    this.#recorder.begin(target);
    const fork = this.#sequences.fork(sequence);
    this.#recordFork(sequence, fork);
    this.#recorder.end();
    return fork;
  }

  encodeReorder(
    target: CommandTarget,
    beams: readonly Sequence[],
    parents: readonly number[],
  ): Sequence[] {
    this.#checkDevice();
    const refuse = (why: string): never => {
      throw new CoupletError("usage", {
        what: "Cannot reorder the beams",
        why,
        remedy: "Give each beam once, and for each new beam the index of the one it goes on from",
      });
    };
    if (new Set(beams).size < beams.length) refuse("a sequence comes twice");
    for (const parent of parents) {
      if (!(parent in beams)) refuse(`${parent} is no index of ${beams.length} beams`);
    }
    for (const beam of beams) this.#checkForkable(beam);
    const dropped = beams.filter((_, i) => !parents.includes(i));
    this.#sequences.requireSlots(parents.length - new Set(parents).size - dropped.length);
    this.#recorder.begin(target);
    for (const beam of dropped) this.#sequences.free(beam);
    const taken = new Set<Sequence>();
    const reordered = parents.map((parent) => {
      const beam = beams[parent]!;
      if (!taken.has(beam)) {
        taken.add(beam);
        return beam;
      }
      const fork = this.#sequences.fork(beam);
      this.#recordFork(beam, fork);
      return fork;
    });
    this.#recorder.end();
    return reordered;
  }

  #checkForkable(sequence: Sequence): void {
    this.#sequences.state(sequence);
    if (!this.#isUnfinished(sequence)) return;
    throw new CoupletError("usage", {
      what: `Cannot fork sequence ${sequence.id}`,
      why: "its last step was not appended to every layer",
      remedy: "Record the step's appends first",
    });
  }

  /** Copies the exact tier and uploads the page tables of a fork. */
  #recordFork(sequence: Sequence, fork: Sequence): void {
    const from = this.#sequences.state(sequence).slot;
    const state = this.#sequences.state(fork);
    this.#uploadAllPages(state);
    const offset = this.#upload([{ slot: from, start: state.slot, ...UNUSED }], UNSHARED);
    for (const commands of this.#commands) {
      commands.copy(this.#recorder, "exact", { offset, count: 1 });
    }
  }

  encodeAppend(
    target: CommandTarget,
    step: Step,
    layer: number,
    tensors: { readonly keys: GPUBufferBinding; readonly values: GPUBufferBinding },
  ): void {
    const state = this.#checkStep(step, layer);
    if (state.progress[layer] !== BEGUN) {
      throw outOfOrder("append to", layer, "the step was appended to it before");
    }
    if (this.#misses(state, layer)) {
      throw outOfOrder(
        "append to",
        layer,
        "an earlier step of one of the sequences was not appended to it",
      );
    }
    this.#hostTensor("keys", tensors.keys, state, layer);
    this.#hostTensor("values", tensors.values, state, layer);
    this.#recorder.begin(target);
    this.#commands[layer]!.append(this.#recorder, state, tensors);
    this.#recorder.end();
    state.progress[layer] = APPENDED;
    for (const previous of state.previous) previous.progress[layer] = PASSED;
  }

  encodeAttend(
    target: CommandTarget,
    step: Step,
    layer: number,
    tensors: { readonly queries: GPUBufferBinding; readonly output: GPUBufferBinding },
  ): void {
    const state = this.#checkStep(step, layer);
    if (state.progress[layer] !== APPENDED) {
      throw outOfOrder(
        "attend in",
        layer,
        state.progress[layer] === BEGUN
          ? "the step was not appended to it"
          : "a later step of one of the sequences was appended to it",
      );
    }
    const queries = this.#hostTensor("queries", tensors.queries, state, layer);
    const output = this.#hostTensor("output", tensors.output, state, layer);
    checkApart(output, queries);
    this.#recorder.begin(target);
    const share = state.shares[this.#splitKinds[stepWay(state)].ofLayer[layer]!]!;
    this.#commands[layer]!.attend(this.#recorder, state, share, tensors);
    this.#recorder.end();
  }

  encodeRead(
    target: CommandTarget,
    sequence: Sequence,
    layer: number,
    { side, first, count, output }: ReadRange,
  ): void {
    this.#checkDevice();
    this.#checkLayer(layer);
    const { shape, layers, tiers, dtype } = this.plan.options;
    const { keyValueHeads, pageTable, strides } = layers[layer]!;
    const { slot, length, tables } = this.#sequences.state(sequence);
    const refuse = (why: string, remedy: string): never => {
      throw new CoupletError("usage", {
        what: `Cannot read tokens ${first} to ${first + count} of sequence ${sequence.id}`,
        why,
        remedy,
      });
    };
    if (!Number.isInteger(first) || !Number.isInteger(count) || first < 0 || count < 1) {
      refuse("that is no range of tokens", "Give whole numbers, and a count of 1 or more");
    }
    if (first + count > length) refuse(`it has ${length} tokens`, "Read tokens it holds");
    if (this.#isAwaited(sequence, layer)) {
      refuse(`a step of it was not appended to layer ${layer}`, "Record the step's append first");
    }
    const codedFrom = tiers.sinks + tables[pageTable]!.first * PAGE_TOKENS;
    const exactFrom = tiers.sinks + this.codedTokens(sequence);
    const within = (from: number, to: number) => {
      const start = Math.max(first, from);
      const end = Math.min(first + count, to);
      const entry = { slot, start, count: end - start, first: start - first };
      return end > start ? [{ ...entry, encodeFrom: 0, exactFrom: 0 }] : [];
    };
    if (within(tiers.sinks, Math.min(codedFrom, exactFrom)).length > 0) {
      refuse(
        `layer ${layer} holds sinks, and tokens from ${codedFrom} on: its sliding window has passed the others`,
        "Read tokens it holds",
      );
    }
    const { [side]: stride } = strides;
    const headMajor = stride.head > stride.token;
    const most = Math.min(
      this.#device.limits.maxComputeWorkgroupsPerDimension,
      headMajor ? Math.floor((stride.head - shape.headDim) / stride.token) + 1 : Infinity,
    );
    if (count > most) {
      throw new CoupletError("shape", {
        what: `Cannot read ${count} tokens at once`,
        why:
          `with strides of ${stride.token} by token and ${stride.head} by head (io.${side}), ${most} fit`,
        remedy: `Read ${most} tokens at a time, or plan larger strides`,
      });
    }
    const bytes = tensorBytes(count, keyValueHeads, shape.headDim, stride, dtype);
    checkBinding({ name: "output", binding: output, bytes }, this.#own);

    const coded = within(codedFrom, exactFrom)
      .map((entry) => ({ ...entry, start: entry.start - tiers.sinks }));
    const exact = [...within(0, tiers.sinks), ...within(exactFrom, length)];
    this.#recorder.begin(target);
    for (const [tier, entries] of [["coded", coded], ["exact", exact]] as const) {
      if (entries.length === 0) continue;
      const grid = {
        offset: this.#upload(entries, UNSHARED),
        entries: entries.length,
        maxTokens: Math.max(...entries.map((entry) => entry.count)),
      };
      this.#commands[layer]!.read(this.#recorder, side, tier, grid, output);
    }
    this.#recorder.end();
  }

  buffers(layer: number): LayerBuffers {
    this.#checkLayer(layer);
    return this.#layers[layer]!;
  }

  pages(sequence: Sequence, layer: number): SequencePages {
    this.#checkLayer(layer);
    const { pageTable } = this.plan.options.layers[layer]!;
    const { first, pages } = this.#sequences.state(sequence).tables[pageTable]!;
    return { first, pages: [...pages] };
  }

  readCounters(): Promise<NumberCounts> {
    this.#checkDevice();
    return this.#numbers.read();
  }

  stats(): CacheStats {
    const { options } = this.plan;
    const layers = this.#layers.map(({ parts, sinkLogits }, layer): LayerBytes => {
      const sum = (name: "keyRecords" | "valueRecords" | "exact" | "parameters") =>
        parts.reduce((total, part) => total + part[name].size, 0);
      const exact = sum("exact") / 2;
      const codebooks = (side: Side) =>
        centroidBytes(options, options.layers[layer]!, side) +
        (this.#codebooks[layer]![side]?.scale?.byteLength ?? 0);
      return {
        keys: { codes: sum("keyRecords"), exact, codebooks: codebooks("keys") },
        values: { codes: sum("valueRecords"), exact, codebooks: codebooks("values") },
        tables: sum("parameters") + sinkLogits.size,
      };
    });
    const { pages, rope, steps, partials, counters, scores, table } = this.#shared;
    const bytes = totalBytes(
      layers,
      pages.size + steps.size + (rope?.size ?? 0) + counters.size,
      partials.size + (scores?.size ?? 0) + (table?.size ?? 0),
    );
    const pools = this.#sequences.pools.map((pool, i) => ({
      slidingWindow: options.pageTables[i]!.slidingWindow,
      total: pool.pages,
      free: pool.free,
      shared: pool.shared,
    }));
    const over = (name: "total" | "free" | "shared") =>
      pools.reduce((sum, pool) => sum + pool[name], 0);
    const { tokens } = this.#sequences;
    return {
      bytes,
      layers,
      slack: bytes.codes - this.#heldBytes(),
      effectiveBits: (8 * (bytes.total - bytes.scratch)) / (tokens * tokenChannels(options)),
      sequences: this.#sequences.count,
      tokens,
      ...this.#numbers.counts,
      pages: { total: over("total"), free: over("free"), shared: over("shared") },
      pools,
    };
  }

  /** Bytes of the codes of tokens that sequences hold. */
  #heldBytes(): number {
    const { layers, shape, pageTables } = this.plan.options;
    const held = pageTables.map((_, table) => this.#sequences.codedInPool(table));
    return layers.reduce((sum, { keys, values, keyValueHeads, pageTable }) => {
      const perToken = [keys, values].reduce((bytes, id) => {
        const { words, tokens } = parseScheme(id).layout(shape.headDim);
        return bytes + (words * 4) / tokens;
      }, 0);
      return sum + held[pageTable]! * keyValueHeads * perToken;
    }, 0);
  }

  destroy(): void {
    this.#device.removeEventListener("uncapturederror", this.#onUncaptured);
    for (const buffer of this.#own) buffer.destroy();
  }

  #checkDevice(): void {
    if (this.#lost !== undefined) throw this.#lost;
  }

  #checkLayer(layer: number): void {
    if (layer in this.#layers) return;
    throw new CoupletError("usage", {
      what: `Cannot use layer ${layer}`,
      why: `the model has layers 0 to ${this.#layers.length - 1}`,
      remedy: "Pass a layer of the model",
    });
  }

  /** Checks that a step is this cache's, that its tokens are still wanted and its parameters still there. */
  #checkStep(step: Step, layer: number): StepState {
    this.#checkDevice();
    this.#checkLayer(layer);
    const state = step as StepState;
    const refuse = (why: string, remedy: string): never => {
      throw new CoupletError("usage", {
        what: `Cannot use the step in layer ${layer}`,
        why,
        remedy,
      });
    };
    if (!this.#steps.has(step)) {
      refuse("it is another cache's", "Pass a step of this cache's beginStep()");
    }
    if (!state.sequences.every((entry) => this.#isHeld(entry))) {
      refuse("some of its tokens were taken back, or a sequence was freed", "Begin another step");
    }
    if (this.#uploads - state.upload >= STEP_SLOTS) {
      refuse(
        `${STEP_SLOTS} others were begun since, and its parameters are gone`,
        "Record each step before so many others begin",
      );
    }
    return state;
  }

  /** Checks one of the host's tensors. */
  #hostTensor(
    name: Side | "queries" | "output",
    binding: GPUBufferBinding,
    { tokens }: StepState,
    layer: number,
  ) {
    const { shape, layers, dtype } = this.plan.options;
    const { keyValueHeads, strides } = layers[layer]!;
    const heads = name === "keys" || name === "values" ? keyValueHeads : shape.queryHeads;
    const bytes = tensorBytes(tokens, heads, shape.headDim, strides[name], dtype);
    const tensor = { name, binding, bytes };
    checkBinding(tensor, this.#own);
    return tensor;
  }
}

/** Whether some layer was not appended to. */
function isUnfinished({ progress }: StepState): boolean {
  return progress.includes(BEGUN);
}

function outOfOrder(what: string, layer: number, why: string): CoupletError {
  return new CoupletError("usage", {
    what: `Cannot ${what} layer ${layer}`,
    why,
    remedy:
      "Append to each layer once a step, then attend, and keep the order of a sequence's steps",
  });
}
