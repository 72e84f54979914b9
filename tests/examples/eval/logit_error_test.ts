import assert from "node:assert/strict";
import { rotate } from "@couplet/kv";
import { LogitErrors } from "../../../examples/eval/logit_error.ts";
import { type ModelConfig, onlyRope, parseConfig } from "../../../examples/engine/mod.ts";
import { TINY } from "../../helpers/llama.ts";
import { numbers } from "../../helpers/reference.ts";

const CONFIG: ModelConfig = parseConfig({ ...TINY, num_attention_heads: 4 });
const { queryHeads, keyValueHeads, headDim } = CONFIG;
const TOKENS = 5;
const NO_TIERS = { tiers: { sinks: 0, window: 0 }, block: 1 };

/** Zeros but for the vectors of some tokens of the first KV head. */
function differences(vectors: Readonly<Record<number, readonly number[]>>) {
  const all = new Float32Array(TOKENS * keyValueHeads * headDim);
  for (const [token, vector] of Object.entries(vectors)) {
    all.set(vector, Number(token) * keyValueHeads * headDim);
  }
  return all;
}

function errorsOf(
  queries: Float32Array<ArrayBuffer>,
  changed: Float32Array<ArrayBuffer>,
  coded: Parameters<LogitErrors["add"]>[2],
): readonly number[] {
  const errors = new LogitErrors(CONFIG);
  errors.add(queries, changed, coded);
  return errors.errors();
}

const queries = numbers(1, TOKENS * queryHeads * headDim);
const vector = [...numbers(2, headDim)];

Deno.test("LogitErrors: what all keys have in common changes nothing", () => {
  const same = differences(
    Object.fromEntries(Array.from({ length: TOKENS }, (_, i) => [i, vector])),
  );
  for (const error of errorsOf(queries, same, { keySpace: "as-scored", ...NO_TIERS })) {
    assert.ok(error < 1e-6, `${error}`);
  }
});

Deno.test("LogitErrors: the definition, written out", () => {
  const { parameters: rope } = onlyRope(CONFIG);
  for (const keySpace of ["as-scored", "pre-rope"] as const) {
    let squares = 0;
    let pairs = 0;
    for (let position = 0; position < TOKENS; position++) {
      for (let head = 0; head < queryHeads / keyValueHeads; head++) {
        const at = (position * queryHeads + head) * headDim;
        const query = rotate([...queries.subarray(at, at + headDim)], position, rope);
        // The key of token 2 alone is wrong.
        const logits = Array.from({ length: position + 1 }, (_, token) => {
          const key = keySpace === "pre-rope" ? rotate(vector, token, rope) : vector;
          const dot = query.reduce((sum, number, i) => sum + number * key[i]!, 0);
          return token === 2 ? dot / Math.sqrt(headDim) : 0;
        });
        const mean = logits.reduce((sum, logit) => sum + logit, 0) / logits.length;
        squares += logits.reduce((sum, logit) => sum + (logit - mean) ** 2, 0);
        pairs += logits.length;
      }
    }
    const found = errorsOf(queries, differences({ 2: vector }), { keySpace, ...NO_TIERS });
    assert.ok(Math.abs(found[0]! - Math.sqrt(squares / pairs)) < 1e-5, `${keySpace}: ${found[0]}`);
    assert.equal(found[1], 0, "the other KV head has no error");
  }
});

Deno.test("LogitErrors: tokens that queries see exactly differ by nothing", () => {
  const changed = differences({ 1: vector, 2: vector });
  const [codes, windowed, exact] = [0, 2, TOKENS].map((window) =>
    errorsOf(queries, changed, {
      keySpace: "pre-rope",
      tiers: { sinks: 0, window },
      block: 1,
    })[0]!
  );
  assert.ok(windowed! < codes! && windowed! > 0, `${windowed} of ${codes}`);
  assert.equal(exact, 0);
  assert.equal(
    errorsOf(queries, changed, {
      keySpace: "pre-rope",
      tiers: { sinks: 0, window: 0 },
      block: 8,
    })[0],
    0,
    "an unfinished block",
  );
});

Deno.test("LogitErrors without contexts has no errors", () => {
  assert.deepEqual(new LogitErrors(CONFIG).errors(), []);
});
