// What a program in TypeScript sees of the package; compiled by tsc, in a project that has only what npm installed.
import { type CachePlan, CoupletError, planCache, type PlanOptions } from "@couplet/kv";
import { kernels } from "@couplet/kv/kernels/c8b8_d128";
import { generateKernels, writeFiles } from "@couplet/kv/generate";
import { directoryStore } from "@couplet/kv/stores/directory";

const options: PlanOptions = {
  shape: { layers: 2, queryHeads: 8, keyValueHeads: 2, headDim: 128 },
  policy: { keys: "c8b8", values: "c8b8" },
  keys: { space: "as-scored" },
  tiers: { sinks: 4, window: 64 },
  capacity: { sequences: 1, tokens: 4096, sequenceTokens: 4096, stepTokens: 64, appendTokens: 64 },
  kernels,
};
export const plan: CachePlan = planCache(options);
export const store: { get(key: string): Promise<Uint8Array | undefined> } = directoryStore(".");
export const code: "shape" | undefined =
  ((error: unknown) =>
    error instanceof CoupletError && error.code === "shape" ? error.code : undefined)(undefined);

export const written: readonly string[] = writeFiles(
  new URL("file:///my_kernels/"),
  generateKernels({ schemes: ["c4b6"], headDims: [16], language: "javascript" }),
).missing;

// Types that are `any` would let these pass.
// @ts-expect-error a plan takes kernels
planCache({ ...options, kernels: undefined });
// @ts-expect-error there is no such field
export const nothing: number = plan.nothing;
// @ts-expect-error there is no such language
generateKernels({ schemes: ["c4b6"], headDims: [16], language: "python" });
