/** A cache on a device that runs nothing, beside what must be true of its lengths, pages and pools. */
import assert from "node:assert/strict";
import {
  type Cache,
  type CacheOptions,
  type CacheStats,
  CoupletError,
  createCache,
  type KernelInfo,
  planCache,
  type Sequence,
} from "../../mod.ts";
import { kernels as f16 } from "../../generated/f16/f16_d64.ts";
import { kernels as kc2 } from "../../generated/kc2/kc2_d64.ts";
import { kernels as u8b8 } from "../../generated/u8b8/u8b8_d64.ts";
import { idleDevice } from "./idle_device.ts";
import { refuses } from "./refusals.ts";

/** The device of all of them. */
export const device: GPUDevice = idleDevice();

export const PAGE: number = 64;

/** Tokens of two pages: what lies behind a sliding window is given up in multiples of it. */
export const TILE: number = 2 * PAGE;

/** Schemes whose blocks are of 1, 32 and 64 tokens; none needs codebooks that were learned. */
const SCHEMES = { 1: "f16", 32: "kc2", 64: "u8b8" } as const;

/** Their kernels, and those of f16. */
export const kernels: readonly KernelInfo[] = [...f16, ...kc2, ...u8b8];

/** A cache of layers that differ by their sliding windows, 0 for none. */
export interface Sizes {
  readonly block: keyof typeof SCHEMES;
  readonly slidingWindows: readonly number[];
  readonly sinks: number;
  readonly window: number;
  readonly appendTokens: number;
  readonly sequences: number;
  readonly sequenceTokens: number;
  /** As many as all sequences may have, where absent. */
  readonly tokens?: number;
  /** As many as all sequences may take at once, where absent. */
  readonly stepTokens?: number;
}

export async function cacheOf(sizes: Sizes): Promise<Cache> {
  const { block, slidingWindows, sinks, window, appendTokens, sequences, sequenceTokens } = sizes;
  const options: CacheOptions = {
    shape: {
      layers: slidingWindows.length,
      queryHeads: 1,
      keyValueHeads: 1,
      headDim: 64,
      slidingWindow: slidingWindows,
    },
    policy: { keys: SCHEMES[block], values: SCHEMES[block] },
    keys: { space: "as-scored" },
    tiers: { sinks, window },
    capacity: {
      sequences,
      tokens: sizes.tokens ?? sequences * sequenceTokens,
      sequenceTokens,
      stepTokens: sizes.stepTokens ?? sequences * appendTokens,
      appendTokens,
    },
  };
  return await createCache({ device, plan: planCache({ ...options, kernels }) });
}

/** Begins a step and appends it to all layers. */
export function grow(
  cache: Cache,
  entries: readonly { readonly sequence: Sequence; readonly tokens: number }[],
): void {
  const step = cache.beginStep(entries);
  const tensor = { buffer: device.createBuffer({ size: step.tokens * 2048, usage: 0x80 }) };
  const encoder = device.createCommandEncoder();
  cache.plan.options.layers.forEach((_, layer) =>
    cache.encodeAppend(encoder, step, layer, { keys: tensor, values: tensor })
  );
  device.queue.submit([encoder.finish()]);
}

export function fork(cache: Cache, sequence: Sequence): Sequence {
  const encoder = device.createCommandEncoder();
  const forked = cache.encodeFork(encoder, sequence);
  device.queue.submit([encoder.finish()]);
  return forked;
}

/** Coded tokens of a sequence whose tokens before position `exactFrom`, sinks apart, are not held exactly. */
export function codedOf({ block, window, sinks }: Sizes, length: number, exactFrom = 0): number {
  const aged = Math.max(0, length - sinks - window);
  return Math.max(Math.floor(aged / block) * block, Math.min(exactFrom, length) - sinks);
}

/** Positions that lie between the ring's oldest and a sequence's end. */
export function ringOf({ block, window, appendTokens }: Sizes): number {
  return window + (block - 1) + appendTokens;
}

/** The first coded token that a query at the end of `length` tokens sees, or that is still to be completed as a block. */
export function seenFrom({ sinks }: Sizes, slidingWindow: number, length: number): number {
  return slidingWindow === 0 ? 0 : Math.max(0, length + 1 - slidingWindow - sinks);
}

/** What is known of a sequence without asking the cache. */
interface Known {
  length: number;
  /** First position, sinks apart, that is held exactly. */
  exactFrom: number;
}

/** A cache, and what must be true of it. */
export class HostModel {
  readonly sizes: Sizes;
  readonly cache: Cache;
  readonly alive = new Map<Sequence, Known>();

  private constructor(sizes: Sizes, cache: Cache) {
    this.sizes = sizes;
    this.cache = cache;
  }

  static async create(sizes: Sizes): Promise<HostModel> {
    return new HostModel(sizes, await cacheOf(sizes));
  }

  coded({ length, exactFrom }: Known): number {
    return codedOf(this.sizes, length, exactFrom);
  }

  /** Does what must be refused with this code, or must succeed where there is none; what is refused changes nothing. */
  attempt(code: "capacity" | "usage" | undefined, act: () => void): boolean {
    if (code === undefined) {
      act();
      return true;
    }
    const before = JSON.stringify(this.#observed());
    refuses(code, act);
    assert.equal(JSON.stringify(this.#observed()), before);
    return false;
  }

  #observed() {
    return [this.cache.stats(), ...[...this.alive.keys()].map((sequence) => this.#pages(sequence))];
  }

  #pages(sequence: Sequence) {
    return this.sizes.slidingWindows.map((_, layer) => this.cache.pages(sequence, layer));
  }

  create(): void {
    const full = this.alive.size === this.sizes.sequences;
    this.attempt(full ? "capacity" : undefined, () => {
      this.alive.set(this.cache.createSequence(), { length: 0, exactFrom: 0 });
    });
  }

  fork(sequence: Sequence): void {
    const full = this.alive.size === this.sizes.sequences;
    this.attempt(full ? "capacity" : undefined, () => {
      const forked = fork(this.cache, sequence);
      assert.deepEqual(this.#pages(forked), this.#pages(sequence));
      this.alive.set(forked, { ...this.alive.get(sequence)! });
    });
  }

  free(sequence: Sequence): void {
    this.cache.freeSequence(sequence);
    this.alive.delete(sequence);
    refuses("usage", () => this.cache.length(sequence));
  }

  reorder(beams: readonly Sequence[], parents: readonly number[]): void {
    const { alive, cache, sizes } = this;
    const room = sizes.sequences - alive.size + beams.length;
    this.attempt(parents.length > room ? "capacity" : undefined, () => {
      const known = beams.map((beam) => alive.get(beam)!);
      const encoder = device.createCommandEncoder();
      const reordered = cache.encodeReorder(encoder, beams, parents);
      for (const beam of beams) alive.delete(beam);
      parents.forEach((parent, i) => {
        const first = parents.indexOf(parent) === i;
        assert.equal(reordered[i] === beams[parent], first);
        alive.set(reordered[i]!, { ...known[parent]! });
      });
    });
  }

  truncate(sequence: Sequence, length: number): void {
    const { sizes, cache } = this;
    const known = this.alive.get(sequence)!;
    const exactFrom = length === known.length ? known.exactFrom : Math.min(
      length,
      Math.max(known.exactFrom, known.length - ringOf(sizes)),
    );
    const coded = codedOf(sizes, length, exactFrom);
    const lost = coded > 0 &&
      sizes.slidingWindows.some((slidingWindow, layer) =>
        Math.min(seenFrom(sizes, slidingWindow, length), coded) <
          cache.pages(sequence, layer).first * PAGE
      );
    const refused = length < known.length && (lost || coded % sizes.block !== 0);
    if (known.length - length <= sizes.appendTokens) {
      assert.ok(!refused || known.exactFrom > 0, "no more than a step is taken back");
    }
    if (this.attempt(refused ? "usage" : undefined, () => cache.truncate(sequence, length))) {
      Object.assign(known, { length, exactFrom });
    }
  }

  append(entries: readonly { readonly sequence: Sequence; readonly tokens: number }[]): void {
    const { sizes, cache, alive } = this;
    const coded = entries.map(({ sequence, tokens }) => {
      const known = alive.get(sequence)!;
      const before = this.coded(known);
      return { before, after: this.coded({ ...known, length: known.length + tokens }) };
    });
    const tables = sizes.slidingWindows.map((_, layer) => {
      const users = this.#users(layer);
      let needed = 0;
      let filled = 0;
      const copied: number[] = [];
      entries.forEach(({ sequence }, i) => {
        const { before, after } = coded[i]!;
        const { first, pages } = cache.pages(sequence, layer);
        needed += Math.ceil(after / PAGE) - first - pages.length;
        if (after === before || before % PAGE === 0) return;
        filled++;
        const last = pages.at(-1)!;
        if (users.get(last)! > 1) copied.push(last);
      });
      // Where all users of a page write to it, one of them may keep it.
      const kept = [...users].filter(([page, count]) =>
        copied.filter((one) => one === page).length === count
      ).length;
      const { free } = this.#pool(layer);
      // A page that one sequence has may be copied, too: another may come back to it, should its last step be taken back.
      return { most: needed + filled, least: needed + copied.length - kept, free };
    });
    const before = entries.map(({ sequence }) => this.#pages(sequence));
    const mayFail = tables.some(({ most, free }) => most > free);
    const mustFail = tables.some(({ least, free }) => least > free);
    if (mustFail) this.attempt("capacity", () => grow(cache, entries));
    if (mustFail) return;
    try {
      grow(cache, entries);
    } catch (error) {
      assert.ok(mayFail && error instanceof CoupletError && error.code === "capacity", `${error}`);
      return;
    }
    entries.forEach(({ sequence, tokens }, i) => {
      const known = alive.get(sequence)!;
      known.length += tokens;
      sizes.slidingWindows.forEach((slidingWindow, layer) => {
        const { first, pages } = cache.pages(sequence, layer);
        const was = before[i]![layer]!.first;
        const { after, before: codedBefore } = coded[i]!;
        // What is given up no query sees, not even after a rollback, and little more is kept.
        const behind = seenFrom(
          sizes,
          slidingWindow && Math.max(slidingWindow, sizes.window + sizes.block),
          Math.max(0, known.length - sizes.appendTokens),
        );
        assert.ok(first >= was && (first === was || first * PAGE <= behind), "given up too much");
        assert.ok(first * PAGE > behind - TILE, "given up too little");
        if (after > codedBefore) {
          const written = pages[Math.floor(codedBefore / PAGE) - first]!;
          assert.equal(this.#users(layer).get(written), 1, "a page that is written has one user");
        }
      });
    });
  }

  /** How many sequences use each page of a layer. */
  #users(layer: number): Map<number, number> {
    const users = new Map<number, number>();
    for (const sequence of this.alive.keys()) {
      for (const page of this.cache.pages(sequence, layer).pages) {
        users.set(page, (users.get(page) ?? 0) + 1);
      }
    }
    return users;
  }

  #pool(layer: number): CacheStats["pools"][number] {
    const slidingWindow = this.sizes.slidingWindows[layer];
    return this.cache.stats().pools.find((pool) => pool.slidingWindow === slidingWindow)!;
  }

  check(): void {
    const { cache, alive, sizes } = this;
    const stats = cache.stats();
    assert.equal(stats.sequences, alive.size);
    assert.equal(stats.tokens, [...alive.values()].reduce((sum, { length }) => sum + length, 0));
    for (const [sequence, known] of alive) {
      const coded = this.coded(known);
      assert.equal(cache.length(sequence), known.length);
      assert.equal(cache.codedTokens(sequence), coded);
      for (const { first, pages } of this.#pages(sequence)) {
        assert.equal(first + pages.length, Math.ceil(coded / PAGE));
        assert.equal(first * PAGE % TILE, 0);
        assert.equal(new Set(pages).size, pages.length);
      }
    }
    let heldBytes = 0;
    sizes.slidingWindows.forEach((_, layer) => {
      const users = this.#users(layer);
      const pool = this.#pool(layer);
      assert.equal(pool.free, pool.total - users.size - pool.retained);
      assert.equal(pool.shared, [...users.values()].filter((count) => count > 1).length);
      const held = new Map<number, number>();
      for (const [sequence, known] of alive) {
        const { first, pages } = cache.pages(sequence, layer);
        pages.forEach((page, i) => {
          const own = Math.min(PAGE, this.coded(known) - (first + i) * PAGE);
          held.set(page, Math.max(held.get(page) ?? 0, own));
        });
      }
      const { keys, values } = stats.layers[layer]!;
      const tokenBytes = (keys.codes + values.codes) / (pool.total * PAGE);
      heldBytes += tokenBytes * [...held.values()].reduce((sum, count) => sum + count, 0);
    });
    assert.ok(Math.abs(stats.bytes.codes - heldBytes - stats.slack) < 1e-6);
  }
}
