/** Runs the cache on the device beside the float64 reference, step by step, and compares. */
import assert from "node:assert/strict";
import {
  type Cache,
  type CachePlan,
  type CodebookSet,
  type KernelInfo,
  layerShape,
  parseScheme,
  planCache,
  type PlanLimits,
  type Precision,
  recordWords,
  type ReferenceCache,
  type ReferenceSequence,
  type Sequence,
  type Side,
  SIDES,
  type Span,
  type TuningRecord,
} from "../../mod.ts";
import { layerKeys } from "../../src/plan/options.ts";
import { codesAnchored } from "../../src/schemes/key_turn.ts";
import { sideDim } from "../../src/model/side.ts";
import { sideLayout } from "../../src/schemes/side_layout.ts";
import { manifest } from "../../generated/manifest.ts";
import { firstRecords } from "../../src/records/pack.ts";
import { cacheInternals } from "../../src/cache/internals.ts";
import { fromFloat16Bits } from "../../src/base/float16.ts";
import { centroidNumbers } from "../../src/codebooks/grid.ts";
import { readBuffer } from "../../tools/read_buffer.ts";
import { PoisonedCache } from "./poison.ts";
import { ReferenceRun, type Scenario, stepEntries } from "./reference_run.ts";

/** What the device is given besides a scenario. */
export interface Offer {
  /** Kernels to choose from. */
  readonly kernels: readonly KernelInfo[];
  readonly limits?: PlanLimits;
  /** The device's features that kernels may use; none where absent. */
  readonly features?: Pick<ReadonlySet<string>, "has">;
  /** What products may be taken in; f32 where absent. */
  readonly precision?: Precision;
  /** What decides kernels and splits; estimates where absent. */
  readonly tuning?: TuningRecord;
}

/** What was found. */
export interface Comparison {
  readonly plan: CachePlan;
  /** Largest difference of an output from the reference, relative to the outputs' root mean square. */
  readonly error: number;
  /** All outputs, in order of the steps and layers that asked. */
  readonly outputs: readonly { readonly wanted: Float32Array; readonly found: Float32Array }[];
}

/** A storage buffer that holds `data`. */
export function uploadBuffer(device: GPUDevice, data: Float32Array<ArrayBuffer>): GPUBuffer {
  const buffer = device.createBuffer({ size: data.byteLength, usage: 0x80 | 0x04 | 0x08 });
  device.queue.writeBuffer(buffer, 0, data);
  return buffer;
}

/** Runs a scenario, on any kernels where none are given; throws where records differ, and gives the largest difference of attention. */
export function compareWithReference(
  device: GPUDevice,
  { kernels = manifest, limits, features, precision, tuning, ...scenario }:
    & Scenario
    & Partial<Offer>,
): Promise<Comparison> {
  return compareWithRun(device, new ReferenceRun(scenario), {
    kernels,
    ...(limits === undefined ? {} : { limits }),
    ...(features === undefined ? {} : { features }),
    ...(precision === undefined ? {} : { precision }),
    ...(tuning === undefined ? {} : { tuning }),
  });
}

/** Runs on the device what the reference has run, in memory that is spoilt wherever it holds nothing, and compares. */
export async function compareWithRun(
  device: GPUDevice,
  run: ReferenceRun,
  offer: Offer,
): Promise<Comparison> {
  const { options, codebooks, sinkLogits } = run;
  const plan = planCache({ ...options, ...offer });
  const poisoned = await PoisonedCache.create({
    device,
    plan,
    codebooks,
    ...(sinkLogits === undefined ? {} : { sinkLogits }),
  });
  const { cache } = poisoned;
  const sequences = run.sequences.map(() => cache.createSequence());
  const spans: Span[] = [];
  const outputs: { readonly wanted: Float32Array; readonly buffer: GPUBuffer }[] = [];
  for (const { move, layers } of run.moves) {
    if ("truncate" in move) {
      cache.truncate(sequences[move.truncate]!, move.length);
      poisoned.spoilUnheld(sequences);
      continue;
    }
    if ("span" in move) {
      const { name, tokens, indices } = move;
      const span = cache.addSpan(sequences[move.span]!, name, tokens);
      spans.push(span);
      const encoder = device.createCommandEncoder();
      const inputs = layers.flatMap(({ keys, values }, layer) => {
        const [own, others] = [uploadBuffer(device, keys), uploadBuffer(device, values)];
        cache.encodeSpan(encoder, span, layer, {
          keys: { buffer: own },
          values: { buffer: others },
          ...(indices === undefined ? {} : { indices }),
        });
        return [own, others];
      });
      device.queue.submit([encoder.finish()]);
      for (const buffer of inputs) buffer.destroy();
      continue;
    }
    const step = cache.beginStep(stepEntries(move, sequences));
    const encoder = device.createCommandEncoder();
    const inputs: GPUBuffer[] = [];
    const upload = (data: Float32Array<ArrayBuffer>) => {
      const buffer = uploadBuffer(device, data);
      inputs.push(buffer);
      return { buffer };
    };
    layers.forEach(({ keys, values, attention }, layer) => {
      if (options.shape.sharesWith?.[layer] == null) {
        cache.encodeAppend(encoder, step, layer, { keys: upload(keys), values: upload(values) });
      }
      if (attention === undefined) return;
      const { queries, output: wanted } = attention;
      const buffer = uploadBuffer(device, new Float32Array(wanted.length).fill(NaN));
      cache.encodeAttend(encoder, step, layer, { queries: upload(queries), output: { buffer } });
      outputs.push({ wanted, buffer });
    });
    device.queue.submit([encoder.finish()]);
    for (const buffer of inputs) buffer.destroy();
    poisoned.spoilUnheld(sequences);
  }
  // All at once, since mapping a buffer takes its time, however small the buffer is.
  const [found] = await Promise.all([
    Promise.all(outputs.map(({ buffer }) => readBuffer(device, buffer))),
    checkRecords(device, cache, sequences, run),
    checkRead(device, cache, sequences, run),
    checkSpans(device, cache, sequences, spans, run),
  ]);
  for (const { buffer } of outputs) buffer.destroy();
  cache.destroy();
  const compared = outputs.map(({ wanted }, i) => ({
    wanted,
    found: new Float32Array(found[i]!),
  }));
  return { plan, error: largestDifference(compared), outputs: compared };
}

/** The largest difference, relative to the wanted numbers' root mean square. */
export function largestDifference(
  outputs: readonly { readonly wanted: Float32Array; readonly found: Float32Array }[],
): number {
  let largest = 0;
  let square = 0;
  let count = 0;
  for (const { wanted, found } of outputs) {
    assert.equal(found.length, wanted.length);
    for (let i = 0; i < wanted.length; i++) {
      const difference = Math.abs(wanted[i]! - found[i]!);
      // A NaN is as far off as can be.
      largest = Math.max(largest, Number.isNaN(difference) ? Infinity : difference);
      square += wanted[i]! * wanted[i]!;
    }
    count += wanted.length;
  }
  return largest / Math.sqrt(square / count);
}

/** Every sequence's records must be the reference's, bit for bit. */
async function checkRecords(
  device: GPUDevice,
  cache: Cache,
  sequences: readonly Sequence[],
  run: ReferenceRun,
): Promise<void> {
  await Promise.all(
    recordRuns(run).map(async ({ index, layer, side, name }) => {
      const sequence = sequences[index]!;
      const own = run.sequences[index]!;
      assert.equal(cache.codedTokens(sequence), run.cache.codedTokens(own));
      const found = await deviceRecords(device, cache, sequence, layer, side);
      assert.deepEqual(found, referenceRecords(cache, sequence, run.cache, own, layer, side), name);
    }),
  );
}

/** Every living span's records and levels must be the reference's, bit for bit. */
async function checkSpans(
  device: GPUDevice,
  cache: Cache,
  sequences: readonly Sequence[],
  spans: readonly Span[],
  run: ReferenceRun,
): Promise<void> {
  const held = new Set(sequences.flatMap((own) => cacheInternals(cache).state(own).spans));
  for (const { span, slot, pages, room } of held) {
    const given = run.spans[spans.indexOf(span)]!;
    for (const [layer, { buffers }] of room.layers.entries()) {
      const own = cache.plan.options.layers[layer]!;
      const { keyValueHeads: heads } = own;
      for (const [index, side] of SIDES.entries()) {
        const name = `${side} of span ${span.id} in layer ${layer}`;
        const headDim = sideDim(own, side);
        const wanted = run.cache.spanCodes(given, layer, side);
        const layout = parseScheme(room.plan.layers[layer]![side].scheme).layout(headDim);
        const part = buffers.parts[0]!;
        const buffer = side === "keys" ? part.keyRecords : part.valueRecords;
        const words = new Uint32Array(await readBuffer(device, buffer));
        const pageWords = (64 / layout.tokens) * layout.words;
        wanted.records.forEach((records, head) => {
          const found = new Uint32Array(pages.length * pageWords);
          pages.forEach((page, i) => {
            const first = (page * heads + head) * pageWords;
            found.set(words.subarray(first, first + pageWords), i * pageWords);
          });
          const [own, others] = [found, records].map((all) =>
            firstRecords(layout, all, span.tokens)
          );
          assert.deepEqual(own, others, `${name}, head ${head}`);
        });
        if (wanted.levels[0] === undefined) continue;
        const levels = new Uint32Array(await readBuffer(device, buffers.levels!));
        wanted.levels.forEach((own, head) => {
          const first = ((slot * 2 + index) * heads + head) * headDim;
          const found = [...levels.subarray(first, first + headDim)]
            .flatMap((word) => [fromFloat16Bits(word & 0xffff), fromFloat16Bits(word >>> 16)]);
          assert.deepEqual(found, [...own!], `levels of ${name}, head ${head}`);
        });
      }
    }
  }
}

/** Largest difference of a decoded channel, relative to the vector's largest; 0 where a channel is a centroid's very own. */
const DECODED_TOLERANCE = 1e-6;

/** Reads the sinks and all tokens that are held behind them; the vectors must be those given, or what the reference's records say. */
async function checkRead(
  device: GPUDevice,
  cache: Cache,
  sequences: readonly Sequence[],
  run: ReferenceRun,
): Promise<void> {
  const { shape, tiers } = run.options;
  await Promise.all(
    recordRuns(run).map(async ({ index, layer, side, name }) => {
      const headDim = sideDim(layerShape(shape, layer), side);
      const keys = layerKeys(run.options.keys, layer);
      const sequence = sequences[index]!;
      const length = cache.length(sequence);
      if (length === 0) return;
      const given = run.given(index, layer, side);
      const channels = given.length / length;
      const read = async (first: number, end: number): Promise<Float32Array> => {
        if (end <= first) return new Float32Array(0);
        const count = end - first;
        const output = uploadBuffer(device, new Float32Array(count * channels).fill(NaN));
        const encoder = device.createCommandEncoder();
        cache.encodeRead(encoder, sequence, layer, {
          side,
          first,
          count,
          output: { buffer: output },
        });
        device.queue.submit([encoder.finish()]);
        const found = new Float32Array(await readBuffer(device, output));
        output.destroy();
        return found;
      };
      const sinks = Math.min(tiers.sinks, length);
      const coded = cache.codedTokens(sequence);
      const codedFirst = cache.pages(sequence, layer).first * 64;
      const [foundSinks, found] = await Promise.all([
        read(0, sinks),
        read(sinks + codedFirst, length),
      ]);
      const codedChannels = (coded - codedFirst) * channels;
      assert.deepEqual(foundSinks, given.slice(0, sinks * channels), `the sinks, ${name}`);
      assert.deepEqual(
        found.slice(codedChannels),
        given.slice((sinks + coded) * channels),
        `the exact window, ${name}`,
      );
      const wanted = run.decoded(index, layer, side, coded).subarray(codedFirst * channels);
      const scheme = run.scheme(layer, side);
      const anchored = side === "keys" && keys.space === "anchored" && codesAnchored(scheme);
      const exact = !scheme.positional && !anchored;
      for (let at = 0; at < codedChannels; at += headDim) {
        const vector = wanted.subarray(at, at + headDim);
        const tolerance = exact ? 0 : DECODED_TOLERANCE * largestMagnitude(vector);
        for (let i = 0; i < headDim; i++) {
          const difference = Math.abs(found[at + i]! - vector[i]!);
          // Written so that a NaN fails.
          if (!(difference <= tolerance)) {
            assert.fail(`${name}, coded token ${Math.floor(at / channels)}: ${found[at + i]}`);
          }
        }
      }
    }),
  );
}

function largestMagnitude(vector: Float64Array): number {
  return vector.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

/** Each sequence, layer and side of a run. */
function recordRuns({ sequences, options }: ReferenceRun) {
  const layers = Array.from({ length: options.shape.layers }, (_, layer) => layer)
    .filter((layer) => options.shape.sharesWith?.[layer] == null);
  return sequences.flatMap((_, index) =>
    layers.flatMap((layer) =>
      SIDES.map((side) => ({
        index,
        layer,
        side,
        name: `${side} of layer ${layer}, sequence ${index}`,
      }))
    )
  );
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
  const own = cache.plan.options.layers[layer]!;
  const layout = sideLayout(own, side);
  const pageWords = (64 / layout.tokens) * layout.words;
  const { first: firstPage, pages } = cache.pages(sequence, layer);
  const records = Math.ceil(cache.codedTokens(sequence) / layout.tokens) * layout.words -
    firstPage * pageWords;
  const heads: Uint32Array[] = [];
  for (const { heads: range, keyRecords, valueRecords } of cache.buffers(layer).parts) {
    const buffer = side === "keys" ? keyRecords : valueRecords;
    const words = new Uint32Array(await readBuffer(device, buffer));
    for (let head = 0; head < range.count; head++) {
      const run = new Uint32Array(pages.length * pageWords);
      pages.forEach((page, i) => {
        const first = (page * range.count + head) * pageWords;
        run.set(words.subarray(first, first + pageWords), i * pageWords);
      });
      heads.push(run.slice(0, records));
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
  const layout = sideLayout(cache.plan.options.layers[layer]!, side);
  const behind = recordWords(layout, cache.pages(sequence, layer).first * 64);
  return reference.records(own, layer, side, cache.codedTokens(sequence))
    .map((words) => words.slice(behind));
}
