/** Runs the cache on the device beside the float64 reference, step by step, and compares. */
import assert from "node:assert/strict";
import {
  type Cache,
  type CacheOptions,
  type CachePlan,
  type Codebook,
  type CodebookSet,
  createCache,
  createReferenceCache,
  type KernelInfo,
  layerHeads,
  parseScheme,
  planCache,
  type PlanLimits,
  recordWords,
  type ReferenceCache,
  type ReferenceSequence,
  rotate,
  schemeCodec,
  type Sequence,
  type Side,
} from "../mod.ts";
import { manifest } from "../generated/manifest.ts";
import { centroidNumbers } from "../src/centroid_grid.ts";
import { fromFloat16Array, toFloat16Array } from "../src/float16.ts";
import { type Random, seededRandom } from "../src/calibrate/random.ts";
import { readBuffer } from "../tools/read_buffer.ts";

/** A step: tokens by sequence index, or a rollback of one sequence to a length. */
export type Move =
  | {
    readonly tokens: Readonly<Record<number, number>>;
    /** Append, but ask nothing. */
    readonly silent?: boolean;
  }
  | { readonly truncate: number; readonly length: number };

/** What is run and compared. */
export interface Scenario {
  readonly options: CacheOptions;
  /** All of them where absent. */
  readonly kernels?: readonly KernelInfo[];
  readonly limits?: PlanLimits;
  /** The device's features that kernels may use; none where absent. */
  readonly features?: Pick<ReadonlySet<string>, "has">;
  readonly moves: readonly Move[];
  readonly seed?: number;
  readonly sinkLogits?: Float32Array<ArrayBuffer>;
  /** Whether codebooks carry a channel scale. */
  readonly scaled?: boolean;
}

/** What was found. */
export interface Comparison {
  readonly plan: CachePlan;
  /** Largest difference of an output from the reference, relative to the outputs' root mean square. */
  readonly error: number;
}

/**
 * Numbers whose distances to one another are exact in f32, so that the nearest centroid is the same one in f32 and
 * in float64, exact ties included: multiples of 1/32 up to 3.
 */
export function gridVectors(random: Random, length: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length }, () => Math.round(random.next() * 192 - 96) / 32);
}

/**
 * Codebooks of multiples of 1/8 up to 2, for every layer, side and scheme of a policy. The grids differ from channel to
 * channel, so that none can stand in for another.
 */
export function gridCodebooks(options: CacheOptions, random: Random, scaled = false): CodebookSet {
  const { layers, headDim } = options.shape;
  const codebooks: Codebook[] = [];
  for (let layer = 0; layer < layers; layer++) {
    const policy = options.policy.layers?.[layer] ?? options.policy;
    const keyValueHeads = layerHeads(options.shape, layer);
    for (const side of ["keys", "values"] as const) {
      const scheme = policy[side];
      const { centroids, channels, codebook } = parseScheme(scheme);
      if (codebook !== "learned") continue;
      const rows = keyValueHeads * headDim;
      const lows = Float32Array.from({ length: rows }, () => Math.floor(random.next() * 8) / 8 - 2);
      const steps = Float32Array.from({ length: rows }, () => random.next() < 0.5 ? 1 / 8 : 1 / 4);
      codebooks.push({
        layer,
        side,
        scheme,
        keyValueHeads,
        headDim,
        centroids: Uint8Array.from({ length: rows * centroids }, (_, at) => {
          const row = Math.floor(at / (centroids * channels)) * channels + (at % channels);
          return Math.floor((random.next() * 3.25) / steps[row]!);
        }),
        grid: toFloat16Array(
          Float32Array.from(
            { length: 2 * rows },
            (_, i) => i % 2 === 0 ? lows[i / 2]! : 64 * steps[(i - 1) / 2]!,
          ),
        ),
        ...(scaled
          ? {
            scale: Float32Array.from(
              { length: rows },
              () => 2 ** Math.floor(random.next() * 3 - 1),
            ),
          }
          : {}),
      });
    }
  }
  return {
    model: { name: "grid", digest: "grid" },
    keySpace: options.keys.space,
    provenance: { source: "random", tokens: 0, seed: 0, iterations: 0 },
    codebooks,
  };
}

/** A storage buffer that holds `data`. */
export function uploadBuffer(device: GPUDevice, data: Float32Array<ArrayBuffer>): GPUBuffer {
  const buffer = device.createBuffer({ size: data.byteLength, usage: 0x80 | 0x04 | 0x08 });
  device.queue.writeBuffer(buffer, 0, data);
  return buffer;
}

/** Runs a scenario; throws where records differ, and gives the largest difference of attention. */
export async function compareWithReference(
  device: GPUDevice,
  { options, kernels = manifest, limits, features, moves, seed = 1, scaled = false, sinkLogits }:
    Scenario,
): Promise<Comparison> {
  const random = seededRandom(seed);
  const codebooks = gridCodebooks(options, random, scaled);
  const plan = planCache({
    ...options,
    kernels,
    ...(limits === undefined ? {} : { limits }),
    ...(features === undefined ? {} : { features }),
  });
  const sinks = sinkLogits === undefined ? {} : { sinkLogits };
  const cache = await createCache({ device, plan, codebooks, ...sinks });
  const reference = createReferenceCache({ ...options, codebooks, ...sinks });
  const { layers, queryHeads, headDim } = options.shape;
  const sequences = Array.from({ length: options.capacity.sequences }, () => ({
    device: cache.createSequence(),
    reference: reference.createSequence(),
    given: Array.from(
      { length: layers },
      (): Record<Side, Float32Array[]> => ({ keys: [], values: [] }),
    ),
  }));
  let error = 0;
  let square = 0;
  let count = 0;
  for (const move of moves) {
    if ("truncate" in move) {
      const sequence = sequences[move.truncate]!;
      cache.truncate(sequence.device, move.length);
      reference.truncate(sequence.reference, move.length);
      for (const { keys, values } of sequence.given) keys.length = values.length = move.length;
      continue;
    }
    const entries = Object.entries(move.tokens).map(([index, tokens]) => ({
      sequence: sequences[Number(index)]!,
      tokens,
    }));
    const step = cache.beginStep(entries.map(({ sequence, tokens }) => ({
      sequence: sequence.device,
      tokens,
    })));
    const referenceStep = reference.beginStep(entries.map(({ sequence, tokens }) => ({
      sequence: sequence.reference,
      tokens,
    })));
    for (let layer = 0; layer < layers; layer++) {
      const keyValueHeads = layerHeads(options.shape, layer);
      const keys = gridVectors(random, step.tokens * keyValueHeads * headDim);
      const values = gridVectors(random, step.tokens * keyValueHeads * headDim);
      const queries = gridVectors(random, step.tokens * queryHeads * headDim).map((x) => x / 4);
      const output = uploadBuffer(device, new Float32Array(queries.length).fill(NaN));
      const host = [keys, values, queries].map((data) => uploadBuffer(device, data));
      const encoder = device.createCommandEncoder();
      cache.encodeAppend(encoder, step, layer, {
        keys: { buffer: host[0]! },
        values: { buffer: host[1]! },
      });
      if (!move.silent) {
        cache.encodeAttend(encoder, step, layer, {
          queries: { buffer: host[2]! },
          output: { buffer: output },
        });
      }
      device.queue.submit([encoder.finish()]);
      reference.append(referenceStep, layer, { keys, values });
      let row = 0;
      for (const { sequence, tokens } of entries) {
        for (const end = row + tokens; row < end; row++) {
          const [from, to] = [row, row + 1].map((at) => at * keyValueHeads * headDim);
          sequence.given[layer]!.keys.push(keys.slice(from, to));
          sequence.given[layer]!.values.push(values.slice(from, to));
        }
      }
      if (move.silent) {
        for (const buffer of [...host, output]) buffer.destroy();
        continue;
      }
      const found = new Float32Array(await readBuffer(device, output));
      for (const buffer of [...host, output]) buffer.destroy();
      const wanted = reference.attend(referenceStep, layer, { queries });
      wanted.forEach((value, i) => {
        const difference = Math.abs(value - found[i]!);
        // A NaN is as far off as can be.
        error = Math.max(error, Number.isNaN(difference) ? Infinity : difference);
        square += value * value;
        count++;
      });
    }
  }
  for (const { device: sequence, reference: own, given } of sequences) {
    for (let layer = 0; layer < layers; layer++) {
      for (const side of ["keys", "values"] as const) {
        const found = await deviceRecords(device, cache, sequence, layer, side);
        const wanted = referenceRecords(cache, sequence, reference, own, layer, side);
        assert.deepEqual(found, wanted, `records of the ${side} of layer ${layer}`);
        await checkRead(device, cache, sequence, layer, side, codebooks, {
          records: wanted,
          vectors: given[layer]![side],
        });
      }
    }
  }
  cache.destroy();
  return { plan, error: error / Math.sqrt(square / count) };
}

/** Largest difference of a decoded channel, relative to the vector's largest; 0 where a channel is a centroid's very own. */
const DECODED_TOLERANCE = 1e-6;

/** Reads the sinks and all tokens that are held behind them; the vectors must be those given, or what their records say. */
async function checkRead(
  device: GPUDevice,
  cache: Cache,
  sequence: Sequence,
  layer: number,
  side: Side,
  codebooks: CodebookSet,
  { records, vectors }: {
    readonly records: readonly Uint32Array[];
    readonly vectors: readonly Float32Array[];
  },
): Promise<void> {
  const { shape, layers, tiers, keys } = cache.plan.options;
  const first = cache.pages(sequence, layer).first * 64;
  const coded = cache.codedTokens(sequence) - first;
  const scheme = parseScheme(layers[layer]![side]);
  const layout = scheme.layout(shape.headDim);
  const { headDim } = shape;
  // What is coded does without the offset that all positions share.
  const rope = keys.space === "pre-rope" ? { ...keys.rope, positionOffset: 0 } : undefined;
  const { keyValueHeads } = layers[layer]!;
  const read = async (start: number, end: number) => {
    if (end <= start) return new Float32Array(0);
    const count = end - start;
    const channels = count * keyValueHeads * headDim;
    const output = uploadBuffer(device, new Float32Array(channels).fill(NaN));
    const range = { side, first: start, count, output: { buffer: output } };
    const encoder = device.createCommandEncoder();
    cache.encodeRead(encoder, sequence, layer, range);
    device.queue.submit([encoder.finish()]);
    const found = new Float32Array(await readBuffer(device, output));
    output.destroy();
    return found;
  };
  const length = cache.length(sequence);
  const flat = (start: number, end: number) => vectors.slice(start, end).flatMap((own) => [...own]);
  const firstRead = first === 0 ? 0 : tiers.sinks + first;
  const all = await read(firstRead, length);
  const at = (position: number) => (position - firstRead) * keyValueHeads * headDim;
  const codedEnd = tiers.sinks + cache.codedTokens(sequence);
  assert.deepEqual([...all.subarray(at(codedEnd))], flat(codedEnd, length), "the exact window");
  const sinks = Math.min(tiers.sinks, length);
  assert.deepEqual([...await read(0, sinks)], flat(0, sinks), "the sinks");
  const found = all.subarray(at(tiers.sinks + first));
  records.forEach((words, head) => {
    const centroids = scheme.universalCentroids === undefined
      ? headCentroids(codebooks, layer, side, head, headDim * scheme.centroids)
      : fromFloat16Array(scheme.universalCentroids(headDim));
    for (let token = 0; token < coded; token++) {
      const at = (token * keyValueHeads + head) * headDim;
      const word = Math.floor(token / layout.tokens) * layout.words;
      const record = words.subarray(word, word + layout.words);
      const start = tiers.sinks + first + token - token % layout.tokens;
      const wanted = schemeCodec(scheme).decode(record, token % layout.tokens, headDim, {
        centroids,
        ...(side === "keys" && rope !== undefined
          ? { turn: (vector, index, way) => rotate(vector, way * (start + index), rope) }
          : {}),
      });
      const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const tolerance = scheme.rotated ? DECODED_TOLERANCE * largest : 0;
      wanted.forEach((value, i) => {
        const difference = Math.abs(found[at + i]! - value);
        assert.ok(difference <= tolerance, `decoded ${side} of token ${token}: ${found[at + i]}`);
      });
    }
  });
}

/** One head's centroids as numbers, `[groups][centroids][channels]`. */
export function headCentroids(
  { codebooks }: CodebookSet,
  layer: number,
  side: Side,
  head: number,
  size: number,
): Float32Array {
  const codebook = codebooks.find((book) => book.layer === layer && book.side === side);
  return codebook === undefined
    ? new Float32Array(0)
    : centroidNumbers(codebook).subarray(head * size, (head + 1) * size);
}

/** The records of a sequence's coded tokens that are held, as they lie in its pages: `[head]` runs of words. */
export async function deviceRecords(
  device: GPUDevice,
  cache: Cache,
  sequence: Sequence,
  layer: number,
  side: Side,
): Promise<Uint32Array[]> {
  const { shape, layers } = cache.plan.options;
  const layout = parseScheme(layers[layer]![side]).layout(shape.headDim);
  const pageWords = (64 / layout.tokens) * layout.words;
  const { first: firstPage, pages } = cache.pages(sequence, layer);
  const records = Math.ceil(cache.codedTokens(sequence) / layout.tokens) * layout.words -
    firstPage * pageWords;
  const heads: Uint32Array[] = [];
  for (const { heads: range, keyRecords, valueRecords } of cache.buffers(layer).parts) {
    const buffer = side === "keys" ? keyRecords : valueRecords;
    const words = new Uint32Array(await readBuffer(device, buffer));
    for (let head = 0; head < range.count; head++) {
      const run: number[] = [];
      for (const page of pages) {
        const first = (page * range.count + head) * pageWords;
        run.push(...words.subarray(first, first + pageWords));
      }
      heads.push(Uint32Array.from(run.slice(0, records)));
    }
  }
  return heads;
}

/** The reference's records of the coded tokens that the device still holds. */
export function referenceRecords(
  cache: Cache,
  sequence: Sequence,
  reference: ReferenceCache,
  own: ReferenceSequence,
  layer: number,
  side: Side,
): Uint32Array[] {
  const layout = parseScheme(cache.plan.options.layers[layer]![side])
    .layout(cache.plan.options.shape.headDim);
  const behind = recordWords(layout, cache.pages(sequence, layer).first * 64);
  return reference.records(own, layer, side, cache.codedTokens(sequence))
    .map((words) => words.slice(behind));
}
