/** The cache on a GPU: checks the order of calls, and records their commands. */
import { readEntries } from "./read_entries.ts";
import type { Cache, CacheInit, CacheStats, ReadRange, Step } from "./cache.ts";
import { CacheCommands, type StepCut } from "./cache_commands.ts";
import { checkBeams, checkReadRange, checkSpan, checkStepEntries } from "./check_calls.ts";
import { registerInternals } from "./internals.ts";
import { type AttentionWay, type SplitKinds, splitKinds, stepSplits } from "../plan/steps.ts";
import { cacheStats } from "./stats.ts";
import type { CompiledLayer } from "./compiled_layer.ts";
import { DeviceFaults } from "./device_faults.ts";
import { EncoderOrder } from "./encoder_order.ts";
import { describeValue } from "../base/describe_value.ts";
import { raise } from "../base/raise.ts";
import {
  type BoundTensor,
  checkApart,
  checkBinding,
  type HostTensor,
  tensorBytes,
} from "./host_bindings.ts";
import type { LayerBuffers, LayerCodebooks } from "./layer_buffers.ts";
import type { StepGrid } from "./grids.ts";
import { LayerCommands } from "./layer_commands.ts";
import { NumberCounters, type NumberCounts } from "./number_counters.ts";
import type { CompiledKernel } from "./pipelines.ts";
import { PageRows } from "./page_rows.ts";
import { Parameters } from "./parameters.ts";
import type { CachePlan } from "../plan/plan.ts";
import type { CommandTarget } from "./command_target.ts";
import { Recorder } from "./recorder.ts";
import type { Side } from "../model/side.ts";
import {
  type Growth,
  refuseUnfinished,
  type Sequence,
  type SequencePages,
  Sequences,
  type SequenceState,
  type StepEntry,
  unfinishedFrom,
} from "./sequences.ts";
import { allBuffers, type CacheBuffers } from "./shared_buffers.ts";
import type { Span } from "./span_room.ts";
import type { CacheSpans, SpanTensors } from "./spans.ts";
import { checkAppend, checkAttend, stepsBefore } from "./step_order.ts";
import { StepPlaces } from "./step_places.ts";
import type { StepProgress } from "./step_progress.ts";

/** A step as the cache knows it. */
interface StepState extends StepCut {
  /** Tokens of all entries. */
  readonly tokens: number;
  /** What it does to its sequences. */
  readonly growths: readonly Growth[];
  /** Row of each entry's first token in the host's buffers. */
  readonly firsts: readonly number[];
  readonly progress: StepProgress;
  /** Whether the commands before its first layer were recorded. */
  isPrepared: boolean;
  /** Its parameters, for the entries that still count. */
  grid: StepGrid | undefined;
}

/** A step with those of its entries that still count. */
interface LiveStep {
  readonly state: StepState;
  readonly live: readonly Growth[];
  readonly sequences: readonly Sequence[];
}

/** A new sequence, its state, and the state of its parent. */
interface Fork {
  readonly sequence: Sequence;
  readonly from: SequenceState;
  readonly to: SequenceState;
}

/** The kernels of a cache. */
export interface CompiledCache {
  readonly layers: readonly CompiledLayer[];
  readonly pageTable: CompiledKernel;
  /** Creates what the cache knows of its spans. */
  spans(parameters: Parameters): CacheSpans;
}

/** The codebooks of a cache. */
export interface CacheCodebooks {
  readonly layers: readonly LayerCodebooks[];
  /** By kind of span and layer. */
  readonly spans: readonly (readonly LayerCodebooks[])[];
}

/** The cache of {@linkcode createCache}. */
export class DeviceCache implements Cache {
  readonly plan: CachePlan;
  readonly #device: GPUDevice;
  readonly #commands: CacheCommands;
  readonly #buffers: CacheBuffers;
  readonly #codebooks: CacheCodebooks;
  readonly #spans: CacheSpans;
  readonly #own: Set<GPUBuffer>;
  readonly #sequences: Sequences;
  readonly #recorder: Recorder;
  readonly #encoders = new EncoderOrder();
  readonly #steps = new WeakMap<Step, StepState>();
  readonly #faults: DeviceFaults;
  readonly #numbers: NumberCounters;
  /** What each layer's splits are counted by. */
  readonly #splitKinds: Readonly<Record<AttentionWay, SplitKinds>>;
  #isDestroyed = false;

  constructor(
    { device, plan, profile, onFault, codebooks: given, sinkLogits, model }: CacheInit,
    compiled: CompiledCache,
    buffers: CacheBuffers,
    codebooks: CacheCodebooks,
  ) {
    this.#device = device;
    this.plan = plan;
    const { layers, shared } = buffers;
    this.#buffers = buffers;
    this.#codebooks = codebooks;
    this.#own = allBuffers(buffers);
    this.#sequences = new Sequences(plan.options);
    this.#recorder = new Recorder(profile);
    const commands = compiled.layers.map((kernels, layer) =>
      new LayerCommands(device, plan.options.layers[layer]!, kernels, layers[layer]!, shared)
    );
    const parameters = new Parameters(new StepPlaces(device, shared.steps));
    this.#spans = compiled.spans(parameters);
    this.#commands = new CacheCommands(
      plan.options,
      commands,
      parameters,
      new PageRows(device, plan.options, compiled.pageTable, shared.pages, parameters),
      this.#spans,
    );
    this.#faults = new DeviceFaults(device, onFault);
    this.#numbers = new NumberCounters(device, shared.counters, onFault);
    this.#splitKinds = {
      decode: splitKinds(plan.layers, "decode"),
      prefill: splitKinds(plan.layers, "prefill"),
    };
    registerInternals(this, {
      device,
      codedWith: {
        codebooks: codebooks.layers,
        spans: codebooks.spans,
        // A copy, because the host may change its own before a snapshot reads it.
        sinkLogits: sinkLogits?.slice(),
        model: model ?? given?.model,
      },
      state: (sequence) => {
        this.#checkExists();
        return this.#sequences.state(sequence);
      },
      adopt: (length, exactFrom, firstPages, restored, spans = [], positions) => {
        this.#checkExists();
        return this.#spans.adopt(
          spans,
          (own) => this.#sequences.adopt(length, exactFrom, firstPages, restored, own, positions),
        );
      },
      sequences: this.#sequences,
      commands: this.#commands,
      buffers: this.#own,
      check: (target, sequence) => this.#checkTarget(target, [sequence]),
      record: (target, sequence, dispatches) =>
        this.#record(target, [sequence], () => dispatches(this.#recorder)),
    });
  }

  createSequence(): Sequence {
    this.#checkExists();
    return this.#sequences.create();
  }

  freeSequence(sequence: Sequence): void {
    this.#checkExists();
    this.#sequences.free(sequence);
  }

  length(sequence: Sequence): number {
    this.#checkExists();
    return this.#sequences.state(sequence).length;
  }

  codedTokens(sequence: Sequence): number {
    this.#checkExists();
    return this.#sequences.coded(sequence);
  }

  truncate(sequence: Sequence, length: number): void {
    this.#checkExists();
    this.#sequences.truncate(sequence, length);
  }

  beginStep(entries: readonly StepEntry[]): Step {
    this.#checkDevice();
    checkStepEntries(entries);
    const growths = this.#sequences.grow(entries);
    let tokens = 0;
    const firsts = growths.map((growth) => (tokens += growth.tokens) - growth.tokens);
    const most = Math.max(...growths.map((growth) => growth.tokens));
    const way = most === 1 ? "decode" : "prefill";
    const size = {
      tokens,
      entries: entries.length,
      maxTokens: most,
      context: Math.max(...growths.map(({ state }) => state.length)),
    };
    const splits = this.#splitKinds[way].targets
      .map((target) => stepSplits(this.plan.options, target, size));
    const step: Step = { tokens };
    this.#steps.set(step, {
      tokens,
      growths,
      firsts,
      way,
      splits,
      progress: growths[0]!.progress,
      isPrepared: false,
      grid: undefined,
    });
    return step;
  }

  encodeFork(target: CommandTarget, sequence: Sequence): Sequence {
    this.#checkForkable(target, [sequence]);
    this.#sequences.requireSlots(1);
    const fork = this.#fork(sequence);
    this.#record(target, [sequence, fork.sequence], () => {
      this.#commands.fork(this.#recorder, [fork]);
    });
    return fork.sequence;
  }

  encodeReorder(
    target: CommandTarget,
    beams: readonly Sequence[],
    parents: readonly number[],
  ): Sequence[] {
    const refuse = (why: string): never => {
      raise(
        "usage",
        "Cannot reorder the beams",
        why,
        "Give each beam once, and for each new one the index of its parent",
      );
    };
    this.#checkDevice();
    checkBeams(beams, parents);
    if (new Set(beams).size < beams.length) refuse("a sequence comes twice");
    for (const parent of parents) {
      if (!Object.hasOwn(beams, parent)) {
        refuse(`${parent} is no index of ${beams.length} beams`);
      }
    }
    this.#checkForkable(target, beams);
    const dropped = beams.filter((_, i) => !parents.includes(i));
    this.#sequences.requireSlots(parents.length - new Set(parents).size - dropped.length);
    for (const beam of beams) this.#sequences.settle(beam);
    for (const beam of dropped) this.#sequences.free(beam);
    const taken = new Set<Sequence>();
    const forks: Fork[] = [];
    const reordered = parents.map((parent) => {
      const beam = beams[parent]!;
      if (taken.size < taken.add(beam).size) return beam;
      const fork = this.#fork(beam);
      forks.push(fork);
      return fork.sequence;
    });
    if (forks.length > 0) {
      this.#record(target, reordered, () => this.#commands.fork(this.#recorder, forks));
    }
    return reordered;
  }

  #checkForkable(target: CommandTarget, sequences: readonly Sequence[]): void {
    this.#checkDevice();
    this.#recorder.check(target);
    for (const sequence of sequences) {
      const start = unfinishedFrom(this.#sequences.state(sequence));
      if (start !== undefined) {
        refuseUnfinished(`Cannot fork sequence ${sequence.id}`, start, "every layer");
      }
      this.#spans.requireCoded(
        `Cannot fork sequence ${sequence.id}`,
        this.#sequences.state(sequence),
      );
    }
    this.#encoders.check(target, sequences);
  }

  /** Checks that commands of some living sequences can be recorded. */
  #checkTarget(target: CommandTarget, sequences: readonly Sequence[]): void {
    this.#checkDevice();
    this.#recorder.check(target);
    for (const sequence of sequences) this.#sequences.state(sequence);
    this.#encoders.check(target, sequences);
  }

  #fork(sequence: Sequence): Fork {
    this.#sequences.settle(sequence);
    const fork = this.#sequences.fork(sequence);
    return {
      sequence: fork,
      from: this.#sequences.state(sequence),
      to: this.#sequences.state(fork),
    };
  }

  /** Records dispatches of some sequences, after all checks. */
  #record(target: CommandTarget, sequences: readonly Sequence[], dispatches: () => void): void {
    this.#recorder.record(target, dispatches);
    this.#encoders.note(target, sequences);
  }

  encodeAppend(
    target: CommandTarget,
    step: Step,
    layer: number,
    tensors: { readonly keys: GPUBufferBinding; readonly values: GPUBufferBinding },
  ): void {
    const { state, live, sequences } = this.#checkStep(target, step, layer);
    const { progress } = state;
    const source = this.#source(layer);
    if (source !== layer) {
      raise(
        "usage",
        `Cannot append to layer ${layer}`,
        `it has no keys and values of its own, and attends to those of layer ${source}`,
        "Leave it out, and attend in it after the other's append (shape.sharesWith)",
      );
    }
    checkAppend(progress, live, layer, this.plan.options.capacity.appendTokens);
    const keys = this.#hostTensor("keys", tensors?.keys, state, layer).binding;
    const values = this.#hostTensor("values", tensors?.values, state, layer).binding;
    const grid = this.#grid(state, live);
    this.#record(target, sequences, () => {
      if (!state.isPrepared) this.#commands.prepare(this.#recorder, live);
      this.#commands.layers[layer]!.append(this.#recorder, grid, { keys, values });
    });
    state.isPrepared = true;
    progress.append(layer);
    for (const growth of live) {
      for (const before of stepsBefore(growth)) before.progress.pass(layer);
      this.#sequences.store(growth);
      if (progress.isComplete) this.#sequences.complete(growth);
    }
  }

  encodeAttend(
    target: CommandTarget,
    step: Step,
    layer: number,
    tensors: { readonly queries: GPUBufferBinding; readonly output: GPUBufferBinding },
  ): void {
    const { state, live, sequences } = this.#checkStep(target, step, layer);
    checkAttend(state.progress, layer, this.#source(layer));
    this.#spans.checkAttend(live, layer);
    const queries = this.#hostTensor("queries", tensors?.queries, state, layer);
    const output = this.#hostTensor("output", tensors?.output, state, layer);
    checkApart(output, queries);
    const grid = this.#grid(state, live);
    const kind = this.#splitKinds[state.way].ofLayer[layer]!;
    this.#record(target, sequences, () => {
      const bound = { queries: queries.binding, output: output.binding };
      for (const span of grid.spans) {
        span.layers[layer]!.attend(this.#recorder, span, grid.way, bound);
      }
      this.#commands.layers[layer]!.attend(this.#recorder, grid, kind, bound);
    });
  }

  /**
   * A step's parameters. They are written once, and again where a sequence of the step has left it.
   */
  #grid(state: StepState, live: readonly Growth[]): StepGrid {
    if (state.grid?.entries !== live.length) {
      const firsts = state.firsts.filter((_, i) => !state.growths[i]!.isVoid);
      state.grid = this.#commands.step(live, firsts, state);
    }
    return state.grid!;
  }

  addSpan(sequence: Sequence, name: string, tokens: number): Span {
    this.#checkDevice();
    checkSpan(name, tokens);
    const state = this.#sequences.state(sequence);
    return this.#spans.add(state, sequence, name, tokens);
  }

  encodeSpan(target: CommandTarget, span: Span, layer: number, tensors: SpanTensors): void {
    this.#checkDevice();
    this.#recorder.check(target);
    this.#checkLayer(layer);
    const given = this.#spans.give(span, layer, tensors?.indices);
    const tokens = given.rows.at(-1)! + 1;
    const keys = this.#hostTensor("keys", tensors?.keys, { tokens }, layer).binding;
    const values = this.#hostTensor("values", tensors?.values, { tokens }, layer).binding;
    this.#encoders.check(target, [given.sequence]);
    this.#record(target, [given.sequence], () => {
      given.encode(this.#recorder, { keys, values });
    });
  }

  encodeRead(target: CommandTarget, sequence: Sequence, layer: number, range: ReadRange): void {
    this.#checkDevice();
    this.#recorder.check(target);
    this.#checkLayer(layer);
    checkReadRange(range);
    const { options } = this.plan;
    layer = this.#source(layer);
    const state = this.#sequences.state(sequence);
    const { maxComputeWorkgroupsPerDimension } = this.#device.limits;
    const entries = readEntries(
      options,
      sequence,
      state,
      layer,
      range,
      maxComputeWorkgroupsPerDimension,
    );
    const awaited = state.steps.find(({ progress }) => !progress.isAppended(layer));
    if (awaited !== undefined) {
      refuseUnfinished(`Cannot read sequence ${sequence.id}`, awaited.start, `layer ${layer}`);
    }
    const { side, count, output } = range;
    const { layers, dtype } = options;
    const bytes = tensorBytes(layers[layer]!, side, count, dtype);
    const { binding } = this.#checkBinding({ name: "output", binding: output, bytes });
    this.#encoders.check(target, [sequence]);

    const commands = this.#commands.layers[layer]!;
    const { pageTable } = commands;
    this.#record(target, [sequence], () => {
      const { restored } = state;
      if (restored !== undefined) {
        this.#commands.restore(this.#recorder, state, restored, [commands]);
      }
      this.#commands.staleRow(this.#recorder, state, pageTable);
      for (const tier of ["coded", "exact"] as const) {
        if (entries[tier].length === 0) continue;
        const grid = this.#commands.parameters.entries(entries[tier]);
        commands.read(this.#recorder, side, tier, grid, binding);
      }
    });
  }

  buffers(layer: number): LayerBuffers {
    this.#checkExists();
    this.#checkLayer(layer);
    return this.#buffers.layers[layer]!;
  }

  pages(sequence: Sequence, layer: number): SequencePages {
    this.#checkExists();
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
    this.#checkExists();
    return cacheStats(
      this.plan,
      this.#buffers,
      this.#codebooks.layers,
      this.#sequences,
      this.#spans.stats(),
      this.#numbers.counts,
    );
  }

  destroy(): void {
    this.#isDestroyed = true;
    this.#faults.ignore();
    for (const buffer of this.#own) buffer.destroy();
    this.#commands.parameters.buffer.destroy();
  }

  #checkExists(): void {
    if (!this.#isDestroyed) return;
    raise(
      "usage",
      "Cannot use the cache",
      "it was destroyed",
      "Create another, and restore its sequences from snapshots",
    );
  }

  #checkDevice(): void {
    this.#checkExists();
    this.#faults.check();
  }

  /** The layer whose keys and values a layer attends to. */
  #source(layer: number): number {
    return this.plan.options.layers[layer]!.source;
  }

  #checkLayer(layer: number): void {
    if (Number.isInteger(layer) && layer in this.#buffers.layers) return;
    raise(
      "usage",
      `Cannot use layer ${describeValue(layer)}`,
      `the model has layers 0 to ${this.#buffers.layers.length - 1}`,
      "Use a layer of the model",
    );
  }

  /**
   * Checks that a step belongs to this cache and is not void, and the target of its commands.
   */
  #checkStep(target: CommandTarget, step: Step, layer: number): LiveStep {
    this.#checkDevice();
    this.#recorder.check(target);
    this.#checkLayer(layer);
    const refuse = (why: string, remedy: string): never => {
      raise("usage", `Cannot use the step in layer ${layer}`, why, remedy);
    };
    const state = this.#steps.get(step) ??
      refuse("it is no step of this cache", "Use a step of this cache");
    const live = state.growths.filter(({ isVoid }) => !isVoid);
    if (live.length === 0) {
      refuse(
        "its tokens were taken back, or its sequences freed",
        "Begin another step",
      );
    }
    const sequences = live.map(({ sequence }) => sequence);
    this.#encoders.check(target, sequences);
    return { state, live, sequences };
  }

  /** Checks one of the host's tensors. */
  #hostTensor(
    name: Side | "queries" | "output",
    binding: GPUBufferBinding,
    { tokens }: Pick<StepState, "tokens">,
    layer: number,
  ) {
    const { layers, dtype } = this.plan.options;
    const bytes = tensorBytes(layers[layer]!, name, tokens, dtype);
    return this.#checkBinding({ name, binding, bytes });
  }

  #checkBinding(tensor: HostTensor): BoundTensor {
    const { maxStorageBufferBindingSize } = this.#device.limits;
    return checkBinding(tensor, this.#own, maxStorageBufferBindingSize);
  }
}
