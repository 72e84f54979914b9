/** Caches of normalised, additive codes: beside the reference bit for bit where f32 is exact, and near it elsewhere. */
import assert from "node:assert/strict";
import {
  type CacheOptions,
  type Codebook,
  type CodebookSet,
  CoupletError,
  createCache,
  createReferenceCache,
  parseScheme,
  planCache,
  type RecordLayout,
  schemeCodec,
  type SchemeId,
  SIDES,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { fromFloat16Array, toFloat16Array } from "../../src/base/float16.ts";
import { type Random, seededRandom } from "../../src/base/random.ts";
import { packCodebooks } from "../../src/codebooks/device.ts";
import { headCodebooks } from "../../src/codebooks/head_codebooks.ts";
import { readCode } from "../../src/records/pack.ts";
import type { HeadCodebook } from "../../src/schemes/codec.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { compareWithReference, deviceRecords, uploadBuffer } from "../helpers/cache_oracle.ts";
import { gridCodebooks } from "../helpers/grid_numbers.ts";
import { normal } from "../helpers/normal.ts";
import type { Move } from "../helpers/reference_run.ts";

const device = await requestTestDevice();

const HEAD_DIM = 64;

/** Keys and values of one scheme, in blocks that leave a window. */
function optionsOf(id: SchemeId, window: number): CacheOptions {
  return {
    shape: { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: HEAD_DIM },
    policy: { keys: id, values: id },
    keys: { space: "as-scored" },
    tiers: { sinks: 3, window },
    capacity: {
      sequences: 1,
      tokens: 256,
      sequenceTokens: 256,
      stepTokens: 140,
      appendTokens: 140,
    },
  };
}

const MOVES: readonly Move[] = [{ tokens: { 0: 70 } }, { tokens: { 0: 70 } }, { tokens: { 0: 1 } }];

// With a beam and without, and each width of a group's words.
for (const id of ["n2b8", "n4b8", "n8b4x4", "n16b8x2", "n32b8x4"] as const) {
  Deno.test(`${id} with channel scales agrees with float64`, async () => {
    const { error } = await compareWithReference(device, {
      options: optionsOf(id, 5),
      moves: MOVES,
      scaled: true,
    });
    assert.ok(error < 2e-5, `the largest difference is ${error}`);
  });
}

Deno.test("n8b8 agrees with float64 where a workgroup goes through several tiles", async () => {
  const options = optionsOf("n8b8", 0);
  const sizes = { tokens: 1216, sequenceTokens: 1216, stepTokens: 600, appendTokens: 600 };
  const { error } = await compareWithReference(device, {
    options: { ...options, capacity: { ...options.capacity, ...sizes } },
    // So many rows that tokens are not divided among workgroups.
    moves: [{ tokens: { 0: 600 } }, { tokens: { 0: 600 } }],
  });
  assert.ok(error < 2e-5, `the largest difference is ${error}`);
});

Deno.test("KV heads that share centroids have grids, means and sizes of their own", async () => {
  const options = optionsOf("n16b8x2", 0);
  const set = gridCodebooks(options, seededRandom("shared"));
  const codebooks = set.codebooks.map((codebook): Codebook => {
    const centroids = codebook.centroids.slice(0, codebook.centroids.length / 2);
    return { ...codebook, centroids };
  });
  const { error } = await compareWithReference(device, {
    options,
    moves: MOVES,
    codebooks: { ...set, codebooks },
  });
  assert.ok(error < 2e-5, `the largest difference is ${error}`);

  const policy = { ...options.policy, shareHeads: true };
  const plan = planCache({ ...options, policy, kernels: manifest });
  const packed = packCodebooks(codebooks[0], codebooks[1], {
    headDim: HEAD_DIM,
    valueHeadDim: HEAD_DIM,
  });
  assert.equal(plan.bytes.codebooks, packed.words.byteLength);
  (await createCache({ device, plan, codebooks: { ...set, codebooks } })).destroy();
  await assert.rejects(
    createCache({ device, plan, codebooks: set }),
    (error) =>
      error instanceof CoupletError && error.code === "codebook" &&
      /n16b8x2 for the keys of layer 0.*share no centroids/.test(error.message),
  );
});

Deno.test("of sums that are equally near, the first is kept", async () => {
  const options = optionsOf("n8b8x2", 0);
  const set = gridCodebooks(options, seededRandom("ties"));
  const { centroids: count, channels } = parseScheme("n8b8x2");
  const codebooks = set.codebooks.map((codebook): Codebook => {
    // Pairs of equal centroids, the same in both stages, so that every sum has others that equal it.
    const centroids = codebook.centroids.map((_, at, all) => {
      const code = Math.floor(at / channels) % count;
      const stage = Math.floor(at / (channels * count)) % 2;
      return all[at - (stage * count + code % 2) * channels]!;
    });
    return { ...codebook, centroids };
  });
  await compareWithReference(device, { options, moves: MOVES, codebooks: { ...set, codebooks } });
});

/** Codebooks of numbers that f32 rounds. */
function roundedCodebooks(options: CacheOptions, random: Random): CodebookSet {
  const about = (number: number) => number * (0.9 + 0.2 * random.next());
  const set = gridCodebooks(options, random);
  const codebooks = set.codebooks.map((codebook): Codebook => {
    const { offsets, meanSteps, sizes } = codebook.normalisation!;
    return {
      ...codebook,
      grid: toFloat16Array(fromFloat16Array(codebook.grid).map(about)),
      normalisation: {
        offsets: offsets.map(about),
        meanSteps: toFloat16Array(fromFloat16Array(meanSteps).map(about)),
        sizes: toFloat16Array(Float32Array.from(sizes, (_, at) => 1.2 ** (at % 16 - 8))),
      },
    };
  });
  return { ...set, codebooks };
}

/** Tokens that are coded, those of two records. */
const CODED = 128;

for (const id of ["n2b8", "n8b8", "n16b8x4", "n16b4x4"] as const) {
  Deno.test(`${id}: codes of any numbers are nearly all the reference's, and as near`, async () => {
    const options = optionsOf(id, 1);
    const random = seededRandom(id);
    const codebooks = roundedCodebooks(options, random);
    const tokens = 3 + CODED + 1;
    const [keys, values] = SIDES.map(() =>
      Float32Array.from({ length: tokens * 2 * HEAD_DIM }, () => 1.5 * normal(random))
    ) as [Float32Array<ArrayBuffer>, Float32Array<ArrayBuffer>];
    const reference = createReferenceCache({ ...options, codebooks });
    const own = reference.createSequence();
    reference.append(reference.beginStep([{ sequence: own, tokens }]), 0, { keys, values });
    const cache = await createCache({
      device,
      plan: planCache({ ...options, kernels: manifest }),
      codebooks,
    });
    const sequence = cache.createSequence();
    const encoder = device.createCommandEncoder();
    cache.encodeAppend(encoder, cache.beginStep([{ sequence, tokens }]), 0, {
      keys: { buffer: uploadBuffer(device, keys) },
      values: { buffer: uploadBuffer(device, values) },
    });
    device.queue.submit([encoder.finish()]);
    for (const [index, side] of SIDES.entries()) {
      const heads = headCodebooks(parseScheme(id), codebooks.codebooks[index], 2, HEAD_DIM);
      const found = await deviceRecords(device, cache, sequence, 0, side);
      for (const [head, wanted] of reference.records(own, 0, side, CODED).entries()) {
        const vectors = Array.from({ length: CODED }, (_, token) => {
          const at = ((3 + token) * 2 + head) * HEAD_DIM;
          return [keys, values][index]!.subarray(at, at + HEAD_DIM);
        });
        const share = sameCodes(id, found[head]!, wanted);
        assert.ok(share > 0.998, `${side}: ${share} of the codes are the same`);
        const [error, least] = [found[head]!, wanted].map((records) =>
          squaredError(id, records, vectors, heads[head]!)
        );
        assert.ok(error! < 1.001 * least!, `${side}: the error is ${error}, not ${least}`);
      }
    }
    cache.destroy();
  });
}

/** The record of a coded token, in a run of them. */
function recordOf({ words }: RecordLayout, records: Uint32Array, token: number): Uint32Array {
  const first = Math.floor(token / 64) * words;
  return records.subarray(first, first + words);
}

/** The share of codes that two runs of records have in common. */
function sameCodes(id: SchemeId, found: Uint32Array, wanted: Uint32Array): number {
  const layout = parseScheme(id).layout(HEAD_DIM);
  let same = 0;
  for (let token = 0; token < CODED; token++) {
    for (let index = 0; index < layout.codes; index++) {
      const [code, other] = [found, wanted].map((records) =>
        readCode(layout, recordOf(layout, records, token), token % 64, index)
      );
      if (code === other) same++;
    }
  }
  return same / (CODED * layout.codes);
}

function squaredError(
  id: SchemeId,
  records: Uint32Array,
  vectors: readonly Float32Array[],
  codebook: HeadCodebook,
): number {
  const scheme = parseScheme(id);
  const codec = schemeCodec(scheme);
  const layout = scheme.layout(HEAD_DIM);
  return vectors.reduce((sum, vector, token) => {
    const record = recordOf(layout, records, token);
    const decoded = codec.decode(record, token % 64, HEAD_DIM, codebook);
    return sum + decoded.reduce((own, value, i) => own + (value - vector[i]!) ** 2, 0);
  }, 0);
}
