/** What universal codes cost the fixture model where every token is coded, the incomplete block's too. */
import assert from "node:assert/strict";
import { parseScheme, type RopeParameters, rotate, type SchemeId } from "../../mod.ts";
import { loadModel, onlyRope } from "../../examples/engine/mod.ts";
import { logSumExp, referenceForward } from "../../examples/engine/reference.ts";
import { spreadContexts, stateOfTheUnion } from "../../examples/demo/texts.ts";
import { fromFloat16Array } from "../../src/base/float16.ts";
import { roundTrip } from "../../src/schemes/round_trip.ts";
import { FIXTURE } from "../helpers/llama.ts";

/** Four blocks, enough to tell good codes from bad ones. */
const CONTEXT = 256;

const checkpoint = await loadModel(FIXTURE);
const { keyValueHeads, headDim } = checkpoint.config;
const rope: RopeParameters = onlyRope(checkpoint.config).parameters;
const tokenIds = checkpoint.tokenizer.encode((await stateOfTheUnion()).text);
const [context] = spreadContexts("evaluate on", tokenIds, CONTEXT, 1);

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/**
 * Codes all vectors of one layer and side, block by block and head by head, in place.
 *
 * @param offsets What each channel has in addition while it is coded.
 */
function code(
  scheme: SchemeId,
  side: "keys" | "values",
  vectors: Float64Array,
  offsets?: readonly number[],
): void {
  const parsed = parseScheme(scheme);
  const centroids = fromFloat16Array(parsed.codebookSpec!.definition!(headDim));
  const at = (token: number, head: number) => (token * keyValueHeads + head) * headDim;
  for (let head = 0; head < keyValueHeads; head++) {
    for (let first = 0; first < CONTEXT; first += 64) {
      const block = Array.from({ length: 64 }, (_, i) => {
        const start = at(first + i, head);
        const vector = vectors.slice(start, start + headDim);
        return offsets === undefined ? vector : vector.map((value, c) => value + offsets[c]!);
      });
      const decoded = roundTrip(parsed, block, {
        centroids,
        ...(side === "keys"
          ? { turn: (vector, token, way) => rotate(vector, way * (first + token), rope) }
          : {}),
      });
      decoded.forEach((vector, i) => {
        const own = offsets === undefined ? vector : vector.map((value, c) => value - offsets[c]!);
        vectors.set(own, at(first + i, head));
      });
    }
  }
}

const exactly = referenceForward(checkpoint, context!);
const exact = mean(exactly.losses);

/** KL divergence from the exact model, in nats per token. */
function divergence(logits: Float64Array): number {
  const { vocabularySize } = checkpoint.config;
  let sum = 0;
  for (let first = 0; first < logits.length; first += vocabularySize) {
    const [own, other] = [exactly.logits, logits].map((all) => {
      const row = all.subarray(first, first + vocabularySize);
      const total = logSumExp(row);
      return row.map((logit) => logit - total);
    }) as [Float64Array, Float64Array];
    own.forEach((logit, i) => sum += Math.exp(logit) * (logit - other[i]!));
  }
  return sum * vocabularySize / logits.length;
}

Deno.test("u8b8 raises the fixture's perplexity by less than 20 %, every token coded", () => {
  const { losses } = referenceForward(
    checkpoint,
    context!,
    (_, side, vectors) => code("u8b8", side, vectors),
  );
  const change = Math.exp(mean(losses) - exact) - 1;
  console.log(`perplexity ${(100 * change).toFixed(1)} % higher`);
  assert.ok(change > 0 && change < 0.2, `${100 * change} %`);
});

const ONE = Array.from({ length: headDim }, (_, channel) => channel === 5 ? 2000 : 0);
const ALL = Array.from({ length: headDim }, (_, channel) => channel % 3 === 0 ? -2000 : 2000);

for (const scheme of ["u8b8", "u4b8"] as const) {
  for (const side of ["keys", "values"] as const) {
    Deno.test(`${scheme} loses at most 1.1 times as much of the fixture model where channels of its ${side} have an offset of 2,000`, () => {
      const lost = [undefined, ONE, ALL].map((offsets) => {
        const { logits } = referenceForward(checkpoint, context!, (_, own, vectors) => {
          if (own === side) code(scheme, side, vectors, offsets);
        });
        return divergence(logits);
      });
      console.log(`divergence ${lost.map((nats) => nats.toFixed(4)).join(", ")}`);
      assert.ok(Math.max(...lost) < 1.1 * lost[0]!, `${lost}`);
    });
  }
}
