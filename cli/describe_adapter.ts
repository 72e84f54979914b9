/** An adapter for people: what works on it, what does not, and why. */
import { PAGE_TOKENS } from "../src/kernels/constants.ts";
import { pageBytes } from "../src/plan/sizes.ts";
import type { SchemeId } from "../src/schemes/scheme.ts";
import { groupBy } from "../src/base/group_by.ts";
import type { AdapterFacts, Lack } from "./adapter_facts.ts";
import { kernels } from "./kernels.ts";
import { formatBytes } from "./format_bytes.ts";
import { formatTable } from "./table.ts";

/** Features that something gets better with, and what that is. */
const FEATURES: readonly (readonly [feature: string, use: string])[] = [
  ["shader-f16", 'attention in f16, for plans with precision: "f16" (--feature shader-f16)'],
  ["subgroups", "sums across lanes without workgroup memory (--feature subgroups)"],
  ["timestamp-query", "the time of each kernel: profiles, tune() and bench"],
];

/** The head dimension for which lengths are told. */
const HEAD_DIM = 128;

/** What works on an adapter, in a table under its name. */
export function describeAdapter(facts: AdapterFacts, width: number): string {
  const { name, request, software, limits, check } = facts;
  const rows: readonly (readonly [title: string, text: string])[] = [
    ["works", describeCheck(check)],
    ...(software
      ? [["speed", "computes on the CPU: results are right, times are not a GPU's"] as const]
      : []),
    ["schemes", describeSchemes(facts)],
    ["kernels", `${facts.kernels} of ${kernels.length} run`],
    ...facts.lacks.map((lack) => ["", describeLack(lack, facts)] as const),
    ...FEATURES.map(([feature, use], i) =>
      [
        i === 0 ? "features" : "",
        `${feature}: ${facts.features.includes(feature) ? "yes" : "no"}; ${use}`,
      ] as const
    ),
    [
      "buffers",
      `up to ${formatBytes(limits.maxBufferSize)}, bound up to ${
        formatBytes(limits.maxStorageBufferBindingSize)
      } at once: all sequences together hold up to ${
        mostTokens("f16", limits)
      } tokens in f16, and ${mostTokens("c8b8", limits)} in c8b8, at ${HEAD_DIM} channels`,
    ],
    ["workgroups", `${formatBytes(limits.maxComputeWorkgroupStorageSize)} of memory`],
  ];
  return [
    `${name} (${request})`,
    formatTable(rows.map((row) => ["", ...row]), { width }),
  ].join("\n");
}

function describeCheck(check: AdapterFacts["check"]): string {
  return "failed" in check
    ? `NO: ${check.failed}`
    : `yes: attention on codes agrees with float64, at most ${check.error.toExponential(1)} off`;
}

function describeSchemes({ unplannable }: AdapterFacts): string {
  if (unplannable.length === 0) return "all run, at all their head dimensions";
  const byHeadDim = groupBy(unplannable, ({ headDim }) => headDim);
  return `all run, except ${
    [...byHeadDim].map(([headDim, own]) =>
      `at ${headDim} channels ${own.map(({ scheme }) => scheme).join(", ")}`
    ).join("; ")
  }`;
}

/** How limits that kernels run into are called. */
const LIMITS: Readonly<Record<string, string>> = {
  maxComputeWorkgroupStorageSize: "bytes of workgroup memory",
  maxStorageBuffersPerShaderStage: "storage buffers",
};

function describeLack({ what, kernels, needed }: Lack, { limits }: AdapterFacts): string {
  const need = kernels === 1 ? "1 needs" : `${kernels} need`;
  return needed === undefined
    ? `${need} the feature ${what}; others do the same without`
    : `${need} up to ${needed} ${LIMITS[what]}, and it offers ${
      limits[what as keyof AdapterFacts["limits"]]
    }`;
}

/** Tokens whose records of one KV head fit a binding: the planner gives each head its own if it must. */
function mostTokens(
  scheme: SchemeId,
  { maxBufferSize, maxStorageBufferBindingSize }: AdapterFacts["limits"],
): string {
  const layer = { keys: scheme, values: scheme, headDim: HEAD_DIM, valueHeadDim: HEAD_DIM };
  const room = Math.min(maxBufferSize, maxStorageBufferBindingSize);
  const pages = Math.floor(room / pageBytes(layer, "keys", 1));
  return (pages * PAGE_TOKENS).toLocaleString("en");
}
