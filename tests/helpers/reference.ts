import assert from "node:assert/strict";
import type { RopeParameters } from "../../src/model/model.ts";
import type { AttentionInput } from "../../src/reference/attention.ts";

/** Seeded numbers in [-1, 1): mulberry32. */
export function numbers(seed: number, length: number): Float32Array<ArrayBuffer> {
  let state = seed * 0x9e3779b9;
  return Float32Array.from({ length }, () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 31 - 1;
  });
}

/** Asserts that all values are within `tolerance` of the expected ones. */
export function close(
  found: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
): void {
  assert.equal(found.length, expected.length);
  for (let i = 0; i < found.length; i++) {
    const error = Math.abs(found[i]! - expected[i]!);
    assert.ok(error <= tolerance, `value ${i} is ${found[i]}, expected ${expected[i]}`);
  }
}

/**
 * Attention written another way than the library's: nested arrays, exponentials without a maximum taken
 * out, rotation by complex powers of each pair, one output channel at a time. For small scores.
 */
export function naiveAttention(input: AttentionInput): number[] {
  const { queryHeads, keyValueHeads, headDim, valueHeadDim = headDim, firstPosition } = input;
  const rope = input.keySpace === undefined || input.keySpace.space === "as-scored"
    ? undefined
    : input.keySpace.rope;
  const rows = input.queries.length / headDim;
  const vectorAt = (all: ArrayLike<number>, row: number, channels = headDim): number[] =>
    Array.from(all).slice(row * channels, (row + 1) * channels);
  const output: number[] = [];
  for (let row = 0; row < rows; row++) {
    const i = firstPosition + Math.trunc(row / queryHeads);
    const head = Math.trunc(((row % queryHeads) * keyValueHeads) / queryHeads);
    const q = turned(vectorAt(input.queries, row), i, rope);
    const terms: { weight: number; value: number[] }[] = [];
    for (let j = i; j >= 0; j--) {
      const sinks = input.tiers?.sinks ?? 0;
      const window = input.tiers?.window ?? 0;
      const form = j < sinks || i - j < window ? input.exact : input.coded ?? input.exact;
      const k = turned(vectorAt(form.keys, j * keyValueHeads + head), j, rope);
      let s = q.map((x, c) => x * k[c]!).reduce((a, b) => a + b);
      s *= input.scale ?? 1 / Math.sqrt(headDim);
      if (input.softcap) s = input.softcap * Math.tanh(s / input.softcap);
      const value = vectorAt(form.values, j * keyValueHeads + head, valueHeadDim);
      terms.push({ weight: Math.exp(s), value });
    }
    const total = terms.map((term) => term.weight).reduce((a, b) => a + b);
    for (let c = 0; c < valueHeadDim; c++) {
      output.push(
        terms.map((term) => term.weight * term.value[c]!).reduce((a, b) => a + b) / total,
      );
    }
  }
  return output;
}

/** A vector turned for its position: each pair, as a complex number, times e^(i angle) in polar form. */
function turned(x: number[], position: number, rope: RopeParameters | undefined): number[] {
  if (rope === undefined) return x;
  const result = [...x];
  const dims = rope.rotaryDim ?? x.length;
  for (let pair = 0; pair < dims / 2; pair++) {
    const [a, b] = rope.layout === "half" ? [pair, pair + dims / 2] : [pair * 2, pair * 2 + 1];
    const radius = Math.hypot(x[a]!, x[b]!);
    const turn = (position + (rope.positionOffset ?? 0)) / Math.pow(rope.theta, pair * 2 / dims);
    const angle = Math.atan2(x[b]!, x[a]!) + turn;
    result[a] = radius * Math.cos(angle);
    result[b] = radius * Math.sin(angle);
  }
  return result;
}
