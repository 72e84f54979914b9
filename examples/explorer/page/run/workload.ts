/** What a kernel is run in: a small cache that the planner can only build with it. */
import {
  type CacheOptions,
  type CachePlan,
  CoupletError,
  type KernelFamily,
  type KernelInfo,
  type KernelNameParts,
  type KeyOptions,
  type KeyVariant,
  type LayerPolicy,
  mropeSections,
  OPTIONAL_FEATURES,
  PAGE_TOKENS,
  parseKernelName,
  parseScheme,
  planCache,
  type PlanOptions,
  type SchemeId,
} from "../../../../mod.ts";
import { BAND_PAIRS } from "../../../../src/model/anchors.ts";
import { kernelFeatures } from "../../../../src/kernels/name.ts";
import { kernelPrecision } from "../../../../src/kernels/precision.ts";

/** Families that are not run in a cache of tokens: those that calibrate, and those for spans alone. */
type OtherFamily = "kmeans_assign" | "kmeans_update" | "kmeans_search" | "fit" | "remap";

/** The families that a cache uses. */
export type CacheFamily = Exclude<KernelFamily, OtherFamily>;

/** What of a cache's work a kernel takes part in, and what is timed. */
export type Work = "append" | "attend" | "read" | "fork" | "restore";

const WORK: Readonly<Record<CacheFamily, Work>> = {
  store: "append",
  encode: "append",
  table: "attend",
  score: "attend",
  mix: "attend",
  attend: "attend",
  combine: "attend",
  decode: "read",
  load: "read",
  copy: "fork",
  restore: "restore",
  page_table: "append",
};

/**
 * Checks that a device has the features of a kernel.
 *
 * @throws {CoupletError} `limits` where it does not.
 */
export function requireFeatures(
  { name }: KernelInfo,
  device: Pick<GPUDevice, "features">,
): void {
  const missing = kernelFeatures(parseKernelName(name))
    .filter((feature) => !device.features.has(feature));
  if (missing.length === 0) return;
  throw new CoupletError("limits", {
    what: `Cannot run ${name} here`,
    why: `it uses ${missing.join(" and ")}, which this device does not have`,
    remedy: "Run the kernel whose name has no feature at its end, or use another device",
  });
}

/** Tokens that a step may add. Tables of q.centroid grow with them, so large ones may have no room. */
const STEP_TOKENS: readonly number[] = [64, 16, 4, 1];

/** Copies of a sequence that a cache has room for, where its kernel is run by forks or restored sequences. */
export const COPIES = 8;

const QUERY_HEADS = 8;
const KEY_VALUE_HEADS = 2;

/** The head dimension of kernels that take any. */
const ANY_HEAD_DIM = 64;

/** A kernel's place in a cache. */
export interface Workload {
  /** The kernel that the planner must choose; absent where any will do. */
  readonly kernel?: KernelInfo;
  readonly work: Work;
  readonly policy: LayerPolicy;
  /** The planner's choice is from these. */
  readonly kernels: readonly KernelInfo[];
  /** Tokens that a step adds at most. */
  readonly stepTokens: number;
  /** A cache for so many tokens of one sequence. */
  options(tokens: number): CacheOptions;
}

/** @throws {CoupletError} `kernel` for a kernel that serves spans alone. */
export function refuseSpans({ name }: KernelInfo): void {
  const { family, schemes } = parseKernelName(name);
  const forSpans = schemes.some((scheme) => parseScheme(scheme).forSpans);
  if (!forSpans && family !== "remap") return;
  throw new CoupletError("kernel", {
    what: `Cannot run ${name} here`,
    why: "it serves spans, and this page runs caches of single tokens",
    remedy: "Run deno task test tests/cache/spans_test.ts, or read the kernel",
  });
}

/** Whether a kernel belongs to a cache; the others calibrate. */
export function isCacheFamily(family: KernelFamily): family is CacheFamily {
  return Object.hasOwn(WORK, family);
}

/**
 * The workload of a kernel, with the largest steps that it can be planned with.
 *
 * @param all The kernels there are.
 * @throws {CoupletError} as {@linkcode planWorkload} does, where no policy and no size of step will do.
 */
export function workloadOf(kernel: KernelInfo, all: readonly KernelInfo[]): Workload {
  const parts = parseKernelName(kernel.name);
  const { size = ANY_HEAD_DIM } = parts;
  const kernels = all.filter((other) => {
    const own = parseKernelName(other.name);
    return other === kernel ||
      ((own.size === size || own.size === undefined) && !competes(own, parts));
  });
  const work = WORK[parts.family as CacheFamily];
  let refusal: unknown;
  for (const policy of policiesOf(parts)) {
    for (const stepTokens of STEP_TOKENS) {
      const workload: Workload = {
        kernel,
        work,
        policy,
        kernels,
        stepTokens,
        options: (tokens) => options(parts, policy, tokens, stepTokens),
      };
      try {
        planWorkload(workload, stepTokens);
        return workload;
      } catch (error) {
        refusal = error;
      }
    }
  }
  throw refusal;
}

/** The same workload on exact tokens alone, for comparison. */
export function uncompressed(
  { kernel: _, ...workload }: Workload,
  all: readonly KernelInfo[],
): Workload {
  const policy: LayerPolicy = { keys: "f16", values: "f16" };
  return {
    ...workload,
    policy,
    kernels: all,
    options: (tokens) => ({ ...workload.options(tokens), policy }),
  };
}

/**
 * The plan of a workload.
 *
 * @param features The device's; all that kernels use where absent.
 * @throws {CoupletError} as `planCache` does; `kernel` where the planner has another kernel in its place.
 */
export function planWorkload(
  { kernel, kernels, options }: Workload,
  tokens: number,
  features: PlanOptions["features"] = new Set<string>(OPTIONAL_FEATURES),
): CachePlan {
  const precision = kernel && kernelPrecision(parseKernelName(kernel.name));
  const plan = planCache({
    ...options(tokens),
    kernels,
    ...(features && { features }),
    ...(precision && { precision }),
  });
  if (kernel !== undefined && !plannedKernels(plan).includes(kernel.name)) {
    throw new CoupletError("kernel", {
      what: `Cannot run ${kernel.name}`,
      why: `the planner takes ${plannedKernels(plan).join(", ")}`,
      remedy: "Run one of those, or plan a cache that needs the kernel",
    });
  }
  return plan;
}

/** Names of the kernels of a plan. */
export function plannedKernels({ layers, pageTable }: CachePlan): readonly string[] {
  const kernels = layers.flatMap(({ decode, ...layer }) => [
    layer.storeKeys,
    layer.loadKeys,
    layer.encodeKeys,
    layer.encodeValues,
    layer.decodeKeys,
    layer.decodeValues,
    decode.attend,
    decode.table,
    decode.score,
    decode.mix,
    layer.combine,
    layer.copy,
    layer.restore,
  ]);
  const names = [pageTable, ...kernels].flatMap((kernel) => kernel?.name ?? []);
  return [...new Set(names)];
}

/** Schemes with which a cache may need the kernel. Some tables are read by fused kernels, which are there for pairs alone. */
function policiesOf({ family, schemes }: KernelNameParts): readonly LayerPolicy[] {
  const [first = "f16", second = first] = schemes;
  const pair = { keys: first, values: second };
  if (family === "score") return [{ keys: first, values: "f16" }];
  if (family === "table") return [{ keys: first, values: "f16" }, pair];
  if (family === "mix") return [{ keys: "f16", values: first }];
  return [pair];
}

/** Whether the planner might choose the other kernel instead. */
function competes(other: KernelNameParts, parts: KernelNameParts): boolean {
  const { family, variant } = parts;
  if (family === "attend") return other.family === "attend" || other.family === "score";
  if (family === "score") return other.family === "attend" || other.family === "score";
  if (family === "mix") return other.family === "attend" || other.family === "mix";
  if (family === "table") {
    const reads = other.family === "attend" || other.family === "score";
    return reads && other.variant !== (variant ?? "table");
  }
  return other.family === family && other.size === parts.size && other.variant === variant &&
    other.schemes.join() === parts.schemes.join();
}

function options(
  parts: KernelNameParts,
  policy: LayerPolicy,
  tokens: number,
  stepTokens: number,
): CacheOptions {
  const { family, size = ANY_HEAD_DIM, variant } = parts;
  const sequences = family === "copy" || family === "restore" ? 1 + COPIES : 1;
  return {
    shape: {
      layers: 1,
      queryHeads: QUERY_HEADS,
      keyValueHeads: KEY_VALUE_HEADS,
      headDim: size,
    },
    policy,
    keys: keySpace(variant, policy.keys, size),
    tiers: { sinks: 4, window: 5 },
    capacity: {
      sequences,
      tokens: tokens + sequences * PAGE_TOKENS,
      sequenceTokens: tokens,
      stepTokens,
      appendTokens: stepTokens,
    },
  };
}

/**
 * Keys that are rotated before they are coded, wholly or in part, turn by nothing: turned numbers are not exact in f32, and their codes might
 * differ from those in float64 where two centroids are as near.
 */
function keySpace(
  variant: KeyVariant | undefined,
  keys: SchemeId,
  headDim: number,
): KeyOptions {
  if (variant === "anchored") {
    const inverseFrequencies = Array.from(
      { length: headDim / 2 },
      (_, pair) => pair < BAND_PAIRS ? 1 / (1 + pair) : 0,
    );
    return { space: "anchored", rope: { layout: "half", theta: 10000, inverseFrequencies } };
  }
  if (variant === "mrope") {
    const third = Math.floor(headDim / 6);
    const sections = mropeSections([headDim / 2 - 2 * third, third, third], { interleaved: true });
    return { space: "pre-rope", rope: { layout: "half", theta: 10000, sections } };
  }
  if (variant !== "rope") return { space: "as-scored" };
  const still = { inverseFrequencies: new Array<number>(headDim / 2).fill(0) };
  return {
    space: "pre-rope",
    rope: { layout: "half", theta: 10000, ...(parseScheme(keys).positional ? still : {}) },
  };
}
