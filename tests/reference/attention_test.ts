import assert from "node:assert/strict";
import { CoupletError } from "../../src/base/errors.ts";
import { attend, type AttentionInput } from "../../src/reference/attention.ts";
import { close, naiveAttention, numbers } from "../helpers/reference.ts";

const shape = { queryHeads: 4, keyValueHeads: 2, headDim: 8 };
const TOKENS = 11;
const kv = (seed: number) => numbers(seed, TOKENS * shape.keyValueHeads * shape.headDim);
const values = (seed: number, channels: number) =>
  numbers(seed, TOKENS * shape.keyValueHeads * channels);

function input(queryTokens: number, more: Partial<AttentionInput> = {}): AttentionInput {
  return {
    ...shape,
    queries: numbers(1, queryTokens * shape.queryHeads * shape.headDim),
    firstPosition: TOKENS - queryTokens,
    exact: { keys: kv(2), values: kv(3) },
    ...more,
  };
}

for (
  const [name, more] of Object.entries<Partial<AttentionInput>>({
    "exact tokens": {},
    "a scale and a softcap": { scale: 0.7, softcap: 1.5 },
    "coded tokens": { coded: { keys: kv(4), values: kv(5) } },
    "sinks": { coded: { keys: kv(4), values: kv(5) }, tiers: { sinks: 3, window: 0 } },
    "a window": { coded: { keys: kv(4), values: kv(5) }, tiers: { sinks: 0, window: 4 } },
    "sinks and a window that overlap": {
      coded: { keys: kv(4), values: kv(5) },
      tiers: { sinks: 6, window: 8 },
    },
    "keys before a half-split rotation": {
      coded: { keys: kv(4), values: kv(5) },
      tiers: { sinks: 1, window: 2 },
      keySpace: {
        space: "pre-rope",
        rope: { layout: "half", theta: 50, rotaryDim: 6, positionOffset: 3 },
      },
    },
    "values of more channels than keys": {
      valueHeadDim: 12,
      exact: { keys: kv(2), values: values(3, 12) },
      coded: { keys: kv(4), values: values(5, 12) },
      tiers: { sinks: 3, window: 4 },
    },
    "values of fewer channels than keys": {
      valueHeadDim: 3,
      exact: { keys: kv(2), values: values(3, 3) },
    },
    "keys before an interleaved rotation": {
      keySpace: { space: "pre-rope", rope: { layout: "interleaved", theta: 50 } },
    },
  })
) {
  Deno.test(`attend equals naive softmax attention: ${name}`, () => {
    for (const queryTokens of [1, 3, TOKENS]) {
      const given = input(queryTokens, more);
      close(attend(given).output, naiveAttention(given), 1e-12);
    }
  });
}

Deno.test("attend survives scores whose exponentials overflow", () => {
  const given = input(2, { scale: 1e4 });
  const { output, logSumExp } = attend(given);
  assert.ok(output.every(Number.isFinite) && logSumExp.every(Number.isFinite));
  const { values } = given.exact;
  assert.ok(output.every((value) => Math.abs(value) <= Math.max(...Array.from(values, Math.abs))));
});

Deno.test("attend: log-sum-exp merges parts of the tokens into the whole", () => {
  // One query over tokens [0, 5) and [5, 11), as if each part were a sequence of its own.
  const whole = input(1);
  const at = 5 * shape.keyValueHeads * shape.headDim;
  const { keys, values } = whole.exact;
  const first = attend({
    ...whole,
    firstPosition: 4,
    exact: { keys: Array.from(keys).slice(0, at), values: Array.from(values).slice(0, at) },
  });
  const second = attend({
    ...whole,
    firstPosition: TOKENS - 6,
    exact: { keys: Array.from(keys).slice(at), values: Array.from(values).slice(at) },
  });
  const expected = attend(whole);
  const merged = expected.output.map((_, i) => {
    const head = Math.floor(i / shape.headDim);
    const a = Math.exp(first.logSumExp[head]!);
    const b = Math.exp(second.logSumExp[head]!);
    return (a * first.output[i]! + b * second.output[i]!) / (a + b);
  });
  close(merged, expected.output, 1e-12);
});

Deno.test("attend refuses sizes that do not match", () => {
  const refused: Partial<AttentionInput>[] = [
    { queries: numbers(1, 7) },
    { keyValueHeads: 3 },
    { firstPosition: TOKENS },
    { firstPosition: -1 },
    { coded: { keys: kv(4), values: [] } },
  ];
  for (const more of refused) {
    assert.throws(
      () => attend(input(1, more)),
      (error) => error instanceof CoupletError && error.code === "shape",
    );
  }
});
