/** Operations on a cache in any order, for tests that run many of them beside the float64 cache. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type CacheOptions,
  CoupletError,
  dropGranularity,
  encodeDrop,
  encodeRollback,
  PAGE_TOKENS,
  type ReferenceSequence,
  SIDES,
  snapshotSequence,
  spanKinds,
} from "../../mod.ts";
import { CacheModel, type Pair, type PairEntry, POISON } from "./cache_model.ts";
import { refusal, refuses } from "./refusals.ts";

/** Entries of a step: sequences by their number among those alive, modulo, and how many tokens each gets. */
type Entries = readonly (readonly [which: number, tokens: number])[];

/** One operation; sequences are chosen by their number among those alive, modulo. */
export type Operation =
  /** A step through all layers. */
  | { readonly kind: "append"; readonly entries: Entries }
  /**
   * A step that is given up after some layers: all of it, or one of its sequences, which is freed or taken back; the
   * others then go on. Where it is dropped, its commands are never submitted.
   */
  | {
    readonly kind: "give up";
    readonly entries: Entries;
    readonly layers: number;
    readonly how: "all" | "freed" | "taken back" | "dropped";
  }
  /** Drafts that are verified and in part rejected. */
  | { readonly kind: "draft"; readonly entries: Entries; readonly kept: number }
  | { readonly kind: "fork" | "save" | "free" | "read"; readonly which: number }
  | { readonly kind: "restore" }
  | {
    readonly kind: "span";
    readonly which: number;
    readonly name: number;
    readonly tokens: number;
  }
  | { readonly kind: "reorder"; readonly parents: readonly number[] }
  | { readonly kind: "truncate"; readonly which: number; readonly back: number }
  /** A rollback to any length, after some full steps without attention. */
  | {
    readonly kind: "roll back";
    readonly which: number;
    readonly steps: number;
    readonly back: number;
  }
  /** A context shift, after such steps: as many pages and units of tokens as are there, modulo. */
  | {
    readonly kind: "shift";
    readonly which: number;
    readonly steps: number;
    readonly from: number;
    readonly count: number;
  }
  | { readonly kind: "submit"; readonly poisons: boolean }
  | { readonly kind: "switch target" }
  /** A call that must be refused, by its number. */
  | { readonly kind: "refused"; readonly which: number };

/** What operations are run on. */
export interface OperationCase {
  readonly name: string;
  readonly options: CacheOptions;
  /** Most beams of a reordering. */
  readonly beams: number;
  /** Whether decoded tokens are coded anew like the reference's, to the bit, so that blocks may be cut. */
  readonly rollsBack?: true;
}

const ROPE = { layout: "half", theta: 10000 } as const;

/** Caches of several kinds; together they have schemes of one record a token and of several, blocks, and sliding windows. */
export const OPERATION_CASES: readonly OperationCase[] = [
  {
    name: "Cache",
    options: {
      shape: {
        layers: 2,
        queryHeads: 2,
        keyValueHeads: [1, 2],
        headDim: 64,
        valueHeadDim: [64, 128],
        slidingWindow: [0, 48],
      },
      // Records of one token and of two, so that a page is copied with half a record in it.
      policy: { keys: "c8b10", values: "c2b4", layers: { 1: { keys: "c1b1", values: "f16" } } },
      keys: { space: "pre-rope", rope: ROPE },
      tiers: { sinks: 2, window: 9 },
      capacity: {
        sequences: 8,
        tokens: 900,
        sequenceTokens: 400,
        stepTokens: 150,
        appendTokens: 50,
      },
    },
    beams: 8,
  },
  {
    name: "Cache of blocks of tokens",
    options: {
      shape: { layers: 2, queryHeads: 2, keyValueHeads: 1, headDim: 64, slidingWindow: [0, 70] },
      policy: { keys: "u8b8", values: "t1b2", layers: { 1: { keys: "t1b3", values: "u4b8" } } },
      // Unrotated, so that numbers are exact in f32 and coded as in float64.
      keys: { space: "as-scored" },
      tiers: { sinks: 2, window: 9 },
      capacity: {
        sequences: 6,
        tokens: 700,
        sequenceTokens: 400,
        stepTokens: 150,
        appendTokens: 50,
      },
    },
    beams: 6,
  },
  {
    name: "Cache of many beams",
    options: {
      shape: { layers: 1, queryHeads: 1, keyValueHeads: 1, headDim: 64 },
      policy: { keys: "c8b8", values: "c4b8" },
      keys: { space: "as-scored" },
      tiers: { sinks: 1, window: 2 },
      capacity: {
        sequences: 110,
        tokens: 110 * 70,
        sequenceTokens: 140,
        stepTokens: 64,
        appendTokens: 20,
      },
    },
    beams: 110,
  },
  {
    name: "Cache of anchored keys",
    options: {
      shape: { layers: 2, queryHeads: 2, keyValueHeads: 1, headDim: 64, slidingWindow: [0, 150] },
      policy: { keys: "c8b8", values: "c8b8", layers: { 1: { keys: "c4b8", values: "c2b8" } } },
      // Anchors of at most 128 tokens, so that sequences are long enough to drop as many.
      keys: {
        space: "anchored",
        rope: { ...ROPE, layout: "interleaved" },
        anchor: { radians: 0.07 },
      },
      tiers: { sinks: 2, window: 9 },
      capacity: {
        sequences: 6,
        tokens: 900,
        sequenceTokens: 400,
        stepTokens: 150,
        appendTokens: 50,
      },
    },
    beams: 6,
  },
  {
    name: "Cache with spans",
    options: {
      shape: { layers: 2, queryHeads: 4, keyValueHeads: [1, 2], headDim: 64 },
      policy: { keys: "c8b8", values: "kt2", layers: { 1: { keys: "f16", values: "zc3" } } },
      keys: { space: "as-scored" },
      tiers: { sinks: 2, window: 9 },
      capacity: {
        sequences: 6,
        tokens: 700,
        sequenceTokens: 300,
        stepTokens: 100,
        appendTokens: 40,
      },
      spans: spanKinds({
        image: { keys: "sc1", values: "sc1", tokens: 500, count: 5 },
        text: { keys: "kc2p8", values: "sc2", tokens: 300, count: 3 },
      }),
    },
    beams: 6,
  },
  {
    name: "Cache of blocks that are decoded exactly",
    options: {
      shape: {
        layers: 2,
        queryHeads: 2,
        keyValueHeads: 1,
        headDim: 64,
        valueHeadDim: [128, 64],
        slidingWindow: [0, 70],
      },
      policy: { keys: "kc2", values: "kt2", layers: { 1: { keys: "f16", values: "c8b8" } } },
      keys: { space: "pre-rope", rope: ROPE },
      tiers: { sinks: 2, window: 9 },
      capacity: {
        sequences: 6,
        tokens: 900,
        sequenceTokens: 400,
        stepTokens: 150,
        appendTokens: 50,
      },
    },
    beams: 6,
    rollsBack: true,
  },
];

/** Lists of operations. */
export function operations(
  { beams, options, rollsBack }: OperationCase,
): fc.Arbitrary<Operation[]> {
  const which = fc.nat(200);
  const { appendTokens } = options.capacity;
  const count = fc.oneof(fc.constant(1), fc.integer({ min: 1, max: appendTokens }));
  const entries = fc.array(fc.tuple(which, count), { minLength: 1, maxLength: 3 });
  const of = <Kind extends string, Rest>(
    kind: Kind,
    rest: { readonly [name in keyof Rest]: fc.Arbitrary<Rest[name]> },
  ) =>
    fc.record({ ...rest, kind: fc.constant(kind) }) as fc.Arbitrary<Rest & { readonly kind: Kind }>;
  // Within a step, beyond it, and all.
  const back = fc.oneof(fc.nat(appendTokens), fc.nat(3 * appendTokens), fc.constant(400));
  const operation: fc.Arbitrary<Operation> = fc.oneof(
    { weight: 8, arbitrary: of("append", { entries }) },
    {
      weight: 3,
      arbitrary: of("give up", {
        entries,
        layers: fc.nat(options.shape.layers - 1),
        how: fc.constantFrom("all" as const, "freed", "taken back", "dropped"),
      }),
    },
    { weight: 1, arbitrary: of("draft", { entries, kept: fc.nat(4) }) },
    { weight: 3, arbitrary: of("fork", { which }) },
    { weight: 1, arbitrary: of("save", { which }) },
    { weight: 1, arbitrary: of("free", { which }) },
    { weight: 1, arbitrary: of("read", { which }) },
    { weight: 1, arbitrary: of("restore", {}) },
    ...(options.spans === undefined ? [] : [{
      weight: 4,
      arbitrary: of("span", { which, name: fc.nat(1), tokens: fc.integer({ min: 1, max: 150 }) }),
    }]),
    {
      weight: 1,
      arbitrary: of("reorder", {
        parents: fc.array(which, { minLength: 1, maxLength: beams, size: "max" }),
      }),
    },
    { weight: 2, arbitrary: of("truncate", { which, back }) },
    ...(rollsBack
      ? [{ weight: 2, arbitrary: of("roll back", { which, steps: fc.nat(4), back }) }]
      : []),
    ...(options.keys.space === "as-scored" ? [] : [{
      weight: 2,
      arbitrary: of("shift", { which, steps: fc.nat(7), from: fc.nat(5), count: fc.nat(5) }),
    }]),
    { weight: 3, arbitrary: of("submit", { poisons: fc.boolean() }) },
    { weight: 1, arbitrary: of("switch target", {}) },
    { weight: 2, arbitrary: of("refused", { which: fc.nat(REFUSED.length - 1) }) },
  );
  return fc.array(operation, { minLength: 20, maxLength: 60, size: "max" });
}

/** A snapshot, and the tokens it holds. */
interface Saved {
  readonly bytes: Uint8Array;
  readonly reference: ReferenceSequence;
}

/** Calls that must be refused, each leaving everything as it was. */
const REFUSED: readonly ((model: CacheModel, pair: Pair) => void)[] = [
  ({ cache }, { device }) =>
    refuses("usage", () => cache.truncate(device, cache.length(device) + 1)),
  (model, { device }) =>
    refuses("usage", () => model.encode((to) => model.cache.encodeReorder(to, [device], [1]))),
  (model, { device }) =>
    refuses(
      "usage",
      () => model.encode((to) => model.cache.encodeReorder(to, [device, device], [0])),
    ),
  ({ cache, options }, { device }) =>
    refuses(
      "capacity",
      () => cache.beginStep([{ sequence: device, tokens: options.capacity.appendTokens + 1 }]),
    ),
  ({ cache }, { device }) =>
    refuses(
      "usage",
      () => cache.beginStep([{ sequence: device, tokens: 1 }, { sequence: device, tokens: 1 }]),
    ),
  (model, { device }) =>
    refuses("usage", () =>
      model.encode((to) =>
        model.cache.encodeRead(to, device, 0, {
          side: "keys",
          first: model.cache.length(device),
          count: 1,
          output: { buffer: model.cache.buffers(0).parts[0]!.exact },
        })
      )),
  (model) => {
    const missing = model.cache.plan.options.capacity.sequences - model.alive.length;
    if (missing > 0) return;
    refuses(
      "capacity",
      () => model.encode((to) => model.cache.encodeFork(to, model.alive[0]!.device)),
    );
  },
];

/** Runs operations on a cache and its reference. */
export class Operations {
  readonly #model: CacheModel;
  #saved: Saved | undefined;

  private constructor(model: CacheModel) {
    this.#model = model;
  }

  static async create(device: GPUDevice, options: CacheOptions, seed: number): Promise<Operations> {
    const model = await CacheModel.create(device, options, seed);
    model.poison();
    model.create();
    return new Operations(model);
  }

  /** Runs one operation, or nothing where there is no sequence or room for it. */
  async run(operation: Operation): Promise<void> {
    const model = this.#model;
    const { cache, alive } = model;
    const { capacity } = cache.plan.options;
    const at = (index: number): Pair | undefined => alive[index % alive.length];
    switch (operation.kind) {
      case "append": {
        const entries = this.#entries(operation.entries);
        const step = this.#begin(entries);
        if (step !== undefined) model.record(step);
        break;
      }
      case "give up":
        await this.#giveUp(operation);
        break;
      case "draft": {
        const entries = this.#entries(operation.entries);
        const step = this.#begin(entries);
        if (step === undefined) break;
        model.record(step);
        for (const { pair, tokens } of entries) {
          const rejected = Math.max(0, tokens - operation.kept);
          model.truncate(pair, cache.length(pair.device) - rejected);
        }
        break;
      }
      case "fork": {
        if (alive.length === capacity.sequences) break;
        const pair = at(operation.which);
        if (pair === undefined) model.create();
        else model.fork(pair);
        break;
      }
      case "save": {
        const pair = at(operation.which);
        if (pair === undefined) break;
        await model.flush();
        if (this.#saved !== undefined) model.reference.freeSequence(this.#saved.reference);
        const bytes = await snapshotSequence(cache, pair.device);
        assertClean(bytes);
        this.#saved = { bytes, reference: model.reference.forkSequence(pair.reference) };
        break;
      }
      case "restore":
        if (this.#saved === undefined || alive.length === capacity.sequences) break;
        await this.#unlessFull(() => model.restoreFrom(this.#saved!.bytes, this.#saved!.reference));
        break;
      case "span": {
        const pair = at(operation.which);
        const name = Object.keys(model.options.spans!.policies)[operation.name]!;
        const add = () => Promise.resolve(model.addSpan(pair!, name, operation.tokens));
        if (pair !== undefined) await this.#unlessFull(async () => await add());
        break;
      }
      case "free": {
        const pair = at(operation.which);
        if (pair !== undefined) model.free(pair);
        break;
      }
      case "read": {
        const pair = at(operation.which);
        if (pair !== undefined) { for (const side of SIDES) model.read(pair, side); }
        break;
      }
      case "reorder":
        if (alive.length === 0) break;
        model.reorder(alive, operation.parents.map((parent) => parent % alive.length));
        break;
      case "truncate": {
        const pair = at(operation.which);
        if (pair !== undefined) this.#truncate(pair, operation.back);
        break;
      }
      case "roll back": {
        const pair = at(operation.which);
        if (pair === undefined) break;
        this.#grow(pair, operation.steps);
        this.#rollBack(pair, operation.back);
        break;
      }
      case "shift": {
        const pair = at(operation.which);
        if (pair === undefined) break;
        this.#grow(pair, operation.steps);
        this.#shift(pair, operation);
        break;
      }
      case "submit":
        await model.flush();
        if (operation.poisons) model.poison();
        break;
      case "switch target":
        model.usesPass = !model.usesPass;
        break;
      case "refused": {
        const pair = at(operation.which);
        if (pair !== undefined) REFUSED[operation.which]!(model, pair);
        break;
      }
    }
    for (const { device, reference } of model.alive) {
      assert.equal(cache.length(device), model.reference.length(reference));
    }
    model.checkPages();
  }

  #entries(entries: Entries): PairEntry[] {
    const { alive, cache } = this.#model;
    const { sequenceTokens, stepTokens } = cache.plan.options.capacity;
    const counts = new Map<Pair, number>();
    let room = stepTokens;
    for (const [index, count] of entries) {
      const pair = alive[index % alive.length];
      if (pair === undefined || counts.has(pair)) continue;
      const tokens = Math.min(count, room, sequenceTokens - cache.length(pair.device));
      if (tokens === 0) continue;
      room -= tokens;
      counts.set(pair, tokens);
    }
    return [...counts].map(([pair, tokens]) => ({ pair, tokens }));
  }

  /** Begins a step in both caches; none where the pages do not suffice, and then nothing has changed. */
  #begin(entries: readonly PairEntry[]) {
    const { cache } = this.#model;
    if (entries.length === 0) return undefined;
    const before = cache.stats();
    try {
      return this.#model.begin(entries);
    } catch (error) {
      if (!(error instanceof CoupletError && error.code === "capacity")) throw error;
      assert.deepEqual(cache.stats(), before);
      return undefined;
    }
  }

  async #unlessFull(act: () => Promise<unknown>): Promise<void> {
    const before = this.#model.cache.stats();
    try {
      await act();
    } catch (error) {
      if (!(error instanceof CoupletError && error.code === "capacity")) throw error;
      assert.deepEqual(this.#model.cache.stats(), before);
    }
  }

  async #giveUp({ entries: asked, layers, how }: Operation & { readonly kind: "give up" }) {
    const model = this.#model;
    const entries = this.#entries(asked);
    const starts = entries.map(({ pair }) => model.cache.length(pair.device));
    const takeBack = () => entries.forEach(({ pair }, i) => model.truncate(pair, starts[i]!));
    if (how === "dropped") {
      await model.drop(() => {
        const step = this.#begin(entries);
        if (step === undefined) return;
        model.record(step);
        takeBack();
      });
      return;
    }
    const step = this.#begin(entries);
    if (step === undefined) return;
    const given = model.layers.slice(0, layers);
    model.record(step, given);
    if (how === "all") return takeBack();
    const [{ pair }] = entries as [PairEntry];
    if (how === "freed") model.free(pair);
    else model.truncate(pair, starts[0]!);
    if (entries.length > 1) model.record(step, model.layers.slice(layers));
  }

  #truncate(pair: Pair, back: number): void {
    const model = this.#model;
    const length = model.cache.length(pair.device);
    const kept = Math.max(0, length - back);
    if (!model.losesTokens(pair, kept)) return model.truncate(pair, kept);
    const advice = refusal("usage", () => model.cache.truncate(pair.device, kept));
    assert.equal(model.cache.length(pair.device), length);
    const [, shorter] = /Keep (\d+) tokens/.exec(advice)!;
    model.truncate(pair, Number(shorter));
  }

  #grow(pair: Pair, steps: number): void {
    const model = this.#model;
    const { appendTokens } = model.options.capacity;
    for (let i = 0; i < steps; i++) {
      const index = model.alive.indexOf(pair);
      const step = this.#begin(this.#entries([[index, appendTokens]]));
      if (step !== undefined) model.record(step, model.layers, false);
    }
  }

  #rollBack(pair: Pair, back: number): void {
    const model = this.#model;
    const length = model.cache.length(pair.device);
    const kept = Math.max(0, length - back);
    if (!model.losesTokens(pair, kept, true)) return model.rollback(pair, kept);
    const advice = refusal(
      "usage",
      () => model.encode((target) => encodeRollback(model.cache, target, pair.device, kept)),
    );
    assert.equal(model.cache.length(pair.device), length);
    model.rollback(pair, Number(/Keep (\d+) tokens/.exec(advice)![1]));
  }

  #shift(pair: Pair, { from, count }: { readonly from: number; readonly count: number }): void {
    const model = this.#model;
    const { plan } = model.cache;
    const { sinks } = plan.options.tiers;
    const unit = dropGranularity(plan);
    const pages = Math.floor(model.cache.codedTokens(pair.device) / PAGE_TOKENS);
    const first = sinks + PAGE_TOKENS * (from % (pages + 1));
    const range = { from: first, to: first + unit * (1 + count % (pages + 1)) };
    if (!model.losesRange(pair, range)) return model.dropTokens(pair, range);
    const before = model.cache.stats();
    const advice = refusal(
      "usage",
      () => model.encode((target) => encodeDrop(model.cache, target, pair.device, range)),
    );
    assert.deepEqual(model.cache.stats(), before);
    const nearest = /Drop tokens (\d+) to (\d+)/.exec(advice);
    if (nearest === null) return;
    model.dropTokens(pair, { from: Number(nearest[1]), to: Number(nearest[2]) });
  }

  /** Checks all records, that nothing is left where nothing is held, and ends. */
  async finish(): Promise<void> {
    const model = this.#model;
    await model.checkRecords();
    for (const pair of [...model.alive]) model.free(pair);
    const { pages } = model.cache.stats();
    assert.equal(pages.free, pages.total);
    model.destroy();
  }
}

/** A snapshot holds nothing of memory that nobody owned. */
function assertClean(bytes: Uint8Array): void {
  const own = bytes.slice(0, bytes.length - bytes.length % 2);
  const halves = new Uint16Array(own.buffer);
  const poison = POISON & 0xffff;
  for (let i = 1; i < halves.length; i++) {
    assert.ok(halves[i - 1] !== poison || halves[i] !== poison, "the snapshot holds poison");
  }
}
