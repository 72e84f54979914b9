/**
 * The examples in the documentation of entries for kernels, each a program that runs as it stands.
 */
import { kernelSetEntry } from "../../src/kernels/set.ts";
import { parseScheme } from "../../src/schemes/parse_scheme.ts";

/** The example of an entry: a plan. */
export interface PlanExample {
  /** The entry's specifier. */
  readonly entry: string;
  /** What it exports. */
  readonly exported: "kernels" | "manifest";
  /** Scheme of the keys. */
  readonly keys: string;
  /** Scheme of the values. */
  readonly values: string;
  /** Channels per head. */
  readonly headDim: number;
}

/** Plans a cache: of these schemes, or, where they are for spans, with spans of an image. */
export function planExample({ entry, exported, keys, values, headDim }: PlanExample): string {
  const forSpans = [keys, values].some((id) => parseScheme(id).forSpans);
  const others = forSpans
    ? `import { kernels as others } from "${kernelSetEntry(`f16_d${headDim}`)}";\n`
    : "";
  const own = `{ keys: "${keys}", values: "${values}"`;
  const policy = forSpans
    ? `policy: { keys: "f16", values: "f16" },
  spans: spanKinds({ image: ${own}, tokens: 576, count: 1 } }),`
    : `policy: ${own} },`;
  const kernels = forSpans
    ? "kernels: [...kernels, ...others]"
    : exported === "kernels"
    ? "kernels"
    : `kernels: ${exported}`;
  return `import { planCache${forSpans ? ", spanKinds" : ""} } from "@couplet/kv";
import { ${exported} } from "${entry}";
${others}
const plan = planCache({
  shape: { layers: 2, queryHeads: 8, keyValueHeads: 2, headDim: ${headDim} },
  ${policy}
  keys: { space: "as-scored" },
  tiers: { sinks: 4, window: 64 },
  capacity: { sequences: 1, tokens: 4096, sequenceTokens: 4096, stepTokens: 64, appendTokens: 64 },
  ${kernels},
});
console.log(plan.effectiveBits);`;
}

/** Learns codebooks on a device. */
export function kmeansExample(): string {
  return `import { calibrate } from "@couplet/kv";
import { kernels } from "${kernelSetEntry("kmeans")}";

const device = await (await navigator.gpu.requestAdapter())!.requestDevice();
// [tokens][keyValueHeads][headDim]
const values = Float32Array.from({ length: 256 * 2 * 64 }, (_, i) => Math.sin(i * i));
const set = await calibrate({
  samples: [{ layer: 0, side: "values", keyValueHeads: 2, headDim: 64, values }],
  schemes: { keys: [], values: ["c4b4"] },
  keySpace: "pre-rope",
  model: { name: "my model", digest: "its hash" },
  seed: 1,
  device,
  kernels,
});
console.log(set.codebooks.length);`;
}
