import type { Command } from "commander";
import { candidateNames } from "../src/plan/choose_attention.ts";
import type { CacheBytes, LayerBytes } from "../src/plan/sizes.ts";
import { groupBy } from "../src/base/group_by.ts";
import type { KernelInfo } from "../src/kernels/kernel.ts";
import type { CachePlan, PlanOptions } from "../src/plan/plan.ts";
import { BASE_LIMITS } from "../src/plan/limits.ts";
import { SIDES } from "../src/model/side.ts";
import {
  addCacheOptions,
  type CacheArguments,
  namesNoPolicy,
  readPolicyArguments,
  readSizes,
} from "./cache_arguments.ts";
import { type Answer, type Answering, createCommand } from "./command.ts";
import { compareSchemes, recommend } from "./compare_schemes.ts";
import { describeModel, ranges } from "./describe_model.ts";
import { describeComparison } from "./describe_comparison.ts";
import { biasedChannels } from "./key_bias.ts";
import { kernelEntries } from "./kernel_entries.ts";
import { loadKernels } from "./kernels.ts";
import type { ModelPlanOptions } from "../src/models/mod.ts";
import { planWithin, tryPlan, type Unplanned } from "./plan_within.ts";
import { AS, readModel } from "./read_model.ts";
import { f16Spans, parseSpan, readSpans } from "./span_arguments.ts";
import type { SpanPolicies } from "../src/plan/span_policies.ts";
import { formatBytes } from "./format_bytes.ts";
import { formatTable } from "./table.ts";

interface PlanArguments extends CacheArguments {
  readonly as?: string;
  readonly span: SpanPolicies;
}

/** `couplet plan`. */
export function command(answering: Answering): Command {
  return addCacheOptions(
    createCommand("plan", {
      details:
        "Without --limit the device is taken to have what the plan needs. Without schemes, " +
        "all that fit are compared, and one is recommended.",
      examples: [
        "plan ./Llama-3.2-1B --tokens 32768",
        "plan ./Llama-3.2-1B --scheme c4b8 --tokens 32768",
        "plan config.json --keys c4b8 --values c8b8 --sequences 8 --json",
        "plan config.json --policy 2_bits.json --limit maxStorageBufferBindingSize=134217728",
        "plan config.json --scheme f16 --span image=sc1:576x4",
      ],
    })
      .argument("<config>", "a Hugging Face config.json, or the folder that holds it")
      .option(...AS)
      .option(
        "--span <kind>",
        "images or videos that are coded at once: name=keys[/values]:tokens[xcount] (repeatable)",
        parseSpan,
        {},
      ),
  ).action(answering(planModel));
}

/** What commander hands to actions behind the arguments and options. */
type Called = Pick<Command, "parent">;

const WHAT = "Cannot plan a cache";

async function planModel(path: string, args: PlanArguments, called: Called): Promise<Answer> {
  const spans = readSpans(args.span);
  const policy = namesNoPolicy(args) && spans === undefined
    ? undefined
    : await readPolicyArguments(args, WHAT, args.tokens * args.sequences);
  // Keys of spans are as they are scored.
  const space = args.space ?? (spans === undefined ? undefined : "as-scored");
  const model = await readModel(path, { as: args.as, space, length: args.tokens });
  const options = {
    shape: model.shape,
    keys: model.keys,
    scale: model.scale,
    softcap: model.softcap,
    ...(spans === undefined ? {} : { spans }),
    ...readSizes(args),
    kernels: await loadKernels(args),
    features: new Set<string>(args.feature),
    precision: args.precision,
  };
  const notes = [...model.notes];
  if (model.maxPositions !== undefined && args.tokens > model.maxPositions) {
    notes.push(`The model was made for ${model.maxPositions} tokens.`);
  }
  return policy === undefined
    ? chooseSchemes(model, options, args, notes, called)
    : planPolicy(model, { ...options, policy }, args, notes);
}

/** All schemes that fit, beside f16. */
function chooseSchemes(
  model: ModelPlanOptions,
  options: Omit<PlanOptions, "policy">,
  args: PlanArguments,
  notes: readonly string[],
  { parent }: Called,
): Answer {
  const comparison = compareSchemes(options, args, model);
  const f16 = planF16(options, args);
  const tokens = args.tokens * args.sequences;
  const recommended = recommend(comparison, tokens, model.keys.space);
  return {
    data: {
      modelType: model.modelType,
      shape: model.shape,
      keyBias: model.keyBias,
      keys: model.keys,
      capacity: options.capacity,
      tiers: options.tiers,
      f16: "why" in f16 ? f16 : { bytes: f16.bytes, effectiveBits: f16.effectiveBits },
      schemes: comparison.compared,
      refused: comparison.refused,
      recommended: recommended ?? null,
      notes,
    },
    text: (width) =>
      [
        ...describeModel(model, options, notes),
        "",
        describeComparison({
          comparison,
          f16: "why" in f16 ? undefined : f16,
          recommended,
          model,
          tokens,
          words: parent!.args.filter((word) => word !== "--json"),
        }, width),
      ].join("\n"),
  };
}

function planPolicy(
  model: ModelPlanOptions,
  options: PlanOptions,
  args: PlanArguments,
  modelNotes: readonly string[],
): Answer {
  const { plan, required } = planWithin(options, args);
  const f16 = planF16(options, args);
  const notes = [...modelNotes, ...(model.keyBias ? describeOffsets(model, plan) : [])];
  const layers = plan.layers.map((layer, index) => ({
    keys: layer.keys,
    values: layer.values,
    keyValueHeads: plan.options.layers[index]!.keyValueHeads,
    slidingWindow: plan.options.layers[index]!.slidingWindow,
    buffers: layer.parts.length,
    bytes: layer.bytes,
    kernels: {
      append: [
        ...new Set([layer.storeKeys.name, layer.storeValues.name]),
        layer.encodeKeys.name,
        layer.encodeValues.name,
      ],
      decode: candidateNames(layer.decode),
      prefill: candidateNames(layer.prefill),
      merge: layer.combine.name,
    },
  }));
  return {
    data: {
      modelType: model.modelType,
      shape: model.shape,
      layerNumbers: model.layerNumbers,
      learnedSinks: model.learnedSinks,
      keyBias: model.keyBias,
      keys: options.keys,
      scale: options.scale,
      softcap: plan.options.softcap,
      policy: options.policy,
      capacity: plan.options.capacity,
      tiers: plan.options.tiers,
      bytes: plan.bytes,
      effectiveBits: plan.effectiveBits,
      nominalBits: plan.nominalBits,
      spans: plan.spans.map(({ name, options: { capacity }, bytes, layers: [layer] }) => ({
        name,
        keys: layer!.keys.scheme,
        values: layer!.values.scheme,
        tokens: capacity.tokens,
        count: capacity.sequences,
        bytes,
      })),
      f16: "why" in f16 ? f16 : {
        bytes: f16.bytes,
        effectiveBits: f16.effectiveBits,
        timesLarger: f16.bytes.total / plan.bytes.total,
      },
      requiredLimits: required,
      requiredFeatures: plan.features,
      kernelEntries: kernelEntries(plannedKernels(plan)),
      layers,
      notes,
    },
    text: (width) => describePlan(model, plan, f16, required, layers, notes, width),
  };
}

/** The same cache uncompressed, or why the given kernels and limits do not suffice. */
function planF16(options: Omit<PlanOptions, "policy">, args: PlanArguments): CachePlan | Unplanned {
  return tryPlan({
    ...options,
    policy: { keys: "f16", values: "f16" },
    tiers: { sinks: 0, window: 0 },
    ...(options.spans && { spans: f16Spans(args.span)! }),
  }, args);
}

/** What the bias of a model's keys means for the schemes of its keys. */
function describeOffsets({ modelType }: ModelPlanOptions, { options }: CachePlan): string[] {
  const { space } = options.keys;
  const headDims = new Map(options.layers.map(({ keys, headDim }) => [keys, headDim]));
  return [...headDims].flatMap(([id, headDim]) => {
    const channels = biasedChannels(id, headDim, space);
    if (channels >= headDim) return [];
    const why = channels === 0
      ? `${id} does not remove it, and has few levels left for the rest of a key`
      : `${id} removes it from up to ${channels} channels of a head. With more, it loses most ` +
        "of the keys, and cache.readCounters() counts drownedBlocks";
    return [
      `The keys of ${modelType} have a bias. In keys ${space}, ${why}. Plan with --space pre-rope and ` +
      "a scheme that subtracts means, or take a learned scheme for keys.",
    ];
  });
}

/** One layer of a plan. */
interface PlannedLayer {
  readonly keys: string;
  readonly values: string;
  readonly keyValueHeads: number;
  readonly slidingWindow: number;
  readonly buffers: number;
  readonly bytes: LayerBytes;
  readonly kernels: Readonly<Record<"append" | "decode" | "prefill", readonly string[]>>;
}

function describePlan(
  model: ModelPlanOptions,
  plan: CachePlan,
  f16: CachePlan | Unplanned,
  required: object,
  layers: readonly PlannedLayer[],
  notes: readonly string[],
  width: number,
): string {
  return [
    ...describeModel(model, plan.options, notes),
    "",
    formatTable([
      ["layers, each", "side", "scheme", "sees", "codes", "exact", "codebooks"],
      ...groupLayers(layers, (layer) => ({ ...layer, kernels: [] })).flatMap(({ name, layer }) =>
        SIDES.map((side) => [
          side === "keys" ? name : "",
          side,
          layer[side],
          layer.slidingWindow === 0 ? "all" : `${layer.slidingWindow}`,
          ...(["codes", "exact", "codebooks"] as const).map((kind) =>
            formatBytes(layer.bytes[side][kind])
          ),
        ])
      ),
    ], { width, right: [4, 5, 6] }),
    "",
    ...describeSpans(plan, width),
    describeTotals(plan, f16, width),
    "",
    "Request of the adapter",
    formatTable([
      ...Object.entries(required).map(([limit, value]) => [
        "",
        limit,
        `${value}`,
        value === BASE_LIMITS[limit as keyof typeof BASE_LIMITS] ? "the default" : "",
      ]),
      ["", "features", plan.features.join(", ") || "none", ""],
    ], { width }),
    "",
    "Kernels",
    ...kernelEntries(plannedKernels(plan)).map((entry) => `  from ${entry}`),
    formatTable(
      groupLayers(layers, (layer) => layer.kernels).flatMap(({ name, layer }) =>
        (["append", "decode", "prefill"] as const).map((role, index) => [
          "",
          index === 0 ? name : "",
          role,
          layer.kernels[role].join(" + "),
        ])
      ),
      { width },
    ),
  ].join("\n");
}

/** The kinds of spans, and an empty line; nothing where there are none. */
function describeSpans({ spans }: CachePlan, width: number): string[] {
  if (spans.length === 0) return [];
  return [
    formatTable([
      ["spans", "keys", "values", "most", "tokens", "bytes"],
      ...spans.map(({ name, options: { capacity }, bytes, layers: [layer] }) => [
        name,
        layer!.keys.scheme,
        layer!.values.scheme,
        `${capacity.sequences}`,
        `${capacity.tokens}`,
        formatBytes(bytes),
      ]),
    ], { width, right: [3, 4, 5] }),
    "",
  ];
}

/** The kernels of a plan that belong to a scheme. */
function plannedKernels({ layers, spans }: CachePlan): readonly KernelInfo[] {
  const attentions = [...layers, ...spans.flatMap((span) => span.layers)]
    .flatMap(({ decode, prefill }) => [decode, prefill]);
  return [
    ...layers.flatMap(({ encodeKeys, encodeValues, decodeKeys, decodeValues }) => [
      encodeKeys,
      encodeValues,
      decodeKeys,
      decodeValues,
    ]),
    ...spans.flatMap((span) =>
      span.layers.flatMap(({ keys, values }) =>
        [keys.fit, keys.encode, values.fit, values.encode].filter((kernel) => kernel !== undefined)
      )
    ),
    ...attentions.flatMap(({ attend, table, score, mix }) =>
      [attend, table, score, mix].filter((kernel) => kernel !== undefined)
    ),
  ];
}

/** Layers that are alike in something, under the names of their ranges. */
function groupLayers(
  layers: readonly PlannedLayer[],
  alike: (layer: PlannedLayer) => unknown,
): readonly { readonly name: string; readonly layer: PlannedLayer }[] {
  const groups = groupBy(layers.keys(), (index) => JSON.stringify(alike(layers[index]!)));
  return [...groups.values()].map((indices) => ({
    name: ranges(indices),
    layer: layers[indices[0]!]!,
  }));
}

function describeTotals(plan: CachePlan, f16: CachePlan | Unplanned, width: number): string {
  const kinds = Object.keys(plan.bytes) as (keyof CacheBytes)[];
  const rows = [
    ["all layers", "planned"],
    ...kinds.map((kind) => [kind, formatBytes(plan.bytes[kind])]),
    ["effective bits", plan.effectiveBits.toFixed(2)],
  ];
  if ("why" in f16) {
    return `${
      formatTable(rows, { width, right: [1] })
    }\nThere is no f16 to compare with: ${f16.why}.`;
  }
  const beside = [
    "f16",
    ...kinds.map((kind) => formatBytes(f16.bytes[kind])),
    f16.effectiveBits.toFixed(2),
  ];
  return formatTable([
    ...rows.map((row, i) => [...row, beside[i]!]),
    ["f16 / planned", "", (f16.bytes.total / plan.bytes.total).toFixed(2)],
  ], { width, right: [1, 2] });
}
