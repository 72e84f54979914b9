import type { KeyOptions, LayerPolicy, ModelShape, Policy } from "./cache_types.ts";
import { CoupletError } from "./errors.ts";
import { PAGE_TOKENS, STEP_ENTRIES } from "./kernel_constants.ts";
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

/** Options with every default filled in. */
export interface ResolvedOptions {
  /** The model's attention. */
  readonly shape: ModelShape;
  /** Schemes of every layer. */
  readonly layers: readonly LayerPolicy[];
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
  /** The host's buffers. */
  readonly io: Required<HostLayout>;
  /** Sliding window of every layer; 0 where it sees everything. */
  readonly slidingWindows: readonly number[];
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
  const { shape, capacity, tiers, keys } = options;
  for (const name of ["layers", "queryHeads", "keyValueHeads", "headDim"] as const) {
    positive(`shape.${name}`, shape[name]);
  }
  for (
    const name of ["sequences", "tokens", "sequenceTokens", "stepTokens", "appendTokens"] as const
  ) {
    positive(`capacity.${name}`, capacity[name]);
  }
  positive("tiers.sinks", tiers.sinks, 0);
  positive("tiers.window", tiers.window, 0);
  if (shape.queryHeads % shape.keyValueHeads !== 0) {
    fail(
      "Cannot plan a cache",
      `${shape.queryHeads} query heads do not divide among ${shape.keyValueHeads} KV heads`,
      "Correct the model shape",
    );
  }
  if (keys.space === "pre-rope") {
    const rotated = 2 * inverseFrequencies(keys.rope, shape.headDim).length;
    if (rotated % 8 !== 0) {
      fail(
        "Cannot plan a cache of keys before the rotary embedding",
        `${rotated} channels rotate, and kernels rotate four pairs at a time`,
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
  const layers = Array.from({ length: shape.layers }, (_, layer) => {
    const policy = options.policy.layers?.[layer] ?? options.policy;
    parseScheme(policy.keys).layout(shape.headDim);
    parseScheme(policy.values).layout(shape.headDim);
    return { keys: policy.keys, values: policy.values };
  });
  return {
    shape,
    layers,
    keys,
    tiers,
    capacity: {
      ...capacity,
      appendTokens: Math.min(capacity.appendTokens, capacity.stepTokens, capacity.sequenceTokens),
    },
    scale,
    softcap,
    io: resolveLayout(options),
    slidingWindows: slidingWindows(shape),
  };
}

/** The sliding window of every layer, 0 where there is none. */
export function slidingWindows({ layers, slidingWindow = 0 }: ModelShape): readonly number[] {
  const windows = typeof slidingWindow === "number"
    ? new Array<number>(layers).fill(slidingWindow)
    : slidingWindow;
  if (windows.length !== layers) {
    fail(
      "Cannot plan a cache",
      `there are ${windows.length} sliding windows for ${layers} layers`,
      "Give one for each layer, 0 for those that see everything",
    );
  }
  for (const window of windows) positive("shape.slidingWindow", window, 0);
  return windows;
}

function resolveLayout({ shape, io = {} }: CacheOptions): Required<HostLayout> {
  const keys = io.keys ?? { token: shape.keyValueHeads * shape.headDim, head: shape.headDim };
  const queries = io.queries ?? { token: shape.queryHeads * shape.headDim, head: shape.headDim };
  const layout: Required<HostLayout> = {
    dtype: io.dtype ?? "f32",
    keys,
    values: io.values ?? keys,
    queries,
    output: io.output ?? queries,
  };
  for (const name of ["keys", "values", "queries", "output"] as const) {
    const { token, head } = layout[name];
    positive(`io.${name}.token`, token);
    positive(`io.${name}.head`, head);
    if (layout.dtype === "f16" && (token % 2 !== 0 || head % 2 !== 0)) {
      fail(
        "Cannot plan a cache",
        `the strides of ${name} are ${token} and ${head} elements of two bytes`,
        "Use even strides, so that two channels share a word",
      );
    }
    if (Math.min(token, head) < shape.headDim) {
      fail(
        "Cannot plan a cache",
        `the strides of ${name} are ${token} and ${head}, and a head has ${shape.headDim} channels`,
        "Use strides of at least one head, so that vectors do not overlap",
      );
    }
  }
  return layout;
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

/** Pages the pool of one layer and side needs so that any split of the tokens among sequences fits. */
export function poolPages({ capacity }: Pick<ResolvedOptions, "capacity">): number {
  return Math.ceil(capacity.tokens / PAGE_TOKENS) + capacity.sequences - 1;
}

/** Entries a step may have. */
export function stepEntries({ capacity }: Pick<ResolvedOptions, "capacity">): number {
  return Math.min(STEP_ENTRIES, capacity.sequences);
}
