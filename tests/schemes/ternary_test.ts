/** Ternary channel codes: against records of an independent implementation, and by their properties. */
import assert from "node:assert/strict";
import { CoupletError, parseScheme, recordBits } from "../../mod.ts";
import { roundToFloat16 } from "../../src/base/float16.ts";
import { seededRandom } from "../../src/base/random.ts";
import { packTrits, unpackTrits } from "../../src/schemes/ternary.ts";
import {
  checkAttention,
  decodeRecords,
  encodeRecords,
  readOracle,
  rowsOf,
} from "../helpers/oracle_file.ts";

const ZC3 = parseScheme("zc3");

Deno.test("eight trits have the code of an independent implementation, and every code is decoded to its trits", async () => {
  const oracle = await readOracle("trits8");
  const codes = Array.from({ length: 3 ** 8 }, (_, number) => {
    const trits = number.toString(3).padStart(8, "0").split("").map(Number);
    const code = packTrits(trits);
    assert.deepEqual(unpackTrits(code), trits);
    return code;
  });
  assert.deepEqual(codes, [...oracle("codes").numbers as Uint16Array]);
});

for (const [file, keys] of [["kc1p2_zc3_d64", "kc1p2"], ["kc1p4_zc3_d128", "kc1p4"]] as const) {
  Deno.test(`${file}: records, scores and outputs are those of an independent implementation`, async () => {
    const oracle = await readOracle(file);
    const [decodedKeys, decodedValues] = ([["keys", keys, "key_record"], [
      "values",
      "zc3",
      "value_record",
    ]] as const).map(([side, id, record]) => {
      const vectors = rowsOf(oracle(side));
      const records = encodeRecords(parseScheme(id), vectors);
      assert.deepEqual(records, oracle(record).numbers);
      return decodeRecords(parseScheme(id), records, vectors.length, vectors[0]!.length);
    });
    checkAttention(oracle, decodedKeys!, decodedValues!);
  });
}

Deno.test("zc3: blocks of zeros, constants, outliers and the largest numbers are coded as by an independent implementation", async () => {
  const oracle = await readOracle("kc1p4_zc3_edges");
  assert.deepEqual(
    encodeRecords(ZC3, rowsOf(oracle("vectors"))),
    oracle("ternary_records").numbers,
  );
});

Deno.test("zc3 takes 1.875 bits, and refuses head dimensions that 16 does not divide", () => {
  assert.deepEqual([64, 80, 128].map((headDim) => recordBits(ZC3.layout(headDim), headDim)), [
    1.875,
    1.875,
    1.875,
  ]);
  assert.throws(
    () => ZC3.layout(72),
    (error) => error instanceof CoupletError && error.code === "shape",
  );
});

/** 64 tokens of 64 channels, binary16 numbers. */
function block(seed: string): Float64Array<ArrayBuffer>[] {
  const random = seededRandom(seed);
  return Array.from(
    { length: 64 },
    () =>
      Float64Array.from(
        { length: 64 },
        (_, channel) =>
          roundToFloat16((random.next() + random.next() + random.next() - 1.5) * (1 + channel % 9)),
      ),
  );
}

function coded(vectors: readonly Float64Array<ArrayBuffer>[]): Float64Array<ArrayBuffer>[] {
  return decodeRecords(ZC3, encodeRecords(ZC3, vectors), 64, 64);
}

Deno.test("zc3: no other scale has a smaller squared error, but for the rounding of scales", () => {
  const vectors = block("scales");
  const decoded = coded(vectors);
  for (let channel = 0; channel < 64; channel++) {
    const errorOf = (levels: readonly number[]) =>
      vectors.reduce(
        (sum, vector) => sum + Math.min(...levels.map((level) => (vector[channel]! - level) ** 2)),
        0,
      );
    const levels = [...new Set(decoded.map((vector) => vector[channel]!))].sort((a, b) => a - b);
    assert.equal(levels.length, 3);
    const mean = levels[1]!;
    const own = errorOf(levels);
    for (let factor = 0.5; factor < 2; factor *= 1.02) {
      const scale = (levels[2]! - mean) * factor;
      assert.ok(own <= 1.02 * errorOf([mean - scale, mean, mean + scale]), `${channel}, ${factor}`);
    }
  }
});

Deno.test("zc3: of scales of equal squared error, that of the fewest numbers is taken", () => {
  // 3 alone, or the mean of 3, 1, 1 and 1.
  const vectors = block("ties");
  vectors.forEach((vector, token) => vector[0] = [3, -1, -1, -1][token] ?? 0);
  const decoded = coded(vectors).map((vector) => vector[0]!);
  assert.deepEqual(decoded.slice(0, 5), [3, 0, 0, 0, 0]);
});

Deno.test("zc3: a number that binary16 cannot hold reaches itself alone", () => {
  const vectors = block("outlier");
  const good = coded(vectors);
  const bad = vectors.map((vector) => vector.slice());
  bad[9]![5] = -65504;
  coded(bad).forEach((vector, token) =>
    vector.forEach((number, channel) => {
      if (channel !== 5) assert.equal(number, good[token]![channel]);
      else assert.ok(Math.abs(number) < 9);
    })
  );
});
