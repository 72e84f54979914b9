/** The costs that the estimate has from no measurement, beside what a GPU's compiler makes of kernels. */
import assert from "node:assert/strict";
import { PUBLISHED, readCounts } from "../../bench/count/results.ts";
import { manifest } from "../../generated/manifest.ts";
import { type KernelNameParts, type KeyOptions, parseKernelName, parseScheme } from "../../mod.ts";
import { attentionCost, UNIT_COSTS } from "../../src/plan/attention_cost.ts";
import { BLOCK_ROWS } from "../../src/kernels/constants.ts";
import { resolveOptions } from "../../src/plan/options.ts";

const HEAD_DIM = 128;
const CONTEXT = 8192;

/** Instructions of a lane in the time that a large GPU loads a byte. */
const WHILE_A_BYTE_LOADS = 7;

const { counts } = await readCounts(PUBLISHED);

function countOf(name: string) {
  return counts.find(({ kernel }) => kernel === name)!;
}

/** The keys that a kernel reads. */
function keysOf(variant: KernelNameParts["variant"]): KeyOptions {
  const rope = { layout: "half", theta: 500000 } as const;
  if (variant === "anchored") return { space: "anchored", rope };
  return variant === "rope" ? { space: "pre-rope", rope } : { space: "as-scored" };
}

/** What the estimate says of a kernel that attends alone. */
function costOf(name: string): number {
  const { schemes: [keys, values], variant } = parseKernelName(name);
  const options = resolveOptions({
    shape: { layers: 1, queryHeads: BLOCK_ROWS, keyValueHeads: 1, headDim: HEAD_DIM },
    policy: { keys: keys!, values: values! },
    keys: keysOf(variant),
    tiers: { sinks: 0, window: 0 },
    capacity: {
      sequences: 1,
      tokens: CONTEXT,
      sequenceTokens: CONTEXT,
      stepTokens: 1,
      appendTokens: 1,
    },
  });
  const attend = manifest.find((kernel) => kernel.name === name)!;
  const candidate = { kernels: { attend }, span: attend.span! };
  const step = { tokens: 1, entries: 1 };
  return attentionCost(options, options.layers[0]!, step, CONTEXT, candidate);
}

Deno.test("UNIT_COSTS: a product is to a gathered code as its instructions are", () => {
  const { codes } = parseScheme("c8b8").layout(HEAD_DIM);
  const [scored] = countOf("attend_c8b8_c8b8_d128_plain").loops;
  const products = BLOCK_ROWS * HEAD_DIM;
  const counted = (scored! - products) / codes / BLOCK_ROWS;
  const ratio = UNIT_COSTS.gathers / UNIT_COSTS.products;
  assert.ok(Math.abs(ratio / counted - 1) < 0.05, `${ratio} beside ${counted}`);
});

Deno.test("UNIT_COSTS: a byte costs what a GPU's lane does meanwhile", () => {
  const { instructions } = countOf("attend_f16_f16_d128_plain");
  const { products, tokens, queryLoads } = UNIT_COSTS;
  const token = 2 * HEAD_DIM * products + tokens + HEAD_DIM / 4 / 8 * queryLoads;
  const meanwhile = UNIT_COSTS.bytes / (token / instructions);
  assert.ok(Math.abs(meanwhile / WHILE_A_BYTE_LOADS - 1) < 0.05, `${meanwhile} instructions`);
});

Deno.test("attentionCost() ranks ways to attend to the same records as a GPU's instructions do", () => {
  const alternatives = Map.groupBy(
    // Integers cost more by estimate, because not all chips have an instruction for them.
    counts.filter(({ kernel }) => kernel.startsWith("attend_") && !/_int\d+$/.test(kernel)),
    ({ kernel }) => {
      const { schemes, variant } = parseKernelName(kernel);
      return `${schemes} ${keysOf(variant).space}`;
    },
  );
  let pairs = 0;
  for (const group of alternatives.values()) {
    for (const dear of group) {
      for (const cheap of group) {
        // Counts that differ by less decide nothing.
        if (dear.instructions < 1.01 * cheap.instructions) continue;
        pairs++;
        assert.ok(
          costOf(dear.kernel) > costOf(cheap.kernel),
          `${dear.kernel} has more instructions than ${cheap.kernel}, and is estimated to be faster`,
        );
      }
    }
  }
  assert.ok(pairs > 10, `${pairs} pairs`);
});
