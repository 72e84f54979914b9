import assert from "node:assert/strict";
import { type CacheOptions, planCache, type SchemeId } from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import {
  BIT_LENGTHS,
  codedBits,
  effectiveBits,
  nominalBits,
} from "../../../examples/eval/effective_bits.ts";

function cache(scheme: SchemeId, shareHeads = false): CacheOptions {
  return {
    shape: { layers: 4, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
    keys: { space: "as-scored" },
    policy: { keys: scheme, values: scheme, shareHeads },
    tiers: { sinks: 0, window: 0 },
    capacity: {
      sequences: 1,
      tokens: 512,
      sequenceTokens: 512,
      stepTokens: 32,
      appendTokens: 32,
    },
  };
}

for (const scheme of ["c4b8", "u8b8", "f16"] as const) {
  Deno.test(`codedBits and nominalBits of ${scheme} are the planner's, without exact tiers`, () => {
    const options = cache(scheme);
    const plan = planCache({ ...options, kernels: manifest });
    const { bytes: { total, scratch, exact } } = plan;
    const bits = (8 * (total - scratch - exact)) / (512 * 4 * 2 * 2 * 64);
    assert.equal(codedBits(options, 1, 512), bits);
    assert.equal(nominalBits(options), plan.nominalBits);
    const [first] = effectiveBits(options, [1], false);
    assert.equal(first!.bits, plan.effectiveBits);
  });
}

Deno.test("effectiveBits: sequences and lengths share the codebooks", () => {
  const found = effectiveBits(cache("c8b8"), [1, 8], true);
  assert.deepEqual(
    found.map(({ sequences, tokens }) => [sequences, tokens]),
    [1, 8].flatMap((sequences) => BIT_LENGTHS.map((tokens) => [sequences, tokens])),
  );
  // 260 bytes a channel, for 512 and for eight times as many tokens.
  const codebooks = [0, 3].map((i) => found[i]!.bits - 1);
  assert.ok(codebooks[0]! > (8 * 260) / 512 && codebooks[0]! < 5);
  assert.ok(codebooks[1]! > (8 * 260) / 4096 && codebooks[1]! < 1);
});

Deno.test("effectiveBits: heads that share centroids need those of one", () => {
  const bits = (scheme: SchemeId, shareHeads: boolean) =>
    effectiveBits(cache(scheme, shareHeads), [1], true)[0]!.bits;
  // Two stages of 256 centroids, a byte a channel, for one of two heads.
  const saved = (8 * 512) / 512 / 2;
  assert.ok(Math.abs(bits("n16b8x2", false) - bits("n16b8x2", true) - saved) < 1e-12);
  assert.equal(bits("c8b8", true), bits("c8b8", false), "these are not added");
});
