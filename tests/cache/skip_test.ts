/** Tiles that weigh next to nothing: which are left out, and how far that moves outputs. */
import assert from "node:assert/strict";
import {
  type CacheOptions,
  type CacheStats,
  createCache,
  parseKernelName,
  planCache,
  type Precision,
  type SchemeId,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { kernelPrecision } from "../../src/kernels/precision.ts";
import { seededRandom } from "../../src/base/random.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { readBuffer } from "../../tools/read_buffer.ts";
import { uploadBuffer } from "../helpers/cache_oracle.ts";
import { gridCodebooks, gridVectors } from "../helpers/grid_numbers.ts";

const device = await requestTestDevice();

const HEAD_DIM = 64;
const QUERY_HEADS = 6;
const KV_HEADS = 2;
const GROUP = QUERY_HEADS / KV_HEADS;
const SINKS = 4;
const WINDOW = 20;
const TILE = 256;
/** Most tokens of a step. */
const STEP = 300;
const TOKENS = 1300;
/** Coded tiles that the last token sees. */
const TILES = Math.ceil((TOKENS - SINKS - WINDOW) / TILE);

type Vectors = Float32Array<ArrayBuffer>;

interface Given {
  readonly keys: Vectors;
  readonly values: Vectors;
  /** Of the last tokens, as many as there are. */
  readonly queries: Vectors;
}

interface Found {
  readonly output: Float32Array;
  readonly stats: CacheStats;
}

/** Appends all tokens, the last of them with their queries. */
async function attend(
  { keys, values, queries }: Given,
  schemes: { readonly keys: SchemeId; readonly values: SchemeId },
  below: number | undefined,
  kernels: RegExp,
  precision: Precision = "f32",
): Promise<Found> {
  const asked = queries.length / QUERY_HEADS / HEAD_DIM;
  const options: CacheOptions = {
    shape: { layers: 1, queryHeads: QUERY_HEADS, keyValueHeads: KV_HEADS, headDim: HEAD_DIM },
    policy: schemes,
    keys: { space: "as-scored" },
    tiers: { sinks: SINKS, window: WINDOW },
    capacity: {
      sequences: 1,
      tokens: TOKENS,
      sequenceTokens: TOKENS,
      stepTokens: STEP,
      appendTokens: STEP,
    },
    scale: 1,
    ...(below === undefined ? {} : { skip: { below } }),
  };
  const plan = planCache({
    ...options,
    precision,
    kernels: manifest.filter(({ name }) => !/^(attend|score)_/.test(name) || kernels.test(name)),
  });
  const codebooks = gridCodebooks(options, seededRandom(3));
  const cache = await createCache({ device, plan, codebooks });
  const sequence = cache.createSequence();
  const output = uploadBuffer(device, new Float32Array(queries.length));
  const buffers = [output];
  const upload = (data: Vectors) => {
    buffers.push(uploadBuffer(device, data));
    return { buffer: buffers.at(-1)! };
  };
  const size = KV_HEADS * HEAD_DIM;
  for (let first = 0, end = 0; first < TOKENS; first = end) {
    end = first < TOKENS - asked ? Math.min(first + STEP, TOKENS - asked) : TOKENS;
    const step = cache.beginStep([{ sequence, tokens: end - first }]);
    const encoder = device.createCommandEncoder();
    cache.encodeAppend(encoder, step, 0, {
      keys: upload(keys.slice(first * size, end * size)),
      values: upload(values.slice(first * size, end * size)),
    });
    if (end === TOKENS) {
      cache.encodeAttend(encoder, step, 0, {
        queries: upload(queries),
        output: { buffer: output },
      });
    }
    device.queue.submit([encoder.finish()]);
  }
  const found = new Float32Array(await readBuffer(device, output));
  await cache.readCounters();
  const stats = cache.stats();
  cache.destroy();
  for (const buffer of buffers) buffer.destroy();
  return { output: found, stats };
}

/** The distance between the least and the largest value of any channel. */
function spreadOf(values: Vectors): number {
  const size = KV_HEADS * HEAD_DIM;
  const spreads = Array.from({ length: size }, (_, channel) => {
    const column = Array.from({ length: TOKENS }, (_, token) => values[token * size + channel]!);
    return Math.max(...column) - Math.min(...column);
  });
  return Math.max(...spreads);
}

interface Case {
  /** Scores of the token at `peak`, by query head; all others score 0. */
  readonly gaps: readonly number[];
  readonly peak?: number;
  readonly below: number;
  /** Tokens that ask. */
  readonly asked?: number;
  /** The last coded token that is mixed, by KV head, where it is known. */
  readonly mixedTo?: readonly number[];
  /** Tiles that are skipped, where it is known. */
  readonly skipped?: number;
}

const CASES: Readonly<Record<string, Case>> = {
  "a sink above all others": {
    gaps: [8.5, 8.5, 9, 9, 12, 100],
    below: 8,
    mixedTo: [0, 0],
    skipped: 2 * TILES,
  },
  "a sink that is not far enough above": {
    gaps: [7.5, 7.5, 7.5, 7.5, 7.5, 7.5],
    below: 8,
    mixedTo: [TOKENS, TOKENS],
    skipped: 0,
  },
  "one row that needs what others do not": {
    gaps: [8.5, 0, 8.5, 8.5, 8.5, 8.5],
    below: 8,
    mixedTo: [TOKENS, 0],
    skipped: TILES,
  },
  "flat scores": {
    gaps: [0, 0, 0, 0, 0, 0],
    below: 1,
    mixedTo: [TOKENS, TOKENS],
    skipped: 0,
  },
  "a query that is not a number": {
    gaps: [NaN, 9, 9, 9, 9, 9],
    below: 8,
  },
  "a coded token above all others, asked by many tokens": {
    gaps: [9, 9, 9, 9, 9, 9],
    peak: 300,
    below: 8,
    asked: 300,
    mixedTo: [SINKS + 2 * TILE - 1, SINKS + 2 * TILE - 1],
  },
};

for (
  const [name, { gaps, peak = 0, below, asked = 1, mixedTo, skipped }] of Object.entries(CASES)
) {
  Deno.test(`skip leaves out what it should, ${name}`, async () => {
    const random = seededRandom(11);
    const keys = new Float32Array(TOKENS * KV_HEADS * HEAD_DIM);
    for (let head = 0; head < KV_HEADS; head++) keys[(peak * KV_HEADS + head) * HEAD_DIM] = 1;
    const values = gridVectors(random, keys.length);
    const queries = new Float32Array(asked * QUERY_HEADS * HEAD_DIM);
    for (let row = 0; row < asked * QUERY_HEADS; row++) {
      queries[row * HEAD_DIM] = gaps[row % QUERY_HEADS]!;
    }
    const { output, stats } = await attend(
      { keys, values, queries },
      { keys: "f16", values: "f16" },
      below,
      /^attend_f16_f16_d64_plain$/,
    );
    if (skipped !== undefined) {
      assert.deepEqual([stats.skippedTiles, stats.consideredTiles], [skipped, KV_HEADS * TILES]);
    }
    const bound = stats.skipBound * spreadOf(values);
    assert.equal(stats.skipBound, Math.min(1, TOKENS * Math.exp(-below)));
    for (let row = 0; row < asked * QUERY_HEADS; row++) {
      const position = TOKENS - asked + Math.floor(row / QUERY_HEADS);
      const head = Math.floor(row % QUERY_HEADS / GROUP);
      const gap = gaps[row % QUERY_HEADS]!;
      for (let channel = 0; channel < HEAD_DIM; channel++) {
        const sums = [0, 0, 0, 0];
        for (let token = 0; token <= position; token++) {
          const weight = token === peak ? Math.exp(gap) : 1;
          const value = values[(token * KV_HEADS + head) * HEAD_DIM + channel]!;
          const isMixed = token <= (mixedTo?.[head] ?? TOKENS) || token < SINKS ||
            token > position - WINDOW;
          sums[0]! += weight * value;
          sums[1]! += weight;
          if (isMixed) sums[2]! += weight * value;
          if (isMixed) sums[3]! += weight;
        }
        const found = output[row * HEAD_DIM + channel]!;
        if (Number.isNaN(gap)) {
          assert.ok(Number.isNaN(found), `row ${row}: ${found}`);
          continue;
        }
        const [whole, kept] = [sums[0]! / sums[1]!, sums[2]! / sums[3]!];
        if (mixedTo !== undefined) {
          assert.ok(Math.abs(found - kept) < 1e-4, `row ${row}: ${found}, expected ${kept}`);
        }
        assert.ok(Math.abs(found - whole) < bound + 1e-4, `row ${row}: ${found}, bound ${bound}`);
      }
    }
  });
}

/** Kernels that mix in integers, with means by page, and apart from scores. */
const KERNELS = [
  "attend_c8b8_c8b8_d64_plain_int16",
  "attend_n8b8_n8b8_d64_plain",
  "score_t1b2_d64_plain",
];

for (const name of KERNELS) {
  Deno.test(`skip moves outputs by no more than its bound, and leaves flat scores as they are, ${name}`, async () => {
    const { schemes: [keys, values = keys], ...parts } = parseKernelName(name);
    const random = seededRandom(12);
    const size = TOKENS * KV_HEADS * HEAD_DIM;
    const below = 12;
    for (const sinkScore of [0, 24]) {
      const query = Float32Array.from(
        { length: HEAD_DIM },
        () => random.next() < 0.5 ? -1 / 8 : 1 / 8,
      );
      const given = {
        keys: gridVectors(random, size),
        values: gridVectors(random, size),
        queries: Float32Array.from(
          { length: QUERY_HEADS * HEAD_DIM },
          (_, i) => query[i % HEAD_DIM]!,
        ),
      };
      given.keys.set(
        Float32Array.from(
          { length: KV_HEADS * HEAD_DIM },
          (_, i) => sinkScore * query[i % HEAD_DIM]!,
        ),
      );
      const run = (skip?: number) =>
        attend(
          given,
          { keys: keys!, values: values! },
          skip,
          new RegExp(`^${name}$`),
          kernelPrecision(parts),
        );
      const [plain, skipping] = [await run(), await run(below)];
      assert.equal(plain.stats.consideredTiles, 0);
      assert.equal(plain.stats.skipBound, 0);
      assert.equal(skipping.stats.consideredTiles, KV_HEADS * TILES);
      assert.equal(skipping.stats.skippedTiles, sinkScore > 0 ? KV_HEADS * TILES : 0);
      const bound = skipping.stats.skipBound * spreadOf(given.values);
      skipping.output.forEach((found, i) => {
        const moved = Math.abs(found - plain.output[i]!);
        assert.ok(moved <= bound, `channel ${i} moved by ${moved}, more than ${bound}`);
        if (sinkScore === 0) assert.ok(moved <= 1e-4, `channel ${i} moved by ${moved}`);
      });
    }
  });
}
