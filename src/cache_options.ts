import type { KeyOptions, LayerPolicy, ModelShape, Policy } from "./cache_types.ts";
import { CoupletError } from "./errors.ts";
import { STEP_ENTRIES } from "./kernel_constants.ts";
import type { ExactTiers } from "./reference/attention.ts";
import { inverseFrequencies } from "./reference/rope.ts";
import { parseScheme } from "./scheme.ts";

/** How many tokens a cache must hold. All of it is allocated when the cache is created. */
export interface Capacity {
  /** Most sequences alive at once. */
  readonly sequences: number;
  /** Most tokens of all sequences together, per layer. */
  readonly tokens: number;
  /** Most tokens of one sequence. */
  readonly sequenceTokens: number;
  /** Most new tokens in one step, over all sequences. */
  readonly stepTokens: number;
  /**
   * Most new tokens of one sequence in one step. Each costs one more exact token per sequence and layer;
   * in return, a rollback of up to as many tokens restores the recent window exactly.
   */
  readonly appendTokens: number;
}

/** What a cache is to be. */
export interface CacheOptions {
  /** The model's attention. */
  readonly shape: ModelShape;
  /** Schemes by layer. */
  readonly policy: Policy;
  /** The space keys arrive in. */
  readonly keys: KeyOptions;
  /** Tokens kept exactly: the first `sinks` and the last `window`. */
  readonly tiers: ExactTiers;
  /** Sizes. */
  readonly capacity: Capacity;
  /** Factor of `q . k`; `headDim ** -0.5` where absent. */
  readonly scale?: number;
  /** Scores become `softcap * tanh(score / softcap)` where present (Gemma 2). */
  readonly softcap?: number;
  /** The host's buffers. */
  readonly io?: HostLayout;
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
  /** Element type of keys, values, queries and output; `f32` where absent. */
  readonly dtype?: "f32" | "f16";
  /** Strides of the keys; `[tokens][keyValueHeads][headDim]`, contiguous, where absent. */
  readonly keys?: TensorStrides;
  /** Strides of the values; as the keys where absent. */
  readonly values?: TensorStrides;
  /** Strides of the queries; `[tokens][queryHeads][headDim]`, contiguous, where absent. */
  readonly queries?: TensorStrides;
  /** Strides of the output; as the queries where absent. */
  readonly output?: TensorStrides;
}

/** One layer, resolved. */
export interface ResolvedLayer extends LayerPolicy {
  /** Its KV heads. */
  readonly keyValueHeads: number;
  /** Its sliding window, 0 where it sees everything. */
  readonly slidingWindow: number;
  /** Which of the page tables it reads. */
  readonly pageTable: number;
  /** Strides of the host's tensors. */
  readonly strides: HostStrides;
}

/** The host's tensors of one layer. */
export type HostStrides = Readonly<Record<"keys" | "values" | "queries" | "output", TensorStrides>>;

/** What layers that see the same tokens share: which page holds which tokens of a sequence. */
export interface PageTableOptions {
  /** The layers' sliding window, 0 where they see everything. */
  readonly slidingWindow: number;
}

/** Options with every default filled in. */
export interface ResolvedOptions {
  /** The model's attention. */
  readonly shape: ModelShape;
  /** Every layer. */
  readonly layers: readonly ResolvedLayer[];
  /** One for each sliding window, in the order of the first layer that has it. */
  readonly pageTables: readonly PageTableOptions[];
  /** Tokens the window gives up at once: the largest block of the schemes. */
  readonly block: number;
  /** The space keys arrive in. */
  readonly keys: KeyOptions;
  /** Tokens kept exactly. */
  readonly tiers: ExactTiers;
  /** Sizes; `appendTokens` is at most `stepTokens` and `sequenceTokens`. */
  readonly capacity: Capacity;
  /** Factor of `q . k`. */
  readonly scale: number;
  /** Bound of the scores, 0 where they are not capped. */
  readonly softcap: number;
  /** Element type of the host's tensors. */
  readonly dtype: "f32" | "f16";
}

function fail(what: string, why: string, remedy: string): never {
  throw new CoupletError("shape", { what, why, remedy });
}

function positive(name: string, value: number, least = 1): void {
  if (!Number.isInteger(value) || value < least) {
    fail(
      "Cannot plan a cache",
      `${name} is ${value}`,
      `Use a whole number of ${least} or more`,
    );
  }
}

/** Fills in the defaults and checks what needs no device. */
export function resolveOptions(options: CacheOptions): ResolvedOptions {
  checkNames(options);
  const { shape, capacity, tiers, keys } = options;
  for (const name of ["layers", "queryHeads", "headDim"] as const) {
    positive(`shape.${name}`, shape[name]);
  }
  for (
    const name of ["sequences", "tokens", "sequenceTokens", "stepTokens", "appendTokens"] as const
  ) {
    positive(`capacity.${name}`, capacity[name]);
  }
  positive("tiers.sinks", tiers.sinks, 0);
  positive("tiers.window", tiers.window, 0);
  if (keys.space === "pre-rope") {
    const rotated = 2 * inverseFrequencies(keys.rope, shape.headDim).length;
    // Head dimensions have a rule of their own.
    if (rotated !== shape.headDim && rotated % 16 !== 0) {
      fail(
        "Cannot plan a cache of keys before the rotary embedding",
        `${rotated} channels rotate, and kernels rotate eight pairs at a time`,
        'Hand the keys over as they are scored ({ space: "as-scored" })',
      );
    }
  }
  const scale = options.scale ?? shape.headDim ** -0.5;
  const softcap = options.softcap ?? 0;
  if (!Number.isFinite(scale) || !Number.isFinite(softcap) || softcap < 0) {
    fail(
      "Cannot plan a cache",
      `scale is ${scale} and softcap ${softcap}`,
      "Use finite numbers, and a positive softcap or none",
    );
  }
  for (const layer of Object.keys(options.policy.layers ?? {})) {
    if (!(Number(layer) < shape.layers)) {
      fail(
        "Cannot plan a cache",
        `the policy names layer ${layer}, and the model has ${shape.layers}`,
        `Name layers 0 to ${shape.layers - 1}`,
      );
    }
  }
  const { layers, pageTables, block } = resolveLayers(options);
  return {
    shape,
    layers,
    pageTables,
    block,
    keys,
    tiers,
    capacity: {
      ...capacity,
      appendTokens: Math.min(capacity.appendTokens, capacity.stepTokens, capacity.sequenceTokens),
    },
    scale,
    softcap,
    dtype: options.io?.dtype ?? "f32",
  };
}

/** Names an option may have; `limits`, `features`, `precision`, `kernels` and `tuning` are the planner's. */
const OPTION_NAMES: readonly string[] = [
  "shape",
  "policy",
  "keys",
  "tiers",
  "capacity",
  "scale",
  "softcap",
  "io",
  "limits",
  "features",
  "precision",
  "kernels",
  "tuning",
] satisfies readonly (
  keyof CacheOptions | "limits" | "features" | "precision" | "kernels" | "tuning"
)[];

/** Refuses options that would be passed over, because a model that needs them would come out wrong. */
function checkNames(options: CacheOptions): void {
  const unknown = Object.keys(options).find((name) => !OPTION_NAMES.includes(name));
  if (unknown === undefined) return;
  const bias = /alibi|bias/i.test(unknown);
  fail(
    "Cannot plan a cache",
    bias
      ? `the option "${unknown}" adds to scores by position, and the kernels score by q.k alone`
      : `it knows no option "${unknown}"`,
    bias
      ? "Use a model with rotary positions, or none; ALiBi is not supported"
      : `Use ${OPTION_NAMES.join(", ")}`,
  );
}

/** KV heads of one layer. */
export function layerHeads({ keyValueHeads }: ModelShape, layer: number): number {
  return typeof keyValueHeads === "number" ? keyValueHeads : keyValueHeads[layer]!;
}

/** Schemes, heads and page table of every layer. */
function resolveLayers(
  { shape, policy, capacity, io = {} }: CacheOptions,
): Pick<ResolvedOptions, "layers" | "pageTables" | "block"> {
  const heads = perLayer("KV heads", shape.layers, shape.keyValueHeads);
  const windows = perLayer("sliding windows", shape.layers, shape.slidingWindow ?? 0);
  for (const [layer, count] of heads.entries()) {
    positive("shape.keyValueHeads", count);
    if (shape.queryHeads % count !== 0) {
      fail(
        "Cannot plan a cache",
        `${shape.queryHeads} query heads do not divide among the ${count} KV heads of layer ${layer}`,
        "Correct the model shape",
      );
    }
  }
  for (const window of windows) positive("shape.slidingWindow", window, 0);
  const distinct = [...new Set(windows)];
  const layers = heads.map((keyValueHeads, layer) => {
    const { keys, values } = policy.layers?.[layer] ?? policy;
    for (const id of [keys, values]) parseScheme(id).layout(shape.headDim);
    const slidingWindow = windows[layer]!;
    return {
      keys,
      values,
      keyValueHeads,
      slidingWindow,
      pageTable: distinct.indexOf(slidingWindow),
      strides: resolveStrides(shape, keyValueHeads, capacity.stepTokens, io),
    };
  });
  return {
    layers,
    pageTables: distinct.map((slidingWindow) => ({ slidingWindow })),
    block: Math.max(
      ...layers.flatMap(({ keys, values }) => [keys, values].map((id) => parseScheme(id).block)),
    ),
  };
}

/** A number for every layer. */
function perLayer(
  name: string,
  layers: number,
  value: number | readonly number[],
): readonly number[] {
  const values = typeof value === "number" ? new Array<number>(layers).fill(value) : value;
  if (values.length !== layers) {
    fail(
      "Cannot plan a cache",
      `there are ${values.length} numbers of ${name} for ${layers} layers`,
      "Give one number for all layers, or one for each",
    );
  }
  return values;
}

/** The strides of one layer's tensors, checked. */
function resolveStrides(
  { queryHeads, headDim }: ModelShape,
  keyValueHeads: number,
  stepTokens: number,
  io: HostLayout,
): HostStrides {
  const keys = io.keys ?? { token: keyValueHeads * headDim, head: headDim };
  const queries = io.queries ?? { token: queryHeads * headDim, head: headDim };
  const strides = { keys, values: io.values ?? keys, queries, output: io.output ?? queries };
  for (const name of ["keys", "values", "queries", "output"] as const) {
    const { token, head } = strides[name];
    positive(`io.${name}.token`, token);
    positive(`io.${name}.head`, head);
    if (io.dtype === "f16" && (token % 2 !== 0 || head % 2 !== 0)) {
      fail(
        "Cannot plan a cache",
        `the strides of ${name} are ${token} and ${head} elements of two bytes`,
        "Use even strides, so that two channels share a word",
      );
    }
    const heads = name === "keys" || name === "values" ? keyValueHeads : queryHeads;
    const tokenMajor = token >= (heads - 1) * head + headDim;
    const headMajor = head >= (stepTokens - 1) * token + headDim;
    if (Math.min(token, head) < headDim || !(tokenMajor || headMajor)) {
      fail(
        "Cannot plan a cache",
        `with strides of ${token} by token and ${head} by head, the vectors of ${name} overlap: ${heads} heads of ${headDim} channels, ${stepTokens} tokens a step`,
        "Let tokens be farther apart than the heads of one reach, or heads than the tokens of a step",
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
  if (logits.length !== layers * queryHeads || !logits.every(Number.isFinite)) {
    throw new CoupletError("shape", {
      what: "Cannot use the learned sinks",
      why: `${logits.length} logits were given, or one is not finite`,
      remedy: `Give ${layers * queryHeads} finite logits, [layers][queryHeads]`,
    });
  }
}

/** Entries a step may have. */
export function stepEntries({ capacity }: Pick<ResolvedOptions, "capacity">): number {
  return Math.min(STEP_ENTRIES, capacity.sequences);
}
