/** A cache on the device beside the float64 one, with what is alive in both. */
import assert from "node:assert/strict";
import {
  type Cache,
  type CacheInit,
  type CacheOptions,
  type CodebookSet,
  createCache,
  createReferenceCache,
  encodeDrop,
  encodeRollback,
  layerShape,
  PAGE_TOKENS,
  planCache,
  type ReferenceCache,
  type ReferenceSequence,
  type ReferenceStep,
  restoreSequence,
  type Sequence,
  type Side,
  SIDES,
  snapshotSequence,
  type Step,
  type TokenRange,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { cacheInternals } from "../../src/cache/internals.ts";
import type { SpanRoom } from "../../src/cache/span_room.ts";
import { sideDim } from "../../src/model/side.ts";
import { sideLayout } from "../../src/schemes/side_layout.ts";
import { type Random, seededRandom } from "../../src/base/random.ts";
import { firstRecords } from "../../src/records/pack.ts";
import { deviceRecords, referenceRecords, uploadBuffer } from "./cache_oracle.ts";
import { gridCodebooks, gridVectors } from "./grid_numbers.ts";
import { readBuffer } from "../../tools/read_buffer.ts";

/** Largest difference from float64, relative to the outputs' root mean square. */
const TOLERANCE = 2e-5;

/** What fills memory that nobody owns: NaN in binary16 and in binary32, in every scale of a record, and codes that no token has all of. */
export const POISON = 0xffffffff;

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

/** A step in both caches. */
export interface PairStep {
  readonly entries: readonly PairEntry[];
  readonly device: Step;
  readonly reference: ReferenceStep;
}

/** Where commands go. */
export type Target = GPUCommandEncoder | GPUComputePassEncoder;

/** An output that is to be compared once it was computed. */
interface Output {
  readonly name: string;
  readonly wanted: Float32Array;
  readonly buffer: GPUBuffer;
  /** Whether an element belongs to a sequence that was there; others are not to be written. */
  readonly isWritten: (index: number) => boolean;
}

/** Both caches, and what is alive in them. */
export class CacheModel {
  readonly options: CacheOptions;
  readonly device: GPUDevice;
  readonly cache: Cache;
  readonly reference: ReferenceCache;
  alive: Pair[] = [];
  /** Whether commands are recorded into a pass of the host. */
  usesPass = false;
  /** Those whose last record may still hold codes that were taken back: they are cleared when it is next written. */
  readonly #cut = new WeakSet<Pair>();
  readonly #random: Random;
  /** Kinds of spans that were used. */
  readonly #rooms = new Set<SpanRoom>();
  #encoder: GPUCommandEncoder;
  #outputs: Output[] = [];
  #buffers: GPUBuffer[] = [];

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
    this.#encoder = device.createCommandEncoder();
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

  /** Records into the encoder that is submitted next. */
  encode<T>(act: (target: Target) => T): T {
    if (!this.usesPass) return act(this.#encoder);
    const pass = this.#encoder.beginComputePass();
    try {
      return act(pass);
    } finally {
      pass.end();
    }
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
    const device = this.encode((target) => this.cache.encodeFork(target, pair.device));
    const fork = { device, reference: this.reference.forkSequence(pair.reference) };
    this.alive.push(fork);
    if (this.#cut.has(pair)) this.#cut.add(fork);
    this.checkCoded(fork);
    return fork;
  }

  /** Replaces the beams by those that go on from their parents. */
  reorder(beams: readonly Pair[], parents: readonly number[]): Pair[] {
    const sequences = this.encode((target) =>
      this.cache.encodeReorder(target, beams.map((beam) => beam.device), parents)
    );
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

  /** Adds a span to both caches, and hands it over to all layers. */
  addSpan(pair: Pair, name: string, tokens: number): void {
    const device = this.cache.addSpan(pair.device, name, tokens);
    const reference = this.reference.addSpan(pair.reference, name, tokens);
    for (const { room } of cacheInternals(this.cache).state(pair.device).spans) {
      this.#rooms.add(room);
    }
    for (const layer of this.layers) {
      const { keys, values } = this.vectors(tokens, layer);
      this.encode((target) =>
        this.cache.encodeSpan(target, device, layer, {
          keys: this.#upload(keys),
          values: this.#upload(values),
        })
      );
      this.reference.encodeSpan(reference, layer, { keys, values });
    }
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

  /** Takes tokens back to any length, also inside a block. */
  rollback(pair: Pair, length: number): void {
    const lost = this.encode((target) => encodeRollback(this.cache, target, pair.device, length));
    assert.equal(lost, this.reference.rollback(pair.reference, length));
    this.#cut.add(pair);
    this.checkCoded(pair);
  }

  /** Drops tokens in the middle. */
  dropTokens(pair: Pair, range: TokenRange): void {
    this.encode((target) => encodeDrop(this.cache, target, pair.device, range));
    this.reference.dropTokens(pair.reference, range);
    this.checkCoded(pair);
  }

  /** Whether the reference refuses to take tokens back. The sequence stays as it is. */
  losesTokens(pair: Pair, length: number, cutsBlocks = false): boolean {
    return this.#isRefused(pair, (trial) => {
      if (cutsBlocks) this.reference.rollback(trial, length);
      else this.reference.truncate(trial, length);
    });
  }

  /** Whether the reference refuses to drop tokens in the middle. The sequence stays as it is. */
  losesRange(pair: Pair, range: TokenRange): boolean {
    return this.#isRefused(pair, (trial) => this.reference.dropTokens(trial, range));
  }

  #isRefused({ reference }: Pair, act: (trial: ReferenceSequence) => void): boolean {
    const trial = this.reference.forkSequence(reference);
    try {
      act(trial);
      return false;
    } catch {
      return true;
    } finally {
      this.reference.freeSequence(trial);
    }
  }

  /** A new sequence with the content of another one's snapshot. */
  async restore(pair: Pair): Promise<Pair> {
    await this.flush();
    return await this.restoreFrom(await snapshotSequence(this.cache, pair.device), pair.reference);
  }

  /** A new sequence with the content of a snapshot that was taken of another. */
  async restoreFrom(bytes: Uint8Array, reference: ReferenceSequence): Promise<Pair> {
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
    const { queryHeads, keyValueHeads, headDim, valueHeadDim } = layerShape(
      this.options.shape,
      layer,
    );
    const heads = tokens * keyValueHeads;
    return {
      keys: gridVectors(this.#random, heads * headDim),
      values: gridVectors(this.#random, heads * valueHeadDim),
      queries: gridVectors(this.#random, tokens * queryHeads * headDim)
        .map((x) => x / 4),
    };
  }

  /** Begins a step in both caches. */
  begin(entries: readonly PairEntry[], device?: Step): PairStep {
    return {
      entries,
      device: device ?? this.cache.beginStep(
        entries.map(({ pair, tokens }) => ({ sequence: pair.device, tokens })),
      ),
      reference: this.reference.beginStep(
        entries.map(({ pair, tokens }) => ({ sequence: pair.reference, tokens })),
      ),
    };
  }

  /** Appends to and attends in layers of both caches; outputs are compared after the next submit. */
  record(step: PairStep, layers: readonly number[] = this.layers, attends = true): void {
    for (const layer of layers) {
      const { keys, values, queries } = this.vectors(step.device.tokens, layer);
      const coded = step.entries.map(({ pair }) => this.#codedOf(pair));
      if (this.options.shape.sharesWith?.[layer] == null) {
        this.encode((target) =>
          this.cache.encodeAppend(target, step.device, layer, {
            keys: this.#upload(keys),
            values: this.#upload(values),
          })
        );
        this.reference.append(step.reference, layer, { keys, values });
      }
      step.entries.forEach(({ pair }, i) => {
        if (this.#codedOf(pair) > coded[i]! && layer === this.layers.at(-1)) this.#cut.delete(pair);
      });
      if (!attends) continue;
      const { queryHeads, valueHeadDim } = layerShape(this.options.shape, layer);
      const channels = queryHeads * valueHeadDim;
      const numbers = step.device.tokens * channels;
      const output = this.#upload(new Float32Array(numbers).fill(NaN));
      this.encode((target) =>
        this.cache.encodeAttend(target, step.device, layer, {
          queries: this.#upload(queries),
          output,
        })
      );
      const rows = step.entries.flatMap(({ pair, tokens }) =>
        new Array<boolean>(tokens).fill(this.#isLive(step, pair))
      );
      this.#outputs.push({
        name: `layer ${layer}`,
        wanted: this.reference.attend(step.reference, layer, { queries }),
        buffer: output.buffer,
        isWritten: (i) => rows[Math.floor(i / channels)]!,
      });
    }
  }

  /** Whether a step still counts for a sequence. */
  #isLive({ entries, reference }: PairStep, pair: Pair): boolean {
    if (!this.alive.includes(pair)) return false;
    const index = entries.findIndex((entry) => entry.pair === pair);
    const { firstPosition, tokens } = reference.entries[index]!;
    return this.reference.length(pair.reference) >= firstPosition + tokens;
  }

  #codedOf(pair: Pair): number {
    return this.alive.includes(pair) ? this.reference.codedTokens(pair.reference) : 0;
  }

  #upload(data: Float32Array<ArrayBuffer>): { readonly buffer: GPUBuffer } {
    const buffer = uploadBuffer(this.device, data);
    this.#buffers.push(buffer);
    return { buffer };
  }

  get layers(): readonly number[] {
    return Array.from({ length: this.options.shape.layers }, (_, layer) => layer);
  }

  /** Appends to and attends in all layers of both caches, and compares. */
  async append(entries: readonly PairEntry[]): Promise<void> {
    this.record(this.begin(entries));
    await this.flush();
  }

  /** Runs a step that the device's cache has begun. */
  async run(step: Step, entries: readonly PairEntry[]): Promise<void> {
    this.record(this.begin(entries, step));
    await this.flush();
  }

  /** Records what is never submitted. What was recorded before is submitted first. */
  async drop(act: () => void): Promise<void> {
    await this.flush();
    act();
    this.#encoder.finish();
    this.#encoder = this.device.createCommandEncoder();
    this.#outputs = [];
  }

  /** Submits what was recorded, and compares all outputs. */
  async flush(): Promise<void> {
    const outputs = this.#outputs;
    const buffers = this.#buffers;
    this.device.queue.submit([this.#encoder.finish()]);
    this.#encoder = this.device.createCommandEncoder();
    this.#outputs = [];
    this.#buffers = [];
    // All at once, since mapping a buffer takes its time, however small the buffer is.
    const found = await Promise.all(outputs.map(({ buffer }) => readBuffer(this.device, buffer)));
    outputs.forEach(({ name, wanted, isWritten }, i) => {
      const own = new Float32Array(found[i]!);
      const scale = Math.sqrt(wanted.reduce((sum, x) => sum + x * x, 0) / wanted.length);
      wanted.forEach((value, i) => {
        const error = Math.abs(value - own[i]!) / scale;
        // Written so that a NaN fails.
        const isRight = isWritten(i) ? error < TOLERANCE : Number.isNaN(own[i]!);
        if (!isRight) assert.fail(`${name}, output ${i} is ${own[i]}, not ${value}`);
      });
    });
    for (const buffer of buffers) buffer.destroy();
  }

  /** Fills what no sequence owns: free pages, and exact tiers without a sequence. Submit before. */
  poison(): void {
    const { queue } = this.device;
    const { capacity, layers } = this.cache.plan.options;
    const { state } = cacheInternals(this.cache);
    const slots = new Set(this.alive.map(({ device }) => state(device).slot));
    const { pools } = this.cache.stats();
    layers.forEach(({ pageTable }, layer) => {
      const { total, retained } = pools[pageTable]!;
      const used = new Set(
        this.alive.flatMap(({ device }) => this.cache.pages(device, layer).pages),
      );
      for (const { keyRecords, valueRecords, exact } of this.cache.buffers(layer).parts) {
        const fill = (buffer: GPUBuffer, units: number, isUsed: (unit: number) => boolean) => {
          const words = new Uint32Array(buffer.size / units / 4).fill(POISON);
          for (let unit = 0; unit < units; unit++) {
            if (!isUsed(unit)) queue.writeBuffer(buffer, unit * words.byteLength, words);
          }
        };
        fill(exact, capacity.sequences, (slot) => slots.has(slot));
        // Which pages are kept for a sequence to come back to, the cache does not say.
        if (retained > 0) continue;
        fill(keyRecords, total, (page) => used.has(page));
        fill(valueRecords, total, (page) => used.has(page));
      }
    });
    const spans = this.alive.flatMap(({ device }) => state(device).spans);
    for (const room of this.#rooms) {
      const own = spans.filter((span) => span.room === room);
      const pages = new Set(own.flatMap((span) => span.pages));
      const places = new Set(own.map(({ slot }) => slot));
      const { total } = room.pages;
      for (const { buffers: { parts, levels } } of room.layers) {
        const { keyRecords, valueRecords } = parts[0]!;
        const { sequences } = room.plan.options.capacity;
        const unit = (buffer: GPUBuffer, count: number) =>
          new Uint32Array(buffer.size / count / 4).fill(POISON);
        for (const buffer of [keyRecords, valueRecords]) {
          const words = unit(buffer, total);
          for (let page = 0; page < total; page++) {
            if (!pages.has(page)) queue.writeBuffer(buffer, page * words.byteLength, words);
          }
        }
        for (let slot = 0; levels !== undefined && slot < sequences; slot++) {
          const words = unit(levels, sequences);
          if (!places.has(slot)) queue.writeBuffer(levels, slot * words.byteLength, words);
        }
      }
    }
  }

  /** Reads a sequence's last tokens, which puts what was restored of it in place. */
  read({ device: sequence }: Pair, side: Side = "keys"): void {
    const count = Math.min(3, this.cache.length(sequence));
    if (count === 0) return;
    const first = this.cache.length(sequence) - count;
    for (const layer of this.layers) {
      const own = layerShape(this.options.shape, layer);
      const numbers = count * own.keyValueHeads * sideDim(own, side);
      const output = this.#upload(new Float32Array(numbers));
      this.encode((target) =>
        this.cache.encodeRead(target, sequence, layer, { side, first, count, output })
      );
    }
  }

  /** Reads every pool back and compares it with the reference, bit for bit. */
  async checkRecords(): Promise<void> {
    for (const pair of this.alive) this.read(pair);
    await this.flush();
    const runs = this.alive.flatMap((pair) =>
      this.layers.flatMap((layer) => SIDES.map((side) => ({ pair, layer, side })))
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
    const own = this.cache.plan.options.layers[layer]!;
    const layout = sideLayout(own, side);
    const behind = this.cache.pages(sequence, layer).first * PAGE_TOKENS;
    const tokens = this.cache.codedTokens(sequence) - behind;
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
    const { state } = cacheInternals(this.cache);
    const spans = new Set(this.alive.flatMap(({ device }) => state(device).spans));
    for (const { name, count, tokens, pages } of this.cache.stats().spans) {
      const own = [...spans].filter(({ span }) => span.name === name);
      assert.equal(count, own.length, `spans "${name}"`);
      assert.equal(tokens, own.reduce((sum, { span }) => sum + span.tokens, 0));
      assert.equal(pages.free, pages.total - own.flatMap(({ pages }) => pages).length);
    }
  }

  destroy(): void {
    this.cache.destroy();
  }
}
