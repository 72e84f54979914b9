/** Limits of blocks: which numbers are clamped, and to what. */
import assert from "node:assert/strict";
import { fromFloat16Bits, MAX_FLOAT16, toFloat16Bits } from "../../src/base/float16.ts";
import { blockLimits, limited } from "../../src/schemes/outliers.ts";

/** The limits of channels given as lists of their numbers. */
function limitsOf(...channels: readonly (readonly number[])[]) {
  return blockLimits(channels[0]!.map((_, token) => channels.map((own) => own[token]!)));
}

const bitsOf = (number: number) => toFloat16Bits(number);

const CASES: readonly [what: string, channel: readonly number[], low: number, high: number][] = [
  ["numbers that lie together", [-1, 0, 1, 2], -1, 2],
  ["one far above all others", [0, 1, 2, 35], 0, 2],
  ["one far below all others", [-35, 0, 1, 2], 0, 2],
  ["one on either side", [-300, 0, 1, 2, 300], 0, 2],
  ["two far above, of which each has the other", [0, 1, 300, 301], 0, 301],
  // Sixteen times what the others span, without the extreme on the other side.
  ["one above that is just within reach", [0, 1, 2, 3, 35], 0, 35],
  ["one above that is just beyond it", [0, 1, 2, 3, 36], 0, 3],
  ["one below that is just within reach", [-31, 1, 2, 3, 4], -31, 4],
  ["one below that is just beyond it", [-32, 1, 2, 3, 4], 1, 4],
  ["numbers at binary16's limits", [0, MAX_FLOAT16, 1, -MAX_FLOAT16, 2, 3], 0, 3],
  ["three within the limits, one of them far", [1, 1, 300, MAX_FLOAT16, MAX_FLOAT16], 1, 1],
  ["two within the limits", [1, 2, MAX_FLOAT16, MAX_FLOAT16], 1, MAX_FLOAT16],
  ["nothing within the limits", [MAX_FLOAT16, -MAX_FLOAT16], -MAX_FLOAT16, MAX_FLOAT16],
];

for (const [what, channel, low, high] of CASES) {
  Deno.test(`blockLimits() of ${what}`, () => {
    // Beside a channel of small numbers, whose mean with it is no larger than the channel's own range.
    const { channels } = limitsOf(channel, channel.map(() => 0));
    assert.deepEqual(channels[0], { low, high });
  });
}

Deno.test("blockLimits() spares what lies within sixteen times the block's typical magnitude", () => {
  // The second largest magnitudes are 4, on the lower side, and 1; the third channel's own numbers are equal.
  const others = [[-4, -4.5, 0, 1], [1, 0, 1, 0]];
  const typical = fromFloat16Bits(Math.floor((bitsOf(4) + bitsOf(1) + bitsOf(0)) / 3));
  const limits = limitsOf(...others, [0, 0, 0, 16 * typical]);
  assert.equal(limits.typical, typical);
  assert.deepEqual(limits.channels[2], { low: 0, high: 16 * typical });
  const beyond = limitsOf(...others, [0, 0, 0, 17 * typical]);
  assert.deepEqual(beyond.channels[2], { low: 0, high: 0 });
});

Deno.test("limited() clamps each channel to its own limits", () => {
  const limits = [{ low: -1, high: 1 }, { low: 0, high: 5 }];
  assert.deepEqual([...limited([7, 7], limits)], [1, 5]);
  assert.deepEqual([...limited([-7, -7], limits)], [-1, 0]);
  assert.deepEqual([...limited([0.5, 2], limits)], [0.5, 2]);
});
