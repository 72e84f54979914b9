import assert from "node:assert/strict";
import { CoupletError, type KeySpace, parseScheme, type Policy, type SchemeId } from "@couplet/kv";
import { CodedRun, policyCoding } from "../../../examples/eval/coded_run.ts";
import { SideCoder } from "../../../examples/eval/side_coder.ts";
import { loadModel } from "../../../examples/engine/mod.ts";
import { referenceForward } from "../../../examples/engine/reference.ts";
import { FIXTURE, largestDifference, readExpected } from "../../helpers/llama.ts";

const checkpoint = await loadModel(FIXTURE);
const { vocabularySize } = checkpoint.config;
const tokenIds = readExpected().tokenIds.slice(0, 80);
const exact = referenceForward(checkpoint, tokenIds);

/** A run's logits over the whole text, given in one piece or in two. */
async function logitsOf(run: CodedRun, pieces: readonly number[]): Promise<readonly number[]> {
  const sequence = run.cache.createSequence();
  let at = 0;
  for (const length of pieces.slice(0, -1)) {
    await run.forward([{ sequence, tokenIds: tokenIds.slice(at, at += length) }], {});
  }
  const { logits } = await run.forward([{ sequence, tokenIds: tokenIds.slice(at) }], {
    logits: "all",
  });
  return [...logits![0]!];
}

function codedRun(policy: Policy, keySpace: KeySpace): CodedRun {
  return new CodedRun(checkpoint, policyCoding(checkpoint.config, { policy, keySpace }));
}

function uniform(scheme: SchemeId): Policy {
  return { keys: scheme, values: scheme };
}

Deno.test("CodedRun without a coding is the exact model", async () => {
  const logits = await logitsOf(new CodedRun(checkpoint), [80]);
  assert.ok(largestDifference(logits, exact.logits) < 1e-5);
});

Deno.test("CodedRun: a text in pieces is as in one, for the tokens of the last", async () => {
  const run = codedRun(uniform("u8b8"), "pre-rope");
  const whole = await logitsOf(run, [80]);
  const parts = await logitsOf(run, [30, 45, 5]);
  assert.equal(parts.length, 5 * vocabularySize);
  assert.deepEqual(parts, whole.slice(-parts.length));
});

for (const keySpace of ["pre-rope", "as-scored"] as const) {
  Deno.test(`CodedRun codes the tokens of an unfinished block, ${keySpace}`, async () => {
    const run = codedRun(uniform("u8b8"), keySpace);
    const sequence = run.cache.createSequence();
    const text = tokenIds.slice(0, 20);
    await run.forward([{ sequence, tokenIds: text }], { logits: "all" });
    const contexts = run.contexts([sequence]);
    for (const side of ["keys", "values"] as const) {
      const { first, vectors } = (await contexts.decode(0, 1, side))!;
      assert.equal(first, 0);
      assert.equal(vectors.length, 20 * 2 * 64);
    }
    const change = largestDifference(await logitsOf(run, [80]), exact.logits);
    assert.ok(change > 0.1 && change < 20, `${change}`);
  });

  Deno.test(`CodedRun loses nothing but f16's rounding with f16, ${keySpace}`, async () => {
    const run = codedRun(uniform("f16"), keySpace);
    const change = largestDifference(await logitsOf(run, [80]), exact.logits);
    assert.ok(change > 0 && change < 0.02, `${change}`);
  });
}

Deno.test("CodedRun: a layer's own schemes, and what is read of vectors as they were given", async () => {
  const policy: Policy = { ...uniform("f16"), layers: { 2: { keys: "u8b8", values: "f16" } } };
  const run = codedRun(policy, "pre-rope");
  const sequence = run.cache.createSequence();
  const { keys, values, queries } = await run.forward([{ sequence, tokenIds }], {
    queries: true,
    keys: true,
    values: true,
  });
  assert.equal(queries![2]!.length, exact.queries[2]!.length);
  const contexts = run.contexts([sequence]);
  for (
    const [given, layer, side, most, least] of [
      [keys, 1, "keys", 1e-2, 0],
      [keys, 2, "keys", 100, 0.5],
      [values, 2, "values", 1e-2, 0],
    ] as const
  ) {
    const { vectors } = (await contexts.decode(0, layer, side))!;
    const change = largestDifference(vectors, given![layer]!);
    assert.ok(change >= least && change < most, `${layer} ${side}: ${change}`);
  }
  assert.ok(largestDifference(keys![0]!, exact.keys[0]!) < 1e-5);
  assert.deepEqual(run.codeUsage([sequence]), [], "nothing is learned");
});

Deno.test("SideCoder: each scheme codes fewer tokens than its block, each head by itself", () => {
  const vectors = Float32Array.from(exact.values[1]!.subarray(0, 3 * 2 * 64));
  for (
    const scheme of ["u8b8", "kc2", "kc2p8", "kc1p2", "zc3", "kh2", "t1b2", "q4", "f16"] as const
  ) {
    const coder = new SideCoder({
      scheme,
      layer: 1,
      side: "values",
      keyValueHeads: 2,
      headDim: 64,
      keys: { space: "as-scored" },
      codebooks: undefined,
    });
    const { decoded, codes } = coder.code(vectors);
    const energy = vectors.reduce((sum, value) => sum + value ** 2, 0);
    const error = decoded.reduce((sum, value, i) => sum + (value - vectors[i]!) ** 2, 0);
    assert.ok(error < 0.7 * energy, `${scheme} loses ${error / energy}`);
    const places = parseScheme(scheme).layout(64).codes;
    assert.deepEqual(codes.map(({ length }) => length), [3 * places, 3 * places], scheme);
    const alone = coder.code([...vectors].map((value, i) => i % 128 < 64 ? value : 0));
    for (let i = 0; i < decoded.length; i++) {
      if (i % 128 < 64) assert.equal(alone.decoded[i], decoded[i], scheme);
    }
  }
});

Deno.test("CodedRun refuses a learned scheme without its codebooks", () => {
  assert.throws(
    () => codedRun(uniform("c4b8"), "pre-rope"),
    (error) => error instanceof CoupletError && error.code === "codebook",
  );
});
