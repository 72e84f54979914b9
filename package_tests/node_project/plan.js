// Imports the package in Node and plans a cache with one set of kernels; prints the plan's kernels.
import { planCache } from "@couplet/kv";
import { kernels } from "@couplet/kv/kernels/c8b8_d128";

const { layers } = planCache({
  shape: { layers: 1, queryHeads: 8, keyValueHeads: 2, headDim: 128 },
  policy: { keys: "c8b8", values: "c8b8" },
  keys: { space: "as-scored" },
  tiers: { sinks: 4, window: 64 },
  capacity: { sequences: 1, tokens: 4096, sequenceTokens: 4096, stepTokens: 64, appendTokens: 64 },
  kernels,
});
const { storeKeys, encodeKeys } = layers[0];
const { wgsl } = await encodeKeys.load();
console.log(
  JSON.stringify({ kernels: kernels.length, chosen: [storeKeys.name, encodeKeys.name], wgsl }),
);
