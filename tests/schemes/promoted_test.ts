/** Channel codes of which some have more bits: against records of an independent implementation, and by their properties. */
import assert from "node:assert/strict";
import { parseScheme, recordBits, type SchemeId } from "../../mod.ts";
import { roundToFloat16 } from "../../src/base/float16.ts";
import { seededRandom } from "../../src/base/random.ts";
import { readBits } from "../../src/records/pack.ts";
import {
  checkAttention,
  decodeRecords,
  encodeRecords,
  readOracle,
  rowsOf,
} from "../helpers/oracle_file.ts";

const SCHEMES: readonly SchemeId[] = ["kc2p8", "kc2p4", "kc1p2", "kc1p4"];

for (
  const [file, keys, values] of [
    ["kc2p8_kh2_d64", "kc2p8", "kh2"],
    ["kc2p4_kh2_d128", "kc2p4", "kh2"],
  ] as const
) {
  Deno.test(`${file}: records, scores and outputs are those of an independent implementation`, async () => {
    const oracle = await readOracle(file);
    const decoded = [["keys", keys], ["values", values]].map(([side, id]) => {
      const vectors = rowsOf(oracle(side!));
      const records = encodeRecords(parseScheme(id!), vectors);
      if (side === "keys") assert.deepEqual(records, oracle("key_record").numbers);
      return decodeRecords(parseScheme(id!), records, vectors.length, vectors[0]!.length);
    });
    checkAttention(oracle, decoded[0]!, decoded[1]!);
  });
}

for (
  const [id, file, vectors, records] of [
    ["kc2p8", "kc2p8_edges", "keys", "key_records"],
    ["kc1p4", "kc1p4_zc3_edges", "vectors", "records"],
  ] as const
) {
  Deno.test(`${id}: blocks of zeros, constants, ties, subnormals and the largest numbers are coded as by an independent implementation`, async () => {
    const oracle = await readOracle(file);
    const found = encodeRecords(parseScheme(id), rowsOf(oracle(vectors)));
    assert.deepEqual(found, oracle(records).numbers);
  });
}

Deno.test("recordBits() counts masks, scales and both planes", () => {
  const bits = SCHEMES.map((id) =>
    [64, 128].map((headDim) => recordBits(parseScheme(id).layout(headDim), headDim))
  );
  const wanted = [2.765625, 3.015625, 2.015625, 1.765625];
  assert.deepEqual(bits, wanted.map((own) => [own, own]));
});

/** A block whose halves are the same 32 tokens: what kc2 codes by 32 tokens, these schemes code by 64. */
function twice(seed: string): Float64Array<ArrayBuffer>[] {
  const random = seededRandom(seed);
  const half = Array.from({ length: 32 }, () =>
    Float64Array.from(
      { length: 64 },
      (_, channel) => roundToFloat16((random.next() - 0.4) * (1 + channel % 9)),
    ));
  return [...half, ...half];
}

Deno.test("kc2p8 has the levels and codes of kc2 in channels that are not promoted, and an eighth of them is", () => {
  const vectors = twice("as kc2");
  const [own, kc2] = ["kc2p8", "kc2"].map((id) => encodeRecords(parseScheme(id), vectors)) as [
    Uint32Array,
    Uint32Array,
  ];
  let promoted = 0;
  for (let channel = 0; channel < 64; channel++) {
    if (readBits(own, channel, 1) === 1) {
      promoted++;
      continue;
    }
    assert.equal(own[2 + channel], kc2[channel]);
    for (let token = 0; token < 32; token++) {
      const bit = (token * 64 + channel) * 2;
      assert.equal(readBits(own, 66 * 32 + bit, 2), readBits(kc2, 64 * 32 + bit, 2));
    }
  }
  assert.equal(promoted, 8);
});

for (const id of SCHEMES) {
  Deno.test(`${id}: a number that binary16 cannot hold reaches itself alone`, () => {
    const vectors = twice(id);
    const coded = (block: readonly Float64Array<ArrayBuffer>[]) =>
      decodeRecords(parseScheme(id), encodeRecords(parseScheme(id), block), 64, 64);
    const good = coded(vectors);
    const bad = vectors.map((vector) => vector.slice());
    bad[9]![5] = 65504;
    coded(bad).forEach((vector, token) =>
      vector.forEach((number, channel) => {
        if (channel !== 5) assert.equal(number, good[token]![channel]);
        else assert.ok(Math.abs(number) < 6);
      })
    );
  });
}
