/** What every scheme promises, and what those without calibration achieve. */
import assert from "node:assert/strict";
import { CoupletError, parseScheme, type Scheme, schemeCodec } from "../../mod.ts";
import { sizes } from "../../codegen/variants.ts";
import { seededRandom } from "../../src/base/random.ts";
import { fromFloat16Array } from "../../src/base/float16.ts";
import { roundTrip } from "../../src/schemes/round_trip.ts";
import { firstRecords } from "../../src/records/pack.ts";
import { sha256 } from "../../src/base/sha256.ts";
import { normal } from "../helpers/normal.ts";

/** Every scheme that has kernels. */
const SCHEMES = [...new Set(sizes.flatMap(({ schemes }) => schemes))].map(parseScheme);
const UNIVERSAL = ["u8b8", "u4b8", "t1b1", "t1b2", "t1b3", "t1b4"].map(parseScheme);

/** Independent Gaussian channels. */
function gaussian(seed: number, tokens: number, headDim: number): Float64Array<ArrayBuffer>[] {
  const random = seededRandom(seed);
  return Array.from(
    { length: tokens },
    () => Float64Array.from({ length: headDim }, () => normal(random)),
  );
}

/** A codebook for one KV head: the universal one, or random centroids. */
function codebookOf(scheme: Scheme, headDim: number) {
  if (scheme.codebookSpec?.groupsShare) {
    // Factors of a half and of 1 and 2, of either sign; multiples of a quarter as means.
    const transform = Float64Array.from(
      { length: 2 * headDim },
      (_, i) => i % 2 === 1 ? (i % 5 - 2) / 4 : (i % 3 === 0 ? -1 : 1) * 2 ** (i % 7 % 3 - 1),
    );
    return { centroids: gaussian(9, 1, scheme.centroids * scheme.channels)[0]!, transform };
  }
  if (scheme.forSpans) {
    // Scales and minima of a span.
    const levels = Float64Array.from({ length: 2 * headDim }, (_, i) => i % 2 === 0 ? 0.25 : -1);
    return { centroids: [], levels };
  }
  const { definition, stages = 1, normalised } = scheme.codebookSpec ?? {};
  const centroids = definition === undefined
    ? gaussian(9, 1, stages * scheme.centroids * headDim)[0]!
    : fromFloat16Array(definition(headDim));
  if (!normalised) return { centroids };
  const normalisation = {
    offsets: Float64Array.from({ length: headDim }, (_, i) => (i % 5 - 2) / 4),
    meanSteps: new Float64Array(headDim).fill(1 / 16),
    sizes: Float64Array.from({ length: 16 }, (_, k) => 2 ** (k - 8)),
  };
  return { centroids, normalisation };
}

/** Squared error over squared length, and the share of the length that is kept. */
function errorOf(
  scheme: Scheme,
  vectors: readonly Float64Array<ArrayBuffer>[],
): { readonly error: number; readonly kept: number } {
  const decoded = roundTrip(scheme, vectors, codebookOf(scheme, vectors[0]!.length));
  let [error, energy, decodedEnergy] = [0, 0, 0];
  vectors.forEach((vector, token) =>
    vector.forEach((value, i) => {
      error += (decoded[token]![i]! - value) ** 2;
      energy += value ** 2;
      decodedEnergy += decoded[token]![i]! ** 2;
    })
  );
  return { error: error / energy, kept: Math.sqrt(decodedEnergy / energy) };
}

/** Head dimensions of a scheme's kernels, those up to 96: each has its own number of tokens a record. */
function headDimsOf({ id }: Scheme): number[] {
  const own = sizes.filter(({ schemes }) => schemes.includes(id));
  return own.flatMap(({ headDims }) => headDims.filter((headDim) => headDim <= 96));
}

/** Whether what is decoded has the metadata it was coded with: sizes of tokens, and means of three levels, may be others. */
function keepsMetadata({ id }: Scheme, tokenBits: number): boolean {
  return tokenBits === 0 && id !== "zc3";
}

const SIZED = SCHEMES.flatMap((scheme) =>
  headDimsOf(scheme).map((headDim) => ({ scheme, headDim }))
);

for (const { scheme, headDim } of SIZED) {
  Deno.test(`${scheme.id} at d${headDim}: what is decoded is coded as itself, and tokens of a record do not touch each other`, () => {
    const layout = scheme.layout(headDim);
    const codebook = codebookOf(scheme, headDim);
    const vectors = gaussian(1, layout.tokens, headDim);
    const record = new Uint32Array(layout.words);
    // In an order in which each block but the last has a later one beside it.
    for (let first = layout.tokens - scheme.block; first >= 0; first -= scheme.block) {
      schemeCodec(scheme).encode(
        vectors.slice(first, first + scheme.block),
        record,
        first,
        codebook,
      );
    }
    const alone = roundTrip(scheme, vectors, codebook);
    const together = vectors.map((_, token) =>
      schemeCodec(scheme).decode(record, token, headDim, codebook)
    );
    assert.deepEqual(together, alone);
    assert.ok(together.flatMap((vector) => [...vector]).every(Number.isFinite));
    if (keepsMetadata(scheme, layout.metadata.tokenBits)) {
      assert.deepEqual(roundTrip(scheme, alone, codebook), alone);
    }
    assert.deepEqual(firstRecords(layout, record, layout.tokens), record);
    if (scheme.block === 1) {
      const first = new Uint32Array(layout.words);
      schemeCodec(scheme).encode([vectors[0]!], first, 0, codebook);
      assert.deepEqual(firstRecords(layout, record, 1), first);
    }
  });
}

for (const scheme of SCHEMES) {
  Deno.test(`${scheme.id}: what a record held before does not matter`, () => {
    const headDim = 64;
    const { words, tokens } = scheme.layout(headDim);
    const codec = schemeCodec(scheme);
    for (const scored of [false, true]) {
      const context = { ...codebookOf(scheme, headDim), scored };
      // The first with waves, as constants of scored keys become.
      const [before, after] = [2, 3].map((seed) =>
        gaussian(seed, tokens, headDim).map((vector, token) =>
          vector.map((value, i) => value + (seed === 2 && i < 4 ? 40 * Math.cos(token / 7) : 0))
        )
      );
      const encode = (vectors: readonly Float64Array[], record: Uint32Array) => {
        for (let first = 0; first < tokens; first += scheme.block) {
          codec.encode(vectors.slice(first, first + scheme.block), record, first, context);
        }
        return record;
      };
      const fresh = encode(after!, new Uint32Array(words));
      assert.deepEqual(encode(after!, encode(before!, new Uint32Array(words))), fresh);
    }
  });
}

/**
 * Mean squared error for independent Gaussian channels, relative to their variance: Lloyd and Max's for scalars (J. Max,
 * Quantizing for minimum distortion, 1960); for u8b8 and u4b8 the cost of the kept length included, which is
 * 2 - 2 sqrt(1 - D) where least squares has D.
 */
const GAUSSIAN_ERROR: Readonly<Record<string, number>> = {
  t1b1: 0.3634,
  t1b2: 0.1175,
  t1b3: 0.03454,
  t1b4: 0.009497,
  u8b8: 2 - 2 * Math.sqrt(1 - 0.312),
  u4b8: 2 - 2 * Math.sqrt(1 - 0.0993),
};

for (const scheme of UNIVERSAL) {
  for (const headDim of [64, 128, 256]) {
    Deno.test(`${scheme.id} at d${headDim}: the error on Gaussian channels is the theory's`, () => {
      const { error } = errorOf(scheme, gaussian(2, 512, headDim));
      const wanted = GAUSSIAN_ERROR[scheme.id]!;
      // A head's channels are not quite Gaussian once divided by their length, and scales take a few bits.
      assert.ok(Math.abs(error / wanted - 1) < 0.05, `${error}, expected ${wanted}`);
    });
  }
}

for (
  const [fewer, more] of [["u8b8", "u4b8"], ["t1b1", "t1b2"], ["t1b2", "t1b3"], ["t1b3", "t1b4"]]
) {
  Deno.test(`${more} errs less than half as much as ${fewer}`, () => {
    const vectors = gaussian(3, 128, 64);
    const [coarse, fine] = [fewer!, more!].map((id) => errorOf(parseScheme(id), vectors).error);
    assert.ok(fine! < coarse! / 2, `${fine} of ${coarse}`);
  });
}

for (const id of ["u8b8", "u4b8"]) {
  Deno.test(`${id} keeps the length of what it codes`, () => {
    assert.ok(Math.abs(errorOf(parseScheme(id), gaussian(4, 256, 128)).kept - 1) < 0.005);
  });

  Deno.test(`${id}: what the tokens of a block share costs next to nothing`, () => {
    // Keys have such channels: large, and nearly the same for all tokens.
    const plain = gaussian(5, 64, 64);
    const offset = gaussian(6, 1, 64)[0]!.map((value) => 8 * value);
    const shifted = plain.map((vector) => vector.map((value, i) => value + offset[i]!));
    const codebook = codebookOf(parseScheme(id), 64);
    const errors = [plain, shifted].map((vectors) => {
      const decoded = roundTrip(parseScheme(id), vectors, codebook);
      return vectors.reduce(
        (sum, vector, token) =>
          sum + vector.reduce((own, value, i) => own + (decoded[token]![i]! - value) ** 2, 0),
        0,
      );
    });
    assert.ok(errors[1]! < errors[0]! * 1.6, `${errors[1]} of ${errors[0]}`);
  });
}

for (const id of ["u8b8", "u4b8"] as const) {
  Deno.test(`${id}: what a mean loses in a byte is coded with the rest`, () => {
    const random = seededRandom("means");
    const constants = Float64Array.from(
      { length: 64 },
      () => (random.next() < 0.5 ? -1 : 1) * (1 + random.next()),
    );
    const vectors = Array.from(
      { length: 64 },
      () => constants.map((constant) => constant + 0.01 * (random.next() - 0.5)),
    );
    const scheme = parseScheme(id);
    const decoded = roundTrip(scheme, vectors, { ...codebookOf(scheme, 64), scored: true });
    let [error, energy] = [0, 0];
    vectors.forEach((vector, token) =>
      vector.forEach((value, i) => {
        error += (decoded[token]![i]! - value) ** 2;
        energy += value ** 2;
      })
    );
    assert.ok(error < 2e-5 * energy, `${error / energy}`);
  });
}

for (const scheme of UNIVERSAL) {
  Deno.test(`${scheme.id}: no channel and no token is lost, whatever their size`, () => {
    const channels = Float64Array.from({ length: 64 }, (_, i) => i === 5 ? 60 : 0.5);
    const large = Array.from({ length: 64 }, (_, token) => channels.map((x) => x * (token - 31)));
    const zero = Array.from({ length: 64 }, () => new Float64Array(64));
    assert.ok(errorOf(scheme, large).error < 0.6);
    for (const decoded of roundTrip(scheme, zero, codebookOf(scheme, 64))) {
      assert.deepEqual(decoded.map(Math.abs), new Float64Array(64));
    }
  });

  Deno.test(`${scheme.id} refuses a head dimension that is no power of two`, () => {
    for (const headDim of [80, 96, 16]) {
      assert.throws(
        () => scheme.layout(headDim),
        (error) =>
          error instanceof CoupletError && error.code === "shape" &&
          error.message.includes("powers of two"),
      );
    }
  });
}

/** SHA-256 of the centroids' bits at head dimension 64: records mean the same wherever they are read. */
const DIGESTS: Readonly<Record<string, string>> = {
  u8b8: "8eb915b1df77285923528f6d4cdc5f4eeb20cfc18df4161e83da2d38186dbff1",
  u4b8: "3a86e1d6f8c7a42e98010cc766d408d907effba5ad415851dc0676809c044632",
  t1b1: "afc26698866cc12f52aa78841d9275691191e63722358306a5a0c84c07abb7b0",
  t1b2: "3de005d9e599e698faca19cf657d32b3463a3ab8bcb4869ef111e5f0bd35493b",
  t1b3: "513252b0b49cb2f7423b395197bd6243d68659735800dff73720035d9ad11b64",
  t1b4: "59bee39ec68a518f4f87d4d126ba78b1ef7f69fecc8ece1a211a5dcfa248320c",
};

for (const scheme of UNIVERSAL) {
  Deno.test(`${scheme.id}: its codebook is the same everywhere, small, centred and without repetition`, async () => {
    const { channels, centroids, codebookSpec } = scheme;
    const bits = codebookSpec!.definition!(64);
    assert.equal(await sha256(new Uint8Array(bits.buffer)), DIGESTS[scheme.id]);
    assert.ok(bits.byteLength <= 4096);
    const values = fromFloat16Array(bits);
    const points = Array.from(
      { length: centroids },
      (_, i) => values.subarray(i * channels, (i + 1) * channels).join(),
    );
    assert.equal(new Set(points).size, centroids);
    assert.ok(Math.abs(values.reduce((sum, value) => sum + value, 0)) < 1e-9);
  });
}
