/** A comparison of schemes for people: a table, what to take, and how to go on. */
import type { ModelPlanOptions } from "../src/models/mod.ts";
import type { CachePlan } from "../src/plan/plan.ts";
import { type CacheBytes, residentBytes } from "../src/plan/sizes.ts";
import type { LayerPolicy } from "../src/schemes/policy.ts";
import { commandLine } from "./command_words.ts";
import {
  type ComparedSchemes,
  type Comparison,
  type Recommendation,
  withoutCalibration,
} from "./compare_schemes.ts";
import { formatBytes } from "./format_bytes.ts";
import { pairName } from "./scheme_pair.ts";
import { formatTable } from "./table.ts";

/** What is described. */
export interface DescribedComparison {
  readonly comparison: Comparison;
  /** The same cache uncompressed; undefined where it cannot be planned. */
  readonly f16: CachePlan | undefined;
  readonly recommended: Recommendation | undefined;
  readonly model: ModelPlanOptions;
  /** Tokens of all sequences. */
  readonly tokens: number;
  /** The command line that was given. */
  readonly words: readonly string[];
}

/** The table, its legend, the recommendation and the next command lines. */
export function describeComparison(described: DescribedComparison, width: number): string {
  const { comparison: { compared, refused }, f16, model } = described;
  const known = compared.filter(({ loss }) => loss !== undefined);
  const unknown = compared.filter(({ loss }) => loss === undefined);
  const lost = known.filter(({ biasLost }) => biasLost);
  return [
    formatTable([
      ["schemes", "bits", "cache", "f16 /", "scratch", "perplexity", "KL", "codebooks", ""],
      ...(f16 === undefined ? [] : [f16Row(f16)]),
      ...known.map((one) => schemeRow(one, f16)),
    ], { width, right: [1, 2, 3, 4, 5, 6] }),
    "",
    "bits, cache: all that is resident, and its bits a channel. scratch: what a step takes besides. " +
    "perplexity, KL: what a small model lost with keys before their rotary embedding " +
    "(docs/choosing.md): yours will differ",
    ...(known.some(({ loss }) => !loss!.everyToken)
      ? ["~ on another text, with exact tokens of unfinished blocks: to compare among themselves"]
      : []),
    ...(lost.length === 0 ? [] : [
      `! The keys of ${model.modelType} have a bias. In keys ${model.keys.space} these schemes do not ` +
      "remove it from all channels, and may lose most of the keys",
    ]),
    ...(unknown.length === 0 ? [] : [`No loss is published of ${listed(unknown)}`]),
    ...(refused.length === 0 ? [] : [`Not possible here: ${listed(refused)}: --scheme says why`]),
    "",
    ...advice(described, width),
  ].join("\n");
}

function f16Row({ bytes, effectiveBits }: CachePlan): string[] {
  return ["f16", effectiveBits.toFixed(2), ...sizes(bytes, bytes), "", "", "none", ""];
}

function schemeRow(
  { keys, values, bytes, effectiveBits, calibration, loss, biasLost }: ComparedSchemes,
  f16: CachePlan | undefined,
): string[] {
  const { perplexity, divergence, everyToken } = loss!;
  return [
    pairName({ keys, values }),
    effectiveBits.toFixed(2),
    ...sizes(bytes, f16?.bytes),
    `${everyToken ? "" : "~ "}${perplexity < 0 ? "" : "+"}${(100 * perplexity).toFixed(1)} %`,
    divergence.toFixed(4),
    calibration ? "learned" : "none",
    biasLost ? "!" : "",
  ];
}

/** What stays resident, how many times smaller than f16 that is, and the scratch. */
function sizes(bytes: CacheBytes, f16: CacheBytes | undefined): string[] {
  return [
    formatBytes(residentBytes(bytes)),
    f16 === undefined ? "" : (residentBytes(f16) / residentBytes(bytes)).toFixed(1),
    formatBytes(bytes.scratch),
  ];
}

/** What to take, why, and the command lines to go on with. */
function advice(
  { comparison, recommended, tokens, words }: DescribedComparison,
  width: number,
): string[] {
  if (recommended === undefined) {
    return [
      "Of none that can be planned is a comparable loss published: measure them, docs/evaluation.md",
    ];
  }
  const policy = recommended.recipe === undefined
    ? policyWords(recommended)
    : ["--recipe", recommended.recipe];
  const without = recommended.calibration ? withoutCalibration(comparison) : undefined;
  return [
    `Recommended: ${pairName(recommended)}${
      recommended.recipe === undefined
        ? ""
        : `, the recipe ${recommended.recipe} for ${tokens} tokens`
    }: ${recommended.why}`,
    commandLine([...words, ...policy], width),
    ...(recommended.calibration
      ? [
        "It needs codebooks, learned from samples of the model's keys and values:",
        commandLine([
          ..."calibrate samples samples.safetensors".split(" "),
          ...policy,
          ...(recommended.recipe === undefined ? [] : ["--length", `${tokens}`]),
          ..."--out codebooks.safetensors".split(" "),
        ], width),
      ]
      : []),
    ...(without === undefined ? [] : [
      `Without calibration: ${pairName(without)}`,
      commandLine([...words, ...policyWords(without)], width),
    ]),
  ];
}

function policyWords({ keys, values }: LayerPolicy): string[] {
  return keys === values ? ["--scheme", keys] : ["--keys", keys, "--values", values];
}

function listed(pairs: readonly LayerPolicy[]): string {
  return pairs.map(pairName).join(", ");
}
