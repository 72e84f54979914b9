/**
 * `v<channels>b<bits>` against files of an independent float64 implementation of VecInfer: `v4b8_d64`, `v8b10_d64`,
 * `v8b8_d128`. Keys are smoothed and rotated, values are not.
 */
import assert from "node:assert/strict";
import {
  type Codebook,
  decodeCodebooks,
  encodeCodebooks,
  parseScheme,
  readSafetensors,
  schemeCodec,
  type SchemeId,
  type Side,
} from "../../mod.ts";
import { headCodebooks } from "../../src/codebooks/head_codebooks.ts";
import { fromFloat16Array, toFloat16Array } from "../../src/base/float16.ts";
import {
  channelSign,
  hadamard,
  hadamardInverseFactor,
  walshHadamard,
} from "../../src/schemes/hadamard.ts";
import { firstRecords, readCode } from "../../src/records/pack.ts";

/** The tensors of a file of fixtures, as numbers. */
async function readFixture(name: string): Promise<(tensor: string) => Float64Array> {
  const url = new URL(`./fixtures/${name}.safetensors`, import.meta.url);
  const { tensors } = readSafetensors(await Deno.readFile(url));
  return (tensor) => {
    const { dtype, data } = tensors.get(tensor)!;
    const { buffer } = new Uint8Array(data);
    if (dtype === "F64") return new Float64Array(buffer);
    if (dtype === "F32") return Float64Array.from(new Float32Array(buffer));
    if (dtype === "U32") return Float64Array.from(new Uint32Array(buffer));
    if (dtype === "U16") return Float64Array.from(new Uint16Array(buffer));
    if (dtype === "U8") return Float64Array.from(new Uint8Array(buffer));
    assert.equal(dtype, "F16");
    return Float64Array.from(new Float16Array(buffer));
  };
}

function assertNear(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number) {
  assert.equal(actual.length, expected.length);
  const largest = Math.max(...Array.from(expected, Math.abs));
  for (let i = 0; i < expected.length; i++) {
    assert.ok(Math.abs(actual[i]! - expected[i]!) <= tolerance * largest, `${i}`);
  }
}

/** Tests a scheme at a head dimension. */
async function testScheme(id: SchemeId, headDim: number): Promise<void> {
  const scheme = parseScheme(id);
  const layout = scheme.layout(headDim);
  const read = await readFixture(`${id}_d${headDim}`);
  const smooth = read("smooth");
  const steps = read("key_low_step");

  /** The file's codebook of one side, through a codebook file. */
  function codebookOf(side: Side): Codebook {
    const unit = side === "keys" ? 1 : 0.5;
    const codebook: Codebook = {
      layer: 0,
      side,
      scheme: id,
      keyValueHeads: 1,
      headDim,
      centroids: Uint8Array.from(read("key_levels")),
      grid: toFloat16Array(steps.map((value, i) => unit * value * (i % 2 === 0 ? 1 : 64))),
      transform: toFloat16Array(
        Array.from(
          { length: 2 * headDim },
          (_, i) => side === "keys" && i % 2 === 0 ? smooth[i / 2]! * channelSign(i / 2) : 0,
        ),
      ),
    };
    const file = encodeCodebooks({
      model: { name: "", digest: "" },
      keySpace: "as-scored",
      provenance: { source: "", tokens: 0, seed: 0, iterations: 0 },
      codebooks: [codebook],
    });
    return decodeCodebooks(file).codebooks[0]!;
  }

  function rowsOf(tensor: string): Float64Array[] {
    const numbers = read(tensor);
    return Array.from(
      { length: numbers.length / headDim },
      (_, row) => numbers.slice(row * headDim, (row + 1) * headDim),
    );
  }

  /** Records of one side, its codes in their order, and what they stand for. */
  function coded(side: Side) {
    const [context] = headCodebooks(scheme, codebookOf(side), 1, headDim);
    const codec = schemeCodec(scheme);
    const vectors = rowsOf(side);
    const records = new Uint32Array(Math.ceil(vectors.length / layout.tokens) * layout.words);
    const places = vectors.map((_, token) => ({
      index: token % layout.tokens,
      record: records.subarray(
        Math.floor(token / layout.tokens) * layout.words,
        (Math.floor(token / layout.tokens) + 1) * layout.words,
      ),
    }));
    vectors.forEach((vector, token) => {
      codec.encode([vector], places[token]!.record, places[token]!.index, context!);
    });
    return {
      words: firstRecords(layout, records, vectors.length),
      codes: places.flatMap(({ record, index }) =>
        Array.from({ length: layout.codes }, (_, group) => readCode(layout, record, index, group))
      ),
      decoded: places.map(({ record, index }) => codec.decode(record, index, headDim, context!)),
    };
  }

  const keys = coded("keys");
  const values = coded("values");
  const queries = rowsOf("queries");

  Deno.test(`${id} of ${headDim} channels: codes and records are the file's, bit for bit`, () => {
    assert.deepEqual(keys.codes, [...read("key_codes")]);
    assert.deepEqual([...keys.words], [...read("key_words")]);
    assert.deepEqual(values.codes, [...read("value_codes")]);
    assertNear(keys.decoded.flatMap((row) => [...row]), read("keys_decoded"), 1e-7);
  });

  Deno.test(`${id} of ${headDim} channels: scores and outputs are the file's, to 1e-9`, () => {
    const scores = queries.map((query) =>
      keys.decoded.map((key) => dot(query, key) * headDim ** -0.5)
    );
    assertNear(scores.flat(), read("scores"), 1e-9);
    const output = scores.map((row) => {
      const top = Math.max(...row);
      const weights = row.map((score) => Math.exp(score - top));
      const sum = weights.reduce((total, weight) => total + weight, 0);
      return Array.from(
        { length: headDim },
        (_, i) => weights.reduce((x, w, t) => x + w * values.decoded[t]![i]!, 0) / sum,
      );
    });
    assertNear(output.flat(), read("output"), 1e-9);
  });

  Deno.test(`${id} of ${headDim} channels: a transformed query and key have the product they had`, () => {
    const { learning } = schemeCodec(scheme);
    const transform = headCodebooks(scheme, codebookOf("keys"), 1, headDim)[0]!.transform!;
    const products: number[] = [];
    const exact: number[] = [];
    const turned = queries.map((query) =>
      walshHadamard(query.map((q, i) => q * transform[2 * i]!), hadamardInverseFactor(headDim))
    );
    assertNear(turned.flatMap((row) => [...row]), read("queries_transformed"), 1e-7);
    for (const key of rowsOf("keys")) {
      const transformedKey = learning!.transformed(key, transform);
      queries.forEach((query, i) => {
        products.push(dot(turned[i]!, transformedKey));
        exact.push(dot(query, key));
      });
    }
    assertNear(products, exact, 1e-12);
  });

  Deno.test(`${id} of ${headDim} channels: the transforms to choose from`, () => {
    const { learning } = schemeCodec(scheme);
    const rows = rowsOf("keys");
    const [plain, centred, rotated, rotatedCentred] = learning!.transforms(rows, "keys");
    assert.deepEqual(plain, new Float64Array(2 * headDim));
    rotated!.forEach((value, i) => {
      // The paper's factor is the root of the largest magnitude; channel 9 is all zero.
      const largest = Math.max(...rows.map((row) => Math.abs(row[i >> 1]!)));
      const power = largest === 0 ? 1 : 2 ** Math.round(Math.log2(largest) / 2);
      assert.equal(value, i % 2 === 1 ? 0 : power * channelSign(i >> 1));
    });
    for (const one of [centred!, rotatedCentred!]) {
      assert.deepEqual(one, Float64Array.from(fromFloat16Array(toFloat16Array(one))));
    }
    for (const [without, mean] of [[plain, centred], [rotated, rotatedCentred]]) {
      const sums = new Float64Array(headDim);
      for (const row of rows) {
        learning!.transformed(row, mean!).forEach((value, i) => sums[i]! += value / rows.length);
      }
      const largest = Math.max(...mean!.map(Math.abs));
      assert.ok(sums.every((sum) => Math.abs(sum) <= largest * 2 ** -11));
      assert.ok(without!.every((value, i) => i % 2 === 1 || value === mean![i]));
    }
    // Factors are numbers that binary16 holds, however small or large the keys.
    for (const [size, factor] of [[2 ** -60, 2 ** -14], [2 ** 60, 2 ** 14]] as const) {
      const [, , extreme] = learning!.transforms([new Float64Array(headDim).fill(size)], "keys");
      assert.ok(extreme!.every((value, i) => i % 2 === 1 || Math.abs(value) === factor));
    }
    // Values have no smoothing, and the rotation is that of the other schemes.
    const [, , signs] = learning!.transforms(rows, "values");
    assert.deepEqual(learning!.transformed(rows[0]!, signs!), hadamard(rows[0]!));
  });
}

Deno.test("v4b8 gives back what its centroids are, by every transform, and of equal ones takes the first", () => {
  const headDim = 32;
  const scheme = parseScheme("v4b8");
  const codec = schemeCodec(scheme);
  const rows = Array.from(
    { length: 3 },
    (_, row) => Float64Array.from({ length: headDim }, (_, i) => (i * 7 + row * 5) % 11 - 3),
  );
  const layout = scheme.layout(headDim);
  for (const transform of codec.learning!.transforms(rows, "keys")) {
    const vector = rows[0]!;
    // Each group of the vector is a centroid, and a later one equals it.
    const groups = codec.learning!.transformed(vector, transform);
    const centroids = new Float64Array(256 * 4).fill(1000);
    centroids.set(groups);
    centroids.set(groups, 100 * 4);
    const record = new Uint32Array(layout.words);
    codec.encode([vector], record, 0, { centroids, transform });
    const codes = Array.from({ length: layout.codes }, (_, i) => readCode(layout, record, 0, i));
    assert.ok(codes.every((code) => code < layout.codes), `${codes}`);
    assertNear(codec.decode(record, 0, headDim, { centroids, transform }), vector, 1e-12);
  }
});

for (const [id, headDim] of [["v4b8", 64], ["v8b10", 64], ["v8b8", 128]] as const) {
  await testScheme(id, headDim);
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
