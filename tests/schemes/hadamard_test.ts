import assert from "node:assert/strict";
import { parseScheme } from "../../mod.ts";
import { MAX_FLOAT16, roundToFloat16 } from "../../src/base/float16.ts";
import { encodeRotated } from "../../src/schemes/hadamard_codes.ts";
import { hadamard, hadamardInverse } from "../../src/schemes/hadamard.ts";
import { close, numbers } from "../helpers/reference.ts";

Deno.test("encodeRotated() keeps a deviation that binary16 holds, however long the vector", () => {
  // Where the rotation lengthens vectors, the largest numbers exceed binary16's range together.
  for (const [size, wanted] of [[MAX_FLOAT16, MAX_FLOAT16], [3, 3]] as const) {
    const { deviation } = encodeRotated(new Array<number>(32).fill(Math.SQRT2 * size), [-1, 1], 1);
    assert.equal(deviation, roundToFloat16(Math.min(Math.SQRT2 * wanted, MAX_FLOAT16)));
  }
});

for (const headDim of [8, 64, 128, 256]) {
  const vector = Array.from(numbers(headDim, headDim), (value) => Math.round(value * 64) / 32);

  Deno.test(`hadamardInverse() undoes hadamard() at d${headDim}, exactly where numbers have few digits`, () => {
    assert.deepEqual([...hadamardInverse(hadamard(vector))], vector);
  });

  Deno.test(`hadamard() keeps scores at d${headDim}: q.k is the inverse of the transpose times the rotation`, () => {
    const query = [...numbers(1, headDim)];
    const dot = (a: ArrayLike<number>, b: ArrayLike<number>) =>
      Array.from({ length: headDim }, (_, i) => a[i]! * b[i]!).reduce((sum, x) => sum + x, 0);
    // The rotation is orthogonal but for a power of two, by which lengths grow.
    const gain = dot(hadamard(vector), hadamard(vector)) / dot(vector, vector);
    assert.equal(Math.log2(gain) % 1, 0);
    close([dot(hadamard(query), hadamard(vector)) / gain], [dot(query, vector)], 1e-9);
  });

  Deno.test(`hadamard() spreads one channel and an offset of all channels evenly at d${headDim}`, () => {
    const one = Array.from({ length: headDim }, (_, i) => i === 3 ? 1 : 0);
    const offset = new Array<number>(headDim).fill(1);
    for (const [concentrated, flatness] of [[one, 1], [offset, 2]] as const) {
      const sizes = [...hadamard(concentrated)].map((value) => value * value);
      const average = sizes.reduce((sum, size) => sum + size, 0) / headDim;
      assert.ok(Math.max(...sizes) <= flatness * average * (1 + 1e-12));
    }
  });
}

Deno.test("definitions of t1b2 are those of their head dimension, in whatever order they are asked for", () => {
  const { definition } = parseScheme("t1b2").codebookSpec!;
  const found = [64, 128, 64].map((headDim) => [...definition!(headDim)]);
  assert.deepEqual(found[0], found[2]);
  assert.notDeepEqual(found[0], found[1]);
});
