import type { Command } from "commander";
import { resolveOptions } from "../src/plan/options.ts";
import { decodeStep, largestStep, type StepSize } from "../src/plan/steps.ts";
import {
  attentionCandidates,
  byCost,
  candidateNames,
  type WeighedCandidate,
} from "../src/plan/choose_attention.ts";
import { CoupletError } from "../src/base/errors.ts";
import type { KeyOptions } from "../src/model/model.ts";
import { kernelFeatures, parseKernelName } from "../src/kernels/name.ts";
import type { LayerPlan, PlanOptions } from "../src/plan/plan.ts";
import { planCache } from "../src/plan/plan_cache.ts";
import { BASE_LIMITS } from "../src/plan/limits.ts";
import { isAsFine, kernelPrecision, type Precision } from "../src/kernels/precision.ts";
import { integerFrom } from "./arguments.ts";
import {
  addCacheOptions,
  type CacheArguments,
  readLimits,
  readPolicyArguments,
  readSizes,
} from "./cache_arguments.ts";
import { type Answer, type Answering, createCommand, EXIT } from "./command.ts";
import { loadKernels } from "./kernels.ts";
import { formatTable } from "./table.ts";

interface ExplainOptions extends CacheArguments {
  readonly headDim: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
}

/** `couplet kernels explain`. */
export function command(answering: Answering): Command {
  return addCacheOptions(
    createCommand("kernels explain", {
      examples: [
        "kernels explain --head-dim 128 --keys c4b8 --values c8b8",
        "kernels explain --head-dim 64 --scheme c4b4 --space as-scored --tokens 32768",
        "kernels explain --head-dim 128 --scheme c8b8 --limit maxComputeWorkgroupStorageSize=8192",
      ],
    })
      .requiredOption("--head-dim <n>", "channels per head", integerFrom(1))
      .option("--query-heads <n>", "query heads", integerFrom(1), 32)
      .option("--kv-heads <n>", "KV heads", integerFrom(1), 8),
  ).action(answering(explainKernels));
}

/** A combination of attention kernels, and whether it was chosen. */
interface ExplainedCandidate {
  readonly kernels: readonly string[];
  /** Pages of a tile. */
  readonly span: number;
  /** Estimated cost, as a multiple of the least. */
  readonly cost: number;
  readonly verdict: "chosen" | "costs more" | "refused";
  /** Why it was refused; absent where it was not. */
  readonly why?: string;
}

const WHAT = "Cannot explain the choice of kernels";

async function explainKernels(args: ExplainOptions): Promise<Answer> {
  const policy = await readPolicyArguments(args, WHAT, args.tokens * args.sequences);
  const limits = readLimits(args) ?? BASE_LIMITS;
  const kernels = await loadKernels(args);
  const options: PlanOptions = {
    shape: {
      layers: 1,
      queryHeads: args.queryHeads,
      keyValueHeads: args.kvHeads,
      headDim: args.headDim,
    },
    // The choice depends on the space, and little on frequencies.
    keys: args.space === "as-scored"
      ? { space: "as-scored" }
      : { space: args.space ?? "pre-rope", rope: { layout: "half", theta: 10000 } } as KeyOptions,
    policy: policy.layers?.[0] ?? { keys: policy.keys, values: policy.values },
    ...readSizes(args),
    kernels,
    limits,
    features: new Set<string>(args.feature),
    precision: args.precision,
  };
  const { layer, error } = planLayer(options);
  const { keys, values } = options.policy;
  const resolved = resolveOptions(options);
  const explain = (step: StepSize) =>
    explainCandidates(
      attentionCandidates(resolved, kernels, limits, resolved.layers[0]!, step)
        .map((candidate) => withinFeatures(candidate, args.feature))
        .map((candidate) => withinPrecision(candidate, args.precision)),
    );
  const decode = explain(decodeStep(resolved));
  const prefill = explain(largestStep(resolved));
  const others = layer === undefined ? undefined : {
    store: layer.storeKeys.name,
    encodeKeys: layer.encodeKeys.name,
    encodeValues: layer.encodeValues.name,
    decodeKeys: layer.decodeKeys.name,
    decodeValues: layer.decodeValues.name,
    load: layer.loadKeys.name,
    combine: layer.combine.name,
    copy: layer.copy.name,
  };
  return {
    data: {
      shape: options.shape,
      policy: options.policy,
      space: options.keys.space,
      limits,
      decode,
      prefill,
      ...(others === undefined ? {} : { others }),
      ...(error === undefined ? {} : { error: { code: error.code, ...error.parts } }),
    },
    text: (width) =>
      [
        `${args.queryHeads} query heads, ${args.kvHeads} KV heads of ${args.headDim} channels, ` +
        `keys ${keys} ${options.keys.space}, values ${values}`,
        "",
        "Attention of one new token a sequence",
        describeCandidates(decode, width),
        "",
        `Attention of several, up to ${args.step}`,
        describeCandidates(prefill, width),
        "",
        ...(others === undefined ? [error!.message] : [
          "The only ones of their kind",
          formatTable(
            Object.entries(others).map(([role, name]) => ["", role, name]),
            { width },
          ),
        ]),
      ].join("\n"),
    exitCode: error === undefined ? EXIT.done : EXIT.failed,
  };
}

/** The layer's plan, or why there is none. */
function planLayer(
  options: PlanOptions,
): { readonly layer?: LayerPlan; readonly error?: CoupletError } {
  try {
    return { layer: planCache(options).layers[0]! };
  } catch (error) {
    // Any other error is in the options, and nothing can be explained.
    if (error instanceof CoupletError && ["kernel", "limits"].includes(error.code)) {
      return { error };
    }
    throw error;
  }
}

/** The candidate, refused where the device lacks a feature that it needs. */
function withinFeatures(
  candidate: WeighedCandidate,
  features: readonly GPUFeatureName[],
): WeighedCandidate {
  const missing = Object.values(candidate.kernels)
    .flatMap(({ name }) => kernelFeatures(parseKernelName(name)))
    .filter((feature) => !features.includes(feature));
  return missing.length === 0
    ? candidate
    : { ...candidate, refused: `it needs the feature ${missing.join(", ")}` };
}

/** The candidate, refused where it has less precision than is asked for. */
function withinPrecision(candidate: WeighedCandidate, precision: Precision): WeighedCandidate {
  const coarser = Object.values(candidate.kernels)
    .map(({ name }) => kernelPrecision(parseKernelName(name)))
    .find((one) => !isAsFine(one, precision));
  return coarser === undefined
    ? candidate
    : { ...candidate, refused: `it rounds more, which --precision ${coarser} allows` };
}

/** All candidates, cheapest first. */
function explainCandidates(
  candidates: readonly WeighedCandidate[],
): readonly ExplainedCandidate[] {
  const sorted = byCost(candidates);
  const chosen = sorted.find(({ refused }) => refused === undefined);
  return sorted.map((candidate) => {
    const { kernels, span, cost, refused } = candidate;
    const verdict = candidate === chosen
      ? "chosen"
      : refused === undefined
      ? "costs more"
      : "refused";
    return {
      kernels: candidateNames(kernels),
      span,
      cost: cost / sorted[0]!.cost,
      verdict,
      ...(refused === undefined ? {} : { why: refused }),
    };
  });
}

/** The candidates by estimated cost, which is 1 for the least, and pages of a tile. */
function describeCandidates(candidates: readonly ExplainedCandidate[], width: number): string {
  if (candidates.length === 0) return "  nothing: no rows of these schemes";
  return formatTable([
    ["", "", "cost", "pages", "kernels"],
    ...candidates.flatMap(({ kernels, span, cost, verdict, why }) => [
      ["", verdict, cost.toFixed(2), `${span}`, kernels.join(" + ")],
      ...(why === undefined ? [] : [["", "", "", "", why]]),
    ]),
  ], { width, right: [2, 3] });
}
