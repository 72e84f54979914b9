/** Compares a cache on the device with the float64 reference, on the same numbers. */
import {
  type Cache,
  type CodebookSet,
  createCache,
  createReferenceCache,
  PAGE_TOKENS,
  parseScheme,
  type ReferenceCache,
  type ReferenceSequence,
  restoreSequence,
  schemeCodec,
  type Sequence,
  type Side,
  SIDES,
  snapshotSequence,
} from "../../../../mod.ts";
import { cacheCodebook } from "../../../../src/codebooks/find.ts";
import { headCodebooks } from "../../../../src/codebooks/head_codebooks.ts";
import { keyTurn } from "../../../../src/schemes/key_turn.ts";
import { sideLayout } from "../../../../src/schemes/side_layout.ts";
import { seededRandom } from "../../../../src/base/random.ts";
import { PRECISION_BOUNDS } from "../../../../src/kernels/precision.ts";
import { readBuffer } from "../../../../tools/read_buffer.ts";
import { exactCodebooks, exactQueries, exactVectors } from "./exact_data.ts";
import { planWorkload, type Workload } from "./workload.ts";

/** One thing that was compared. */
export interface Check {
  readonly what: string;
  readonly found: string;
  readonly passed: boolean;
}

/** Largest difference of vectors from float64 that passes, relative to the root mean square of what is compared. */
export const TOLERANCE = 2e-5;

/** Tokens that are only appended: behind the window, blocks of 64 are complete and incomplete then. */
const SILENT_TOKENS = 167;

/** Steps that are attended, too: several new tokens, and one. */
const ATTENDED_STEPS: readonly number[] = [2, 1, 1];

const TOKENS = SILENT_TOKENS + ATTENDED_STEPS.reduce((sum, tokens) => sum + tokens);

/** A cache and its reference, with the same tokens. */
interface Pair {
  readonly device: GPUDevice;
  /** The vectors that were appended, by side. */
  readonly appended: Readonly<Record<Side, Float32Array[]>>;
  readonly cache: Cache;
  readonly reference: ReferenceCache;
  readonly codebooks: CodebookSet;
}

/** The same sequence in both. */
interface PairSequence {
  readonly cached: Sequence;
  readonly own: ReferenceSequence;
}

/** Runs a workload's kernel and compares what comes out. */
export async function checkKernel(
  device: GPUDevice,
  workload: Workload,
  seed: number,
): Promise<readonly Check[]> {
  const options = workload.options(TOKENS);
  const codebooks = exactCodebooks(options, seed);
  const plan = planWorkload(workload, TOKENS, device.features);
  const cache = await createCache({ device, plan, codebooks });
  try {
    const reference = createReferenceCache({ ...options, codebooks });
    const pair: Pair = {
      device,
      appended: { keys: [], values: [] },
      cache,
      reference,
      codebooks,
    };
    const random = seededRandom(seed, "vectors");
    let sequence: PairSequence = {
      cached: cache.createSequence(),
      own: reference.createSequence(),
    };
    for (let left = SILENT_TOKENS; left > 0; left -= workload.stepTokens) {
      await runStep(pair, sequence, Math.min(left, workload.stepTokens), random, false);
    }
    if (workload.work === "fork") sequence = fork(pair, sequence);
    if (workload.work === "restore") sequence = await restore(pair, sequence);
    const outputs: Difference[] = [];
    for (const tokens of ATTENDED_STEPS) {
      const added = Math.min(tokens, workload.stepTokens);
      outputs.push(...await runStep(pair, sequence, added, random, true));
    }
    return [
      describeDifference(
        "Attention",
        outputs,
        PRECISION_BOUNDS[plan.precision],
      ),
      await compareRecords(pair, sequence),
      ...(workload.work === "read" ? [await compareVectors(pair, sequence)] : []),
    ];
  } finally {
    cache.destroy();
  }
}

/** A number of the device beside the reference's. */
type Difference = readonly [found: number, wanted: number];

function describeDifference(
  what: string,
  differences: readonly Difference[],
  tolerance: number,
): Check {
  let largest = 0;
  let square = 0;
  for (const [found, wanted] of differences) {
    const difference = Math.abs(found - wanted);
    // A NaN is as far off as can be.
    largest = Math.max(largest, Number.isNaN(difference) ? Infinity : difference);
    square += wanted * wanted;
  }
  const error = largest / Math.sqrt(square / differences.length);
  return {
    what,
    found: `${error.toExponential(1)} largest difference of ${differences.length} numbers, ` +
      `relative to their root mean square; at most ${tolerance.toExponential(0)} passes`,
    passed: error <= tolerance,
  };
}

/** A step on both sides; the outputs where it is attended. */
async function runStep(
  { device, appended, cache, reference }: Pair,
  { cached, own }: PairSequence,
  tokens: number,
  random: ReturnType<typeof seededRandom>,
  attended: boolean,
): Promise<readonly Difference[]> {
  const { queryHeads, keyValueHeads, headDim } = cache.plan.options.layers[0]!;
  const channels = keyValueHeads * headDim;
  const keys = exactVectors(random, tokens * channels);
  const values = exactVectors(random, tokens * channels);
  const queries = exactQueries(random, tokens * queryHeads * headDim);
  appended.keys.push(keys);
  appended.values.push(values);
  const host = [keys, values, queries].map((data) => upload(device, data));
  const output = upload(device, new Float32Array(queries.length).fill(NaN));
  const encoder = device.createCommandEncoder();
  const step = cache.beginStep([{ sequence: cached, tokens }]);
  const referenceStep = reference.beginStep([{ sequence: own, tokens }]);
  cache.encodeAppend(encoder, step, 0, {
    keys: { buffer: host[0]! },
    values: { buffer: host[1]! },
  });
  reference.append(referenceStep, 0, { keys, values });
  if (attended) {
    cache.encodeAttend(encoder, step, 0, {
      queries: { buffer: host[2]! },
      output: { buffer: output },
    });
  }
  device.queue.submit([encoder.finish()]);
  const found = attended ? new Float32Array(await readBuffer(device, output)) : [];
  for (const buffer of [...host, output]) buffer.destroy();
  if (!attended) return [];
  const wanted = reference.attend(referenceStep, 0, { queries });
  return Array.from(wanted, (value, i) => [found[i]!, value] as const);
}

function fork({ device, cache, reference }: Pair, { cached, own }: PairSequence): PairSequence {
  const encoder = device.createCommandEncoder();
  const forked = { cached: cache.encodeFork(encoder, cached), own: reference.forkSequence(own) };
  device.queue.submit([encoder.finish()]);
  return forked;
}

async function restore(
  { cache, reference }: Pair,
  { cached, own }: PairSequence,
): Promise<PairSequence> {
  const bytes = await snapshotSequence(cache, cached);
  return { cached: await restoreSequence(cache, bytes), own: reference.forkSequence(own) };
}

/** All records of the sequence, word by word. */
async function compareRecords(pair: Pair, sequence: PairSequence): Promise<Check> {
  let words = 0;
  let different = 0;
  for (const side of SIDES) {
    const found = await deviceRecords(pair, sequence, side);
    referenceRecords(pair, sequence, side).forEach((wanted, head) => {
      wanted.forEach((word, i) => {
        words++;
        if (found[head]![i] !== word) different++;
      });
    });
  }
  return {
    what: "Records",
    found: different === 0
      ? `all ${words} words are the reference's, bit for bit`
      : `${different} of ${words} words are not the reference's`,
    passed: different === 0,
  };
}

function referenceRecords(
  { cache, reference }: Pair,
  { cached, own }: PairSequence,
  side: Side,
): Uint32Array[] {
  return reference.records(own, 0, side, cache.codedTokens(cached));
}

/** The records of a sequence as they lie in its pages, `[head]` runs of words. */
async function deviceRecords(
  { device, cache }: Pair,
  { cached }: PairSequence,
  side: Side,
): Promise<Uint32Array[]> {
  const [own] = cache.plan.options.layers;
  const layout = sideLayout(own!, side);
  const pageWords = PAGE_TOKENS / layout.tokens * layout.words;
  const { pages } = cache.pages(cached, 0);
  const heads: Uint32Array[] = [];
  for (const { heads: { count }, keyRecords, valueRecords } of cache.buffers(0).parts) {
    const buffer = side === "keys" ? keyRecords : valueRecords;
    const words = new Uint32Array(await readBuffer(device, buffer));
    for (let head = 0; head < count; head++) {
      const run = new Uint32Array(pages.length * pageWords);
      pages.forEach((page, i) => {
        const first = (page * count + head) * pageWords;
        run.set(words.subarray(first, first + pageWords), i * pageWords);
      });
      heads.push(run);
    }
  }
  return heads;
}

/** Reads all tokens: exact ones must be as they were appended, coded ones what the reference's records say. */
async function compareVectors(pair: Pair, sequence: PairSequence): Promise<Check> {
  const { device, appended, cache, codebooks } = pair;
  const { layers, tiers } = cache.plan.options;
  const { keyValueHeads, headDim, keyOptions: keys } = layers[0]!;
  const count = cache.length(sequence.cached);
  const coded = cache.codedTokens(sequence.cached);
  const differences: Difference[] = [];
  for (const side of SIDES) {
    const scheme = parseScheme(layers[0]![side]);
    const layout = scheme.layout(headDim);
    const output = upload(device, new Float32Array(count * keyValueHeads * headDim).fill(NaN));
    const encoder = device.createCommandEncoder();
    const range = { side, first: 0, count, output: { buffer: output } };
    cache.encodeRead(encoder, sequence.cached, 0, range);
    device.queue.submit([encoder.finish()]);
    const found = new Float32Array(await readBuffer(device, output));
    output.destroy();
    const wanted = appended[side].flatMap((vectors) => [...vectors]);
    const codebook = cacheCodebook(codebooks, { keyValueHeads, headDim }, 0, side, scheme.id);
    const heads = headCodebooks(scheme, codebook, keyValueHeads, headDim);
    const turn = side === "keys" ? keyTurn(scheme, keys, headDim, tiers.sinks) : undefined;
    referenceRecords(pair, sequence, side).forEach((words, head) => {
      for (let token = 0; token < coded; token++) {
        const word = Math.floor(token / layout.tokens) * layout.words;
        const record = words.subarray(word, word + layout.words);
        const start = token - token % layout.tokens;
        const decoded = schemeCodec(scheme).decode(record, token % layout.tokens, headDim, {
          ...heads[head]!,
          scored: side === "keys" && keys.space === "as-scored",
          ...(turn && { turn: (vector, index, way) => turn(vector, start + index, way) }),
        });
        const at = ((tiers.sinks + token) * keyValueHeads + head) * headDim;
        decoded.forEach((value, i) => wanted[at + i] = value);
      }
    });
    wanted.forEach((value, i) => differences.push([found[i]!, value]));
  }
  return describeDifference("Vectors", differences, TOLERANCE);
}

/** A buffer that kernels and copies read. */
function upload(device: GPUDevice, data: Float32Array<ArrayBuffer>): GPUBuffer {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const buffer = device.createBuffer({ size: data.byteLength, usage });
  device.queue.writeBuffer(buffer, 0, data);
  return buffer;
}
