/** What universal codes cost the fixture model where every token is coded, the incomplete block's too. */
import assert from "node:assert/strict";
import { parseScheme, type RopeParameters, rotate, type SchemeId } from "../../mod.ts";
import { loadModel } from "../../examples/llama/mod.ts";
import { referenceForward } from "../../examples/llama/reference.ts";
import { spreadContexts, stateOfTheUnion } from "../../examples/demo/texts.ts";
import { fromFloat16Array } from "../../src/base/float16.ts";
import { roundTrip } from "../../src/schemes/round_trip.ts";
import { FIXTURE } from "../helpers/llama.ts";

/** Four blocks, enough to tell good codes from bad ones. */
const CONTEXT = 256;

const checkpoint = await loadModel(FIXTURE);
const { keyValueHeads, headDim, ropeTheta } = checkpoint.config;
const rope: RopeParameters = { layout: "half", theta: ropeTheta };
const tokenIds = checkpoint.tokenizer.encode((await stateOfTheUnion()).text);
const [context] = spreadContexts("evaluate on", tokenIds, CONTEXT, 1);

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Codes all vectors of one layer and side, block by block and head by head, in place. */
function code(scheme: SchemeId, side: "keys" | "values", vectors: Float64Array): void {
  const parsed = parseScheme(scheme);
  const centroids = fromFloat16Array(parsed.codebookSpec!.definition!(headDim));
  const at = (token: number, head: number) => (token * keyValueHeads + head) * headDim;
  for (let head = 0; head < keyValueHeads; head++) {
    for (let first = 0; first < CONTEXT; first += 64) {
      const block = Array.from({ length: 64 }, (_, i) => {
        const start = at(first + i, head);
        return vectors.slice(start, start + headDim);
      });
      const decoded = roundTrip(parsed, block, {
        centroids,
        ...(side === "keys"
          ? { turn: (vector, token, way) => rotate(vector, way * (first + token), rope) }
          : {}),
      });
      decoded.forEach((vector, i) => vectors.set(vector, at(first + i, head)));
    }
  }
}

const exact = mean(referenceForward(checkpoint, context!).losses);

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
