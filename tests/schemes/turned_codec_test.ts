/** A codec around another: it turns vectors, and gives on all else. */
import assert from "node:assert/strict";
import type { Codec } from "../../mod.ts";
import { turnedCodec } from "../../src/schemes/turned_codec.ts";

/** Stores each vector's first number. */
const plain: Codec = {
  encode: (vectors, record, token) =>
    vectors.forEach((vector, i) => record[token + i] = vector[0]!),
  decode: (record, token) => Float64Array.of(record[token]!),
};

/** Adds a token's number, or takes it off. */
const turn = (vector: ArrayLike<number>, token: number, direction: 1 | -1) =>
  Float64Array.of(vector[0]! + direction * token);

Deno.test("turnedCodec() turns each vector of a block by its own place, and back", () => {
  const codec = turnedCodec(plain);
  const record = new Uint32Array(8);
  const context = { centroids: [] };
  codec.encode([[10], [20], [30]], record, 4, { ...context, turn });
  assert.deepEqual([...record], [0, 0, 0, 0, 14, 25, 36, 0]);
  assert.deepEqual([...codec.decode(record, 5, 1, { ...context, turn })], [20]);
  codec.encode([[10]], record, 0, context);
  assert.deepEqual([...codec.decode(record, 0, 1, context)], [10]);
});

Deno.test("turnedCodec() has what the codec has for learning and for spans, and nothing more", () => {
  const learning = { transforms: () => [], transformed: () => new Float64Array(1) };
  const fit = () => Float64Array.of(1, 2);
  const both = turnedCodec({ ...plain, learning, fit });
  assert.equal(both.learning, learning);
  assert.deepEqual(both.fit!([], "keys"), fit());
  assert.deepEqual(Object.keys(turnedCodec(plain)).sort(), ["decode", "encode"]);
});
