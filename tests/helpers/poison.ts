/**
 * Caches whose memory holds NaNs wherever it holds nothing: what a kernel reads there and should not, shows in its results, even
 * where it has no weight.
 */
import { type Cache, type CacheInit, createCache, parseScheme, type Sequence } from "../../mod.ts";
import { cacheInternals } from "../../src/cache/internals.ts";
import { sideDim, SIDES } from "../../src/model/side.ts";
import { exactTokenBytes, pageBytes } from "../../src/plan/sizes.ts";
import { ringSlots } from "../../src/plan/pages.ts";
import { PAGE_TOKENS } from "../../src/kernels/constants.ts";
import { recordWords } from "../../src/records/layout.ts";

/** Buffers that hold something from the start, or what a host reads and writes. */
const KEPT =
  /codebooks|parameters|sink logits|page tables|rotary table|steps|counters|snapshot|probe/;

/** Writes NaNs of every floating-point format, and codes of all ones. */
function poison(device: GPUDevice, buffer: GPUBuffer, offset = 0, size = buffer.size): void {
  if (size > 0) device.queue.writeBuffer(buffer, offset, new Uint8Array(size).fill(0xff));
}

/** A cache, and what spoils its unused memory. */
export class PoisonedCache {
  readonly cache: Cache;
  readonly #device: GPUDevice;
  readonly #lengths = new Map<Sequence, number>();

  private constructor(device: GPUDevice, cache: Cache) {
    this.#device = device;
    this.cache = cache;
  }

  /** Creates a cache whose records, exact tiers and scratch buffers are all spoilt. */
  static async create(init: CacheInit): Promise<PoisonedCache> {
    const { device } = init;
    const created: GPUBuffer[] = [];
    device.createBuffer = (descriptor) => {
      const buffer = GPUDevice.prototype.createBuffer.call(device, descriptor);
      created.push(buffer);
      return buffer;
    };
    let cache: Cache;
    try {
      cache = await createCache(init);
    } finally {
      Reflect.deleteProperty(device, "createBuffer");
    }
    for (const buffer of created) {
      if (/^couplet/.test(buffer.label) && !KEPT.test(buffer.label)) poison(device, buffer);
    }
    return new PoisonedCache(device, cache);
  }

  /** Spoils what the sequences alive do not hold: free pages, records behind their ends, and tokens that were taken back. */
  spoilUnheld(alive: readonly Sequence[]): void {
    const { layers } = this.cache.plan.options;
    layers.forEach((_, layer) => {
      this.#spoilPages(alive, layer);
      for (const sequence of alive) this.#spoilExact(sequence, layer);
    });
    for (const sequence of alive) this.#lengths.set(sequence, this.cache.length(sequence));
  }

  #spoilPages(alive: readonly Sequence[], layer: number): void {
    const { options } = this.cache.plan;
    const own = options.layers[layer]!;
    /** Tokens that each page holds, at most. */
    const held = new Map<number, number>();
    for (const sequence of alive) {
      const coded = this.cache.codedTokens(sequence);
      const { first, pages } = this.cache.pages(sequence, layer);
      pages.forEach((page, i) => {
        const tokens = Math.max(0, coded - (first + i) * PAGE_TOKENS);
        held.set(page, Math.max(held.get(page) ?? 0, Math.min(tokens, PAGE_TOKENS)));
      });
    }
    for (const { heads, keyRecords, valueRecords } of this.cache.buffers(layer).parts) {
      for (
        const [side, buffer] of [["keys", keyRecords], ["values", valueRecords]] as const
      ) {
        const layout = parseScheme(own[side]).layout(sideDim(own, side));
        const size = pageBytes(own, side, heads.count);
        for (let page = 0; page * size < buffer.size; page++) {
          const kept = recordWords(layout, held.get(page) ?? 0) * 4;
          for (let head = 0; head < heads.count; head++) {
            const share = size / heads.count;
            const start = page * size + head * share;
            poison(this.#device, buffer, start + kept, share - kept);
          }
        }
      }
    }
  }

  #spoilExact(sequence: Sequence, layer: number): void {
    const { options } = this.cache.plan;
    const { sinks } = options.tiers;
    const ring = ringSlots(options);
    const { slot } = cacheInternals(this.cache).state(sequence);
    const length = this.cache.length(sequence);
    for (let at = length; at < (this.#lengths.get(sequence) ?? 0); at++) {
      const place = at < sinks ? at : sinks + (at - sinks) % ring;
      for (const { heads, exact } of this.cache.buffers(layer).parts) {
        const [keys, values] = SIDES.map((side) =>
          exactTokenBytes(options.layers[layer]!, side, heads.count)
        ) as [number, number];
        const rows = sinks + ring;
        const first = slot * rows * (keys + values);
        poison(this.#device, exact, first + place * keys, keys);
        poison(this.#device, exact, first + rows * keys + place * values, values);
      }
    }
  }
}
