import type { KeyOptions, ModelShape, RopeByLayer, RopeParameters } from "../model/model.ts";
import { type LayerPolicy, type Policy, POLICY_FIELDS } from "../schemes/policy.ts";
import {
  checkOptions,
  type Fields,
  FUNCTION,
  having,
  isA,
  type Kind,
  kind,
  listOf,
  oneOf,
  POSITIVE,
  whole,
} from "../base/check_options.ts";
import { CoupletError } from "../base/errors.ts";
import { STEP_ENTRIES } from "../kernels/constants.ts";
import { LARGEST_SHAPE } from "../model/largest_shape.ts";
import { inverseFrequencies, POSITIONS } from "../model/rope.ts";
import { sideDim, SIDES } from "../model/side.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import { cacheKeyFields } from "../model/key_fields.ts";
import { SKIP_FIELDS, type SkipOptions } from "./skip.ts";
import type { SpanPolicies } from "./span_policies.ts";

/** The tokens that are kept exactly. */
export interface ExactTiers {
  /** The first tokens of a sequence (attention sinks), always exact. */
  readonly sinks: number;
  /** The most recent tokens, the query's own included. */
  readonly window: number;
}

/** How many tokens a cache must hold. All memory is allocated when the cache is created. */
export interface Capacity {
  /** Most living sequences. */
  readonly sequences: number;
  /** Most tokens of all sequences together. */
  readonly tokens: number;
  /** Most tokens of one sequence. */
  readonly sequenceTokens: number;
  /** Most new tokens in one step, over all sequences. */
  readonly stepTokens: number;
  /**
   * Most new tokens of one sequence in one step. Each costs one more exact token per sequence and
   * layer. In return, a rollback of up to as many tokens restores the recent window exactly.
   */
  readonly appendTokens: number;
}

/** Options of a cache. */
export interface CacheOptions {
  /** The model's attention. */
  readonly shape: ModelShape;
  /** Schemes by layer. */
  readonly policy: Policy;
  /** How keys reach the cache. */
  readonly keys: KeyOptions | RopeByLayer;
  /** Tokens kept exactly: the first `sinks` and the last `window`. */
  readonly tiers: ExactTiers;
  /** Sizes. */
  readonly capacity: Capacity;
  /**
   * Factor of `q . k`: one number for all layers, or one per layer. Defaults to each layer's
   * `headDim ** -0.5`.
   */
  readonly scale?: number | readonly number[];
  /** If given, scores become `softcap * tanh(score / softcap)` (Gemma 2). */
  readonly softcap?: number;
  /**
   * Tiles that weigh next to nothing, and are not mixed. Defaults to none: all are mixed.
   */
  readonly skip?: SkipOptions;
  /** The layout of the host's tensors. */
  readonly io?: HostLayout;
  /**
   * Kinds of spans ({@linkcode spanKinds}): tokens of images or videos that are coded at once and
   * seen whole. Defaults to none.
   */
  readonly spans?: SpanKinds;
}

/** Strides of one of the host's tensors, in elements; channels are contiguous. */
export interface TensorStrides {
  /** From one token to the next. */
  readonly token: number;
  /** From one head to the next. */
  readonly head: number;
}

/** How the host's tensors lie in their buffers. */
export interface HostLayout {
  /** Element type of keys, values, queries and output. Defaults to `f32`. */
  readonly dtype?: "f32" | "f16";
  /** Strides of the keys. Defaults to `[tokens][keyValueHeads][headDim]`, contiguous. */
  readonly keys?: TensorStrides;
  /**
   * Strides of the values. Defaults to those of the keys where these are given, else to
   * `[tokens][keyValueHeads][valueHeadDim]`, contiguous.
   */
  readonly values?: TensorStrides;
  /** Strides of the queries. Defaults to `[tokens][queryHeads][headDim]`, contiguous. */
  readonly queries?: TensorStrides;
  /**
   * Strides of the output. Defaults to those of the queries where these are given, else to
   * `[tokens][queryHeads][valueHeadDim]`, contiguous.
   */
  readonly output?: TensorStrides;
}

/** One layer, resolved. */
export interface ResolvedLayer extends LayerPolicy {
  /** Its query heads. */
  readonly queryHeads: number;
  /** Its KV heads. */
  readonly keyValueHeads: number;
  /** Channels of a head of its queries and keys. */
  readonly headDim: number;
  /** Channels of a head of its values and output. */
  readonly valueHeadDim: number;
  /** Factor of `q . k`. */
  readonly scale: number;
  /** How its keys reach the cache. */
  readonly keyOptions: KeyOptions;
  /** The layer whose keys and values it attends to: itself, or the one it shares with. */
  readonly source: number;
  /** Index of its rotary table; -1 where kernels rotate nothing. */
  readonly ropeTable: number;
  /** Its sliding window, 0 where it sees everything. */
  readonly slidingWindow: number;
  /** Index of the page table it reads. */
  readonly pageTable: number;
  /** Whether its KV heads share centroids that are added. */
  readonly shareHeads: boolean;
  /** Strides of the host's tensors. */
  readonly strides: HostStrides;
}

/** The host's tensors of one layer. */
export type HostStrides = Readonly<Record<"keys" | "values" | "queries" | "output", TensorStrides>>;

/**
 * A page table, which says which page holds which tokens of a sequence. Layers that see the same
 * tokens share one.
 */
export interface PageTableOptions {
  /** The layers' sliding window, 0 where they see everything. */
  readonly slidingWindow: number;
}

/** A rotary table. Layers whose channels turn alike share one. */
export interface RopeTableOptions {
  /** The rotary embedding. */
  readonly rope: RopeParameters;
  /** Channels per head of its layers. */
  readonly headDim: number;
}

/** Kinds of spans, as {@linkcode spanKinds} gives them. */
export interface SpanKinds {
  /** What they were made of. */
  readonly policies: SpanPolicies;
  /**
   * The options of each kind.
   *
   * @param options The cache's own.
   * @throws {CoupletError} `shape` where keys reach the cache before their rotary embedding, a
   * layer has a sliding window, or scores are narrowed of keys of more than 2 bits.
   */
  resolve(options: ResolvedOptions): SpanOptions[];
}

/** Options with every default filled in. */
export interface ResolvedOptions {
  /** The model's attention. */
  readonly shape: ModelShape;
  /** Every layer. */
  readonly layers: readonly ResolvedLayer[];
  /** One page table for each sliding window, in the order of the first layer that has it. */
  readonly pageTables: readonly PageTableOptions[];
  /** One rotary table for each rotary embedding and head dimension. */
  readonly ropeTables: readonly RopeTableOptions[];
  /** Positions that are kept of a token: those of a rotary embedding with sections; 0 without. */
  readonly positions: number;
  /** Tokens that leave the window together: the largest block of the schemes. */
  readonly block: number;
  /** How keys reach the cache, as it was given. */
  readonly keys: KeyOptions | RopeByLayer;
  /** Tokens kept exactly. */
  readonly tiers: ExactTiers;
  /** Sizes; `appendTokens` is at most `stepTokens` and `sequenceTokens`. */
  readonly capacity: Capacity;
  /** Bound of the scores; 0 for none. */
  readonly softcap: number;
  /** How far below what was seen a tile lies that is not mixed; 0 where all are mixed. */
  readonly skipBelow: number;
  /** Element type of the host's tensors. */
  readonly dtype: "f32" | "f16";
  /** Kinds of spans, each with options of its own. */
  readonly spans: readonly SpanOptions[];
  /** Present in the options of a kind of span. */
  readonly span?: {
    /** Its name. */
    readonly name: string;
    /** What ranges of scores are narrowed by; 0 for nothing. */
    readonly remap: number;
  };
}

/** The options of a kind of span, whose spans take the place of sequences. */
export type SpanOptions = ResolvedOptions & Required<Pick<ResolvedOptions, "span">>;

/** The first sentence of errors of wrong options. */
export const WHAT = "Cannot plan a cache";

function fail(why: string, remedy: string): never {
  throw new CoupletError("shape", { what: WHAT, why, remedy });
}

const LAYERS = whole(1, LARGEST_SHAPE.layers);
const HEADS = whole(1, LARGEST_SHAPE.queryHeads);
const COUNT = whole(1);
const TOKENS = whole(0);

/** A number for all layers, or a list with a number for each. */
function oneOrEach(one: Kind<number>): Kind<number | readonly number[]> {
  return kind(
    `${one[0]}, or a list with one for each layer`,
    (value) => one[1](value) || listOf(one)[1](value),
  );
}

const DIMS = oneOrEach(whole(1, LARGEST_SHAPE.headDim));

/** What a model's shape may be. */
export const SHAPE_FIELDS: Fields<ModelShape> = {
  layers: LAYERS,
  queryHeads: oneOrEach(HEADS),
  keyValueHeads: oneOrEach(HEADS),
  headDim: DIMS,
  "valueHeadDim?": DIMS,
  "slidingWindow?": oneOrEach(TOKENS),
  "sharesWith?": kind(
    "a list, each the number of an earlier layer or null",
    (value) => Array.isArray(value) && [...value].every((one) => one === null || TOKENS[1](one)),
  ),
};

/** What the exact tiers may be. */
export const TIER_FIELDS: Fields<ExactTiers> = { sinks: TOKENS, window: TOKENS };

/** What learned sinks may be. */
export const SINK_LOGITS: Kind<Float32Array<ArrayBuffer>> = kind(
  "a Float32Array",
  (value) => isA("Float32Array", value),
);

/** What the capacity may be. */
export const CAPACITY_FIELDS: Fields<Capacity> = {
  sequences: COUNT,
  tokens: COUNT,
  sequenceTokens: COUNT,
  stepTokens: COUNT,
  appendTokens: COUNT,
};

/** What the strides of a tensor may be. */
export const STRIDE_FIELDS: Fields<TensorStrides> = { token: COUNT, head: COUNT };

/** What the host's layout may be. */
export const LAYOUT_FIELDS: Fields<HostLayout> = {
  "dtype?": oneOf("f32", "f16"),
  "keys?": STRIDE_FIELDS,
  "values?": STRIDE_FIELDS,
  "queries?": STRIDE_FIELDS,
  "output?": STRIDE_FIELDS,
};

/** What a cache's options may be. */
export const CACHE_FIELDS: Fields<CacheOptions> = {
  shape: SHAPE_FIELDS,
  policy: POLICY_FIELDS,
  keys: cacheKeyFields,
  tiers: TIER_FIELDS,
  capacity: CAPACITY_FIELDS,
  "scale?": oneOrEach(POSITIVE),
  "softcap?": kind(
    `0 or ${POSITIVE[0]}`,
    (value) => value === 0 || POSITIVE[1](value),
  ),
  "skip?": SKIP_FIELDS,
  "io?": LAYOUT_FIELDS,
  "spans?": having("what spanKinds() gives", "policies", "resolve"),
};

/**
 * Checks each option on its own.
 *
 * @throws {CoupletError} `shape` for an unknown option, or a value that an option cannot have.
 */
export function checkPlanOptions<T>(fields: Fields<T>, options: unknown): void {
  const bias = Object.keys(Object(options)).find((name) => /alibi|bias/i.test(name));
  if (bias !== undefined) {
    fail(
      `the option "${bias}" adds to scores by position`,
      "Use a model with rotary positions, or none",
    );
  }
  if (FUNCTION[1](Object(options).describe)) {
    fail("a plan was given", "Give the options that it was made of");
  }
  checkOptions("shape", WHAT, fields, options);
}

/**
 * Fills in the defaults, and checks options against each other. Each was already checked on its
 * own.
 */
export function resolveOptions(options: CacheOptions): ResolvedOptions {
  const { shape, capacity, tiers, keys } = options;
  checkPolicyLayers(options.policy, shape);
  const resolved: ResolvedOptions = {
    shape,
    ...resolveLayers(options),
    keys,
    tiers,
    capacity: {
      ...capacity,
      appendTokens: Math.min(capacity.appendTokens, capacity.stepTokens, capacity.sequenceTokens),
    },
    softcap: options.softcap ?? 0,
    skipBelow: options.skip?.below ?? 0,
    dtype: options.io?.dtype ?? "f32",
    spans: [],
  };
  return { ...resolved, spans: options.spans?.resolve(resolved) ?? [] };
}

/** The heads of one layer. */
export type LayerShape = Pick<
  ResolvedLayer,
  "queryHeads" | "keyValueHeads" | "headDim" | "valueHeadDim"
>;

/**
 * The heads of one layer.
 *
 * @throws {CoupletError} `shape` for a shape that has none, or a layer that is no whole number.
 */
export function layerShape(shape: ModelShape, layer: number): LayerShape {
  const { queryHeads, keyValueHeads, headDim, valueHeadDim = headDim } = Object(
    shape,
  ) as ModelShape;
  checkOptions(
    "shape",
    "Cannot tell the heads of a layer",
    {
      queryHeads: SHAPE_FIELDS.queryHeads,
      keyValueHeads: SHAPE_FIELDS.keyValueHeads,
      headDim: DIMS,
      valueHeadDim: DIMS,
      layer: TOKENS,
    },
    { queryHeads, keyValueHeads, headDim, valueHeadDim, layer },
  );
  const at = (value: number | readonly number[]) =>
    typeof value === "number" ? value : value[layer]!;
  return {
    queryHeads: at(queryHeads),
    keyValueHeads: at(keyValueHeads),
    headDim: at(headDim),
    valueHeadDim: at(valueHeadDim),
  };
}

/** Checks that a policy's exceptions are of layers that the model has. */
export function checkPolicyLayers({ layers }: Pick<Policy, "layers">, shape: ModelShape): void {
  for (const layer of Object.keys(layers ?? {})) {
    if (String(+layer >>> 0) !== layer || !(+layer < shape.layers)) {
      fail(
        `the policy names layer ${layer}, and the model has ${shape.layers}`,
        `Name layers 0 to ${shape.layers - 1}`,
      );
    }
  }
}

/** How the keys of one layer reach the cache. */
export function layerKeys(keys: CacheOptions["keys"], layer: number): KeyOptions {
  if (keys.space !== "pre-rope" || !("length" in keys.rope)) return keys as KeyOptions;
  const rope = keys.rope[layer]!;
  // Keys that nothing rotates are scored as they are.
  return rope === null ? { space: "as-scored" } : { space: keys.space, rope };
}

/** Checks that kernels can rotate the keys of a layer. */
function checkRotated(rope: RopeParameters, headDim: number): void {
  const rotated = 2 * inverseFrequencies(rope, headDim).length;
  // The head dimension has a check of its own.
  if (rotated !== headDim && rotated % 16 !== 0) {
    fail(
      `${rotated} channels rotate, and kernels rotate eight pairs at a time`,
      'Hand the keys over as they are scored ({ space: "as-scored" })',
    );
  }
}

/** Schemes, heads, rotary and page table of every layer. */
function resolveLayers(
  { shape, policy, capacity, keys: given, scale, io = {} }: CacheOptions,
): Pick<ResolvedOptions, "layers" | "pageTables" | "ropeTables" | "positions" | "block"> {
  const each = <T>(name: string, value: T | readonly T[]) => perLayer(name, shape.layers, value);
  const heads = each("KV heads", shape.keyValueHeads);
  const queries = each("query heads", shape.queryHeads);
  const dims = each("head dimensions", shape.headDim);
  const valueDims = each("head dimensions of values", shape.valueHeadDim ?? dims);
  const windows = each("sliding windows", shape.slidingWindow ?? 0);
  const scales = each("scales", scale ?? dims.map((headDim) => headDim ** -0.5));
  each<unknown>("rotary embeddings (keys.rope)", Object(Object(given).rope));
  if (given.space === "anchored" && new Set(dims).size > 1) {
    fail(
      "layers differ in their head dimension, and anchored keys have anchors by channel",
      'Hand the keys over before their rotary embedding ({ space: "pre-rope" })',
    );
  }
  const distinct = [...new Set(windows)];
  const ropeTables: RopeTableOptions[] = [];
  const known: string[] = [];
  const sources = each("layers to share with (shape.sharesWith)", shape.sharesWith ?? null)
    .map((source, layer) => source ?? layer);
  const layers = heads.map((keyValueHeads, layer): ResolvedLayer => {
    const source = sources[layer]!;
    const schemes = policy.layers?.[source] ?? policy;
    const [queryHeads, headDim, own] = [queries[layer]!, dims[layer]!, layerKeys(given, layer)];
    const valueHeadDim = valueDims[layer]!;
    if (queryHeads % keyValueHeads !== 0) {
      fail(
        `${queryHeads} query heads do not divide among the ${keyValueHeads} KV heads of layer ${layer}`,
        "Correct the model shape",
      );
    }
    let ropeTable = -1;
    if (own.space !== "as-scored") {
      const { rope } = own;
      checkRotated(rope, headDim);
      const id = JSON.stringify([headDim, Object.entries(rope).sort()]);
      ropeTable = known.indexOf(id);
      if (ropeTable < 0) {
        ropeTable = known.push(id) - 1;
        ropeTables.push({ rope, headDim });
      }
    }
    const { keys, values } = schemes;
    const shared = { keys, values, queryHeads, keyValueHeads, headDim, valueHeadDim };
    for (const side of SIDES) {
      const id = shared[side];
      const { layout, forSpans } = parseScheme(id);
      if (forSpans) {
        fail(
          `${id} fits its levels to a whole span, and the policy has it for single tokens`,
          "Use it for a kind of span (spans), or another scheme",
        );
      }
      layout(sideDim(shared, side));
    }
    const slidingWindow = windows[layer]!;
    return {
      ...shared,
      scale: scales[layer]!,
      keyOptions: own,
      source,
      ropeTable,
      slidingWindow,
      pageTable: distinct.indexOf(slidingWindow),
      shareHeads: policy.shareHeads ?? false,
      strides: resolveStrides(shared, capacity.stepTokens, io),
    };
  });
  layers.forEach((layer, index) => checkShared(layer, index, layers[layer.source], policy));
  return {
    layers,
    pageTables: distinct.map((slidingWindow) => ({ slidingWindow })),
    ropeTables,
    positions: ropeTables.some(({ rope }) => rope.sections) ? POSITIONS : 0,
    block: Math.max(
      ...layers.flatMap(({ keys, values }) => [keys, values].map((id) => parseScheme(id).block)),
    ),
  };
}

/** Checks that a layer can attend to the keys and values of another, where it has none itself. */
function checkShared(
  layer: ResolvedLayer,
  index: number,
  source: ResolvedLayer | undefined,
  { layers }: Policy,
): void {
  if (layer.source === index) return;
  const refuse = (why: string) =>
    fail(
      `layer ${index} shares the keys and values of layer ${layer.source}, ${why}`,
      "Correct shape.sharesWith, or give the layer keys and values of its own (null)",
    );
  if (source?.source !== layer.source || layer.source > index) {
    refuse("which is no earlier layer with its own");
  }
  const alike = ["keyValueHeads", "headDim", "valueHeadDim", "pageTable", "ropeTable"] as const;
  if (alike.some((name) => source![name] !== layer[name])) {
    refuse("and their heads, sliding windows or rotary embeddings differ");
  }
  if (layers?.[index] !== undefined) refuse("and the policy has schemes for it");
}

/** Whether a layer has keys and values of its own. */
export function isOwn({ source }: ResolvedLayer, index: number): boolean {
  return source === index;
}

/** What was given once, or as a list, for every layer. */
function perLayer<T>(name: string, layers: number, value: T | readonly T[]): readonly T[] {
  const values = Array.isArray(value)
    ? value as readonly T[]
    : new Array<T>(layers).fill(value as T);
  if (values.length !== layers) {
    fail(
      `there are ${values.length} numbers of ${name} for ${layers} layers`,
      "Give one number, or a list with one for each layer",
    );
  }
  return values;
}

/** Heads of one of the host's tensors, and channels of a head. */
export function tensorHeads(
  { queryHeads, keyValueHeads, headDim, valueHeadDim }: LayerShape,
  name: keyof HostStrides,
): readonly [heads: number, channels: number] {
  return [
    name === "keys" || name === "values" ? keyValueHeads : queryHeads,
    name === "values" || name === "output" ? valueHeadDim : headDim,
  ];
}

/** The strides of one layer's tensors, checked. */
function resolveStrides(
  layer: LayerShape,
  stepTokens: number,
  io: HostLayout,
): HostStrides {
  const stridesOf = (name: keyof HostStrides): TensorStrides => {
    const [heads, channels] = tensorHeads(layer, name);
    return { token: heads * channels, head: channels };
  };
  const { keys, values = keys, queries, output = queries } = io;
  const strides = {
    keys: keys ?? stridesOf("keys"),
    values: values ?? stridesOf("values"),
    queries: queries ?? stridesOf("queries"),
    output: output ?? stridesOf("output"),
  };
  for (const name of ["keys", "values", "queries", "output"] as const) {
    const { token, head } = strides[name];
    if (io.dtype === "f16" && (token % 2 !== 0 || head % 2 !== 0)) {
      fail(
        `the strides of ${name} are ${token} and ${head} elements of two bytes`,
        "Use even strides",
      );
    }
    const [heads, channels] = tensorHeads(layer, name);
    const tokenMajor = token >= (heads - 1) * head + channels;
    const headMajor = head >= (stepTokens - 1) * token + channels;
    if (Math.min(token, head) < channels || !(tokenMajor || headMajor)) {
      fail(
        `with strides of ${token} by token and ${head} by head, the vectors of ${name} overlap in a step of ${stepTokens} tokens`,
        "Let tokens be farther apart, or heads",
      );
    }
  }
  return strides;
}

/**
 * Checks learned sinks.
 *
 * @throws {CoupletError} `shape` where there is not one finite logit for each layer and query head.
 */
export function checkSinkLogits(
  logits: Float32Array | undefined,
  { layers, queryHeads }: ModelShape,
): void {
  if (logits === undefined) return;
  const wanted = typeof queryHeads === "number"
    ? layers * queryHeads
    : queryHeads.reduce((sum, heads) => sum + heads, 0);
  if (logits.length !== wanted || !logits.every(Number.isFinite)) {
    throw new CoupletError("shape", {
      what: "Cannot use the learned sinks",
      why: `${logits.length} logits were given, or one is not finite`,
      remedy: `Give ${wanted} finite logits, [layers][queryHeads]`,
    });
  }
}

/** Entries a step may have. */
export function stepEntries({ capacity }: Pick<ResolvedOptions, "capacity">): number {
  return Math.min(STEP_ENTRIES, capacity.sequences);
}
