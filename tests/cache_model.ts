/** A cache on the device beside the float64 one, with what is alive in both. */
import assert from "node:assert/strict";
import {
  type Cache,
  type CacheInit,
  type CacheOptions,
  type CodebookSet,
  createCache,
  createReferenceCache,
  layerHeads,
  parseScheme,
  planCache,
  type ReferenceCache,
  type ReferenceSequence,
  restoreSequence,
  type Sequence,
  type Side,
  SIDES,
  snapshotSequence,
  type Step,
} from "../mod.ts";
import { manifest } from "../generated/manifest.ts";
import { type Random, seededRandom } from "../src/calibrate/random.ts";
import { firstRecords } from "../src/reference/pack.ts";
import { readLayers, windowBlock } from "../src/reference/positions.ts";
import { deviceRecords, referenceRecords, uploadBuffer } from "./cache_oracle.ts";
import { gridCodebooks, gridVectors } from "./grid_numbers.ts";
import { readBuffer } from "../tools/read_buffer.ts";

/** Largest difference from float64, relative to the outputs' root mean square. */
const TOLERANCE = 2e-5;

/** One sequence in both caches. */
export interface Pair {
  readonly device: Sequence;
  readonly reference: ReferenceSequence;
}

/** One sequence's share of a step. */
export interface PairEntry {
  readonly pair: Pair;
  readonly tokens: number;
}

/** Both caches, and what is alive in them. */
export class CacheModel {
  readonly options: CacheOptions;
  readonly device: GPUDevice;
  readonly cache: Cache;
  readonly reference: ReferenceCache;
  alive: Pair[] = [];
  /** Those whose last record may still hold codes that were taken back: they are cleared when it is next written. */
  readonly #cut = new WeakSet<Pair>();
  readonly #random: Random;

  private constructor(
    device: GPUDevice,
    options: CacheOptions,
    cache: Cache,
    reference: ReferenceCache,
    seed: string | number,
  ) {
    this.device = device;
    this.options = options;
    this.cache = cache;
    this.reference = reference;
    this.#random = seededRandom(seed);
  }

  static async create(
    device: GPUDevice,
    options: CacheOptions,
    seed: string | number,
    { codebooks = gridCodebooks(options, seededRandom("model")), ...init }: Partial<CacheInit> = {},
  ): Promise<CacheModel> {
    const plan = init.plan ?? planCache({ ...options, kernels: manifest });
    const cache = await createCache({ device, plan, codebooks, ...init });
    const reference = createReferenceCache({ ...options, codebooks: codebooks as CodebookSet });
    return new CacheModel(device, options, cache, reference, seed);
  }

  create(): Pair {
    const pair = {
      device: this.cache.createSequence(),
      reference: this.reference.createSequence(),
    };
    this.alive.push(pair);
    return pair;
  }

  fork(pair: Pair): Pair {
    const encoder = this.device.createCommandEncoder();
    const device = this.cache.encodeFork(encoder, pair.device);
    this.device.queue.submit([encoder.finish()]);
    const fork = { device, reference: this.reference.forkSequence(pair.reference) };
    this.alive.push(fork);
    if (this.#cut.has(pair)) this.#cut.add(fork);
    this.checkCoded(fork);
    return fork;
  }

  /** Replaces the beams by those that go on from their parents. */
  reorder(beams: readonly Pair[], parents: readonly number[]): Pair[] {
    const encoder = this.device.createCommandEncoder();
    const sequences = this.cache.encodeReorder(encoder, beams.map((beam) => beam.device), parents);
    this.device.queue.submit([encoder.finish()]);
    const references = parents.map((parent) =>
      this.reference.forkSequence(beams[parent]!.reference)
    );
    for (const beam of beams) this.reference.freeSequence(beam.reference);
    const reordered = sequences.map((device, i) => ({ device, reference: references[i]! }));
    reordered.forEach((pair, i) => {
      if (this.#cut.has(beams[parents[i]!]!)) this.#cut.add(pair);
    });
    this.alive = [...this.alive.filter((pair) => !beams.includes(pair)), ...reordered];
    return reordered;
  }

  free(pair: Pair): void {
    this.cache.freeSequence(pair.device);
    this.reference.freeSequence(pair.reference);
    this.alive.splice(this.alive.indexOf(pair), 1);
  }

  truncate(pair: Pair, length: number): void {
    this.cache.truncate(pair.device, length);
    this.reference.truncate(pair.reference, length);
    this.#cut.add(pair);
    this.checkCoded(pair);
  }

  /**
   * Whether the cache must refuse to take back tokens: a query at the new end would see what lies behind a layer's sliding
   * window, or a part of a block whose exact tokens are gone.
   */
  losesTokens({ device, reference: own }: Pair, length: number): boolean {
    const { shape, policy, tiers } = this.options;
    const shorter = this.reference.forkSequence(own);
    this.reference.truncate(shorter, length);
    const coded = this.reference.codedTokens(shorter);
    this.reference.freeSequence(shorter);
    if (coded === 0) return false;
    const layers = readLayers(shape, policy);
    return coded % windowBlock(layers) !== 0 || layers.some(({ slidingWindow }, layer) => {
      const held = this.cache.pages(device, layer).first * 64;
      return Math.min(Math.max(0, length + 1 - slidingWindow - tiers.sinks), coded) < held;
    });
  }

  /** A new sequence with the content of another one's snapshot. */
  async restore({ device, reference }: Pair): Promise<Pair> {
    const bytes = await snapshotSequence(this.cache, device);
    const restored = {
      device: await restoreSequence(this.cache, bytes),
      reference: this.reference.forkSequence(reference),
    };
    this.alive.push(restored);
    this.checkCoded(restored);
    return restored;
  }

  /** Both caches see as many tokens by their codes. */
  checkCoded(pair: Pair): void {
    assert.equal(
      this.cache.codedTokens(pair.device),
      this.reference.codedTokens(pair.reference),
      `coded tokens of sequence ${pair.device.id}, of ${this.cache.length(pair.device)}`,
    );
  }

  /** Numbers for the tokens of a step in one layer. */
  vectors(
    tokens: number,
    layer: number,
  ): Record<"keys" | "values" | "queries", Float32Array<ArrayBuffer>> {
    const { shape } = this.options;
    const own = tokens * layerHeads(shape, layer) * shape.headDim;
    return {
      keys: gridVectors(this.#random, own),
      values: gridVectors(this.#random, own),
      queries: gridVectors(this.#random, tokens * shape.queryHeads * shape.headDim)
        .map((x) => x / 4),
    };
  }

  /** Appends to and attends in all layers of both caches, and compares. */
  async append(entries: readonly PairEntry[]): Promise<void> {
    const step = this.cache.beginStep(
      entries.map(({ pair, tokens }) => ({ sequence: pair.device, tokens })),
    );
    await this.run(step, entries);
  }

  /** Runs a step that the device's cache has begun. */
  async run(step: Step, entries: readonly PairEntry[]): Promise<void> {
    const { cache, reference, device } = this;
    const coded = entries.map(({ pair }) => reference.codedTokens(pair.reference));
    const referenceStep = reference.beginStep(
      entries.map(({ pair, tokens }) => ({ sequence: pair.reference, tokens })),
    );
    const { layers } = this.options.shape;
    const given = Array.from({ length: layers }, (_, layer) => this.vectors(step.tokens, layer));
    const encoder = device.createCommandEncoder();
    const buffers: GPUBuffer[] = [];
    const upload = (data: Float32Array<ArrayBuffer>) => {
      const buffer = uploadBuffer(device, data);
      buffers.push(buffer);
      return { buffer };
    };
    const outputs = given.map(({ keys, values, queries }, layer) => {
      const output = upload(new Float32Array(queries.length).fill(NaN));
      cache.encodeAppend(encoder, step, layer, { keys: upload(keys), values: upload(values) });
      cache.encodeAttend(encoder, step, layer, { queries: upload(queries), output });
      return output.buffer;
    });
    device.queue.submit([encoder.finish()]);
    // All at once, since mapping a buffer takes its time, however small the buffer is.
    const found = await Promise.all(outputs.map((buffer) => readBuffer(device, buffer)));
    for (let layer = 0; layer < layers; layer++) {
      const { queries, ...vectors } = given[layer]!;
      reference.append(referenceStep, layer, vectors);
      const wanted = reference.attend(referenceStep, layer, { queries });
      const own = new Float32Array(found[layer]!);
      const scale = Math.sqrt(wanted.reduce((sum, x) => sum + x * x, 0) / wanted.length);
      wanted.forEach((value, i) => {
        const error = Math.abs(value - own[i]!) / scale;
        // Written so that a NaN fails.
        if (!(error < TOLERANCE)) {
          assert.fail(`layer ${layer}, output ${i} is ${own[i]}, not ${value}`);
        }
      });
    }
    for (const buffer of buffers) buffer.destroy();
    entries.forEach(({ pair }, i) => {
      if (reference.codedTokens(pair.reference) > coded[i]!) this.#cut.delete(pair);
      this.checkCoded(pair);
    });
  }

  /** Reads every pool back and compares it with the reference, bit for bit. */
  async checkRecords(): Promise<void> {
    const layers = Array.from({ length: this.options.shape.layers }, (_, layer) => layer);
    const runs = this.alive.flatMap((pair) =>
      layers.flatMap((layer) => SIDES.map((side) => ({ pair, layer, side })))
    );
    await Promise.all(
      runs.map(async ({ pair, layer, side }) => {
        const { device: sequence, reference: own } = pair;
        const found = await deviceRecords(this.device, this.cache, sequence, layer, side);
        assert.deepEqual(
          this.#cut.has(pair) ? this.#cleared(found, sequence, layer, side) : found,
          referenceRecords(this.cache, sequence, this.reference, own, layer, side),
          `records of the ${side} of layer ${layer}, sequence ${sequence.id}`,
        );
      }),
    );
  }

  /** The records without what lies behind their last token. */
  #cleared(
    records: readonly Uint32Array[],
    sequence: Sequence,
    layer: number,
    side: Side,
  ): Uint32Array[] {
    const { shape, layers } = this.cache.plan.options;
    const layout = parseScheme(layers[layer]![side]).layout(shape.headDim);
    const tokens = this.cache.codedTokens(sequence) - this.cache.pages(sequence, layer).first * 64;
    return records.map((words) => firstRecords(layout, words, tokens));
  }

  /** Checks that each page in use is somebody's: none leaks. */
  checkPages(): void {
    const { layers } = this.cache.plan.options;
    const { pools } = this.cache.stats();
    pools.forEach(({ total, free, retained }, table) => {
      const layer = layers.findIndex(({ pageTable }) => pageTable === table);
      const used = new Set(
        this.alive.flatMap((pair) => this.cache.pages(pair.device, layer).pages),
      );
      assert.equal(free, total - used.size - retained, `pages of layer ${layer}`);
    });
  }

  destroy(): void {
    this.cache.destroy();
  }
}
