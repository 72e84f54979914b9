import assert from "node:assert/strict";
import {
  gaussianTrellis,
  searchCircle,
  searchTrellis,
  type Trellis,
  type TrellisPath,
} from "../../bench/trellis.ts";
import { seededRandom } from "../../src/base/random.ts";

const CHANNELS = 6;

/** All paths of some channels, from every state. */
function* allPaths({ stateBits, bits, numbers }: Trellis): Generator<number[]> {
  for (let start = 0; start < numbers.length; start++) {
    for (let input = 0; input < 2 ** (bits * CHANNELS); input++) {
      let state = start;
      yield Array.from({ length: CHANNELS }, (_, channel) => {
        const next = (input >> (bits * channel)) % 2 ** bits;
        return state = ((state << bits) + next) % 2 ** stateBits;
      });
    }
  }
}

function errorOf(vector: Float64Array, { numbers }: Trellis, path: Iterable<number>): number {
  return [...path].reduce((sum, state, i) => sum + (vector[i]! - numbers[state]!) ** 2, 0);
}

/** The bits that follow one another in a path, with what a first state brings of those before it. */
function shiftsIn({ states }: TrellisPath, { stateBits, bits }: Trellis, first: number): boolean {
  return states.every((state, channel) => {
    const before = channel === 0 ? first : states[channel - 1]!;
    return state >> bits === before % 2 ** (stateBits - bits);
  });
}

for (const bits of [1, 2]) {
  const random = seededRandom("trellis", bits);
  const trellis = gaussianTrellis(4, bits, random);
  const vector = Float64Array.from({ length: CHANNELS }, () => 4 * random.next() - 2);

  Deno.test(`searchTrellis() of ${bits} bits finds the best of all paths`, () => {
    const found = searchTrellis(vector, trellis);
    const errors = [...allPaths(trellis)].map((path) => errorOf(vector, trellis, path));
    assert.ok(Math.abs(found.error - Math.min(...errors)) < 1e-12);
    assert.ok(Math.abs(errorOf(vector, trellis, found.states) - found.error) < 1e-12);
  });

  Deno.test(`searchCircle() of ${bits} bits finds a path whose last state goes before its first`, () => {
    const circle = searchCircle(vector, trellis);
    assert.ok(shiftsIn(circle, trellis, circle.states.at(-1)!));
    assert.ok(circle.error >= searchTrellis(vector, trellis).error);
  });
}

Deno.test("gaussianTrellis() has numbers of mean 0 and variance 1", () => {
  const { numbers } = gaussianTrellis(10, 2, seededRandom("numbers"));
  const mean = numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
  const square = numbers.reduce((sum, number) => sum + number ** 2, 0) / numbers.length;
  assert.ok(Math.abs(mean) < 1e-9, `${mean}`);
  assert.ok(Math.abs(square - 1) < 0.01, `${square}`);
});
