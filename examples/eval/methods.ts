import {
  CoupletError,
  type ExactTiers,
  type KeySpace,
  type LayerPolicy,
  parseScheme,
  type Policy,
  type SchemeId,
} from "@couplet/kv";
import type { SchemePair } from "../demo/scheme_pairs.ts";
import type { Weighting } from "../engine/weighted_samples.ts";
import { KEY_SPACES } from "./figures/results.ts";

/** A policy and what people call it. */
export interface NamedPolicy {
  /** `c4b8`, `c4b8/c8b8`, or the name a policy file gives. */
  readonly name: string;
  readonly policy: Policy;
}

/** One way of holding a cache: what a row of the evaluation is about. */
export interface Method extends NamedPolicy {
  /** What the codebooks were weighed by; `none` where nothing is learned. */
  readonly weights: Weighting;
  /** The space keys are coded in. */
  readonly keySpace: KeySpace;
  readonly tiers: ExactTiers;
  /** Whether every token is coded, those of unfinished blocks too, by the schemes' arithmetic in float64. */
  readonly allCoded: boolean;
}

/** A method that the planner refused, and its reason. */
export interface RefusedMethod {
  readonly method: Method;
  readonly error: CoupletError;
}

/** What is to be compared. Lists have one element at least, those of windows and sinks where nothing else is asked for. */
export interface MethodLists {
  readonly policies: readonly NamedPolicy[];
  readonly windows: readonly number[];
  readonly sinks: readonly number[];
  readonly weights: readonly Weighting[];
  /** Undefined to take the first of {@linkcode KEY_SPACES} that a method can be planned in. */
  readonly spaces: readonly KeySpace[] | undefined;
  /** Whether every policy is measured with every token coded, too. */
  readonly allCoded: boolean;
}

/** The uncompressed cache that all methods are compared with. */
export const BASELINE: Method = {
  name: "f16",
  policy: { keys: "f16", values: "f16" },
  weights: "none",
  keySpace: "pre-rope",
  tiers: { sinks: 0, window: 0 },
  allCoded: false,
};

/**
 * The uncompressed cache with exact tiers: the same numbers on another way through the kernels, in other
 * tiles and splits, so that it differs by rounding alone.
 */
export const NOISE: Method = { ...BASELINE, tiers: { sinks: 4, window: 64 } };

/**
 * A policy that uses one pair of schemes in all layers.
 *
 * @param shareHeads Whether KV heads share centroids that are added.
 */
export function uniformPolicy({ id, keys, values }: SchemePair, shareHeads: boolean): NamedPolicy {
  const added = [keys, values].some((scheme) => parseScheme(scheme).codebookSpec?.stages);
  return shareHeads && added
    ? { name: `${id} shared`, policy: { keys, values, shareHeads } }
    : { name: id, policy: { keys, values } };
}

/** Whether a scheme's codes index centroids that calibration learns. */
export function isLearned(scheme: SchemeId): boolean {
  return parseScheme(scheme).codebook === "learned";
}

/** The pairs of schemes that a policy names, the one for most layers first. */
export function policyPairs({ keys, values, layers = {} }: Policy): readonly LayerPolicy[] {
  return [{ keys, values }, ...Object.values(layers)];
}

/**
 * The methods that lists make: all combinations, or one for each policy and pair of a window and as many
 * sinks. Methods that differ in nothing that matters to them come once.
 *
 * @param check Throws what the planner has against a method.
 * @returns The methods, and those refused: with `sweep` alone, where there are others.
 * @throws {CoupletError} `usage` where the lists do not pair up; without `sweep`, or where no method is left,
 * what `check` throws.
 */
export function expandMethods(
  lists: MethodLists,
  sweep: boolean,
  check: (method: Method) => void,
): { readonly methods: readonly Method[]; readonly refused: readonly RefusedMethod[] } {
  const tiers = sweep
    ? lists.windows.flatMap((window) => lists.sinks.map((sinks) => ({ sinks, window })))
    : pairTiers(lists.windows, lists.sinks);
  const ways = [
    ...tiers.map((tiers) => ({ tiers, allCoded: false })),
    ...(lists.allCoded ? [{ tiers: { sinks: 0, window: 0 }, allCoded: true }] : []),
  ];
  if (!sweep) {
    requireOne("--weights", lists.weights);
    requireOne("--spaces", lists.spaces ?? [undefined]);
  }
  const methods = new Map<string, Method>();
  const refused = new Map<string, RefusedMethod>();
  for (const { name, policy } of lists.policies) {
    const learned = policyPairs(policy).some(({ keys, values }) =>
      isLearned(keys) || isLearned(values)
    );
    for (const weights of learned ? lists.weights : ["none" as const]) {
      for (const way of ways) {
        for (const spaces of lists.spaces?.map((space) => [space]) ?? [KEY_SPACES]) {
          const one = { name, policy, weights, ...way };
          const { method, error } = firstPlanned(one, spaces, check);
          if (error === undefined) methods.set(methodId(method), method);
          else if (sweep) refused.set(methodId(method), { method, error });
          else throw error;
        }
      }
    }
  }
  const [first] = refused.values();
  if (methods.size === 0 && first !== undefined) throw first.error;
  return { methods: [...methods.values()], refused: [...refused.values()] };
}

/** Everything about a method in a few words; no two methods of an evaluation share it. */
export function methodId({ name, weights, keySpace, tiers, allCoded }: Method): string {
  const exact = allCoded ? "every token coded" : `window ${tiers.window} sinks ${tiers.sinks}`;
  return `${name} ${weights} ${keySpace} ${exact}`;
}

/** The method in the first space that it can be planned in, or in the first with what is against it. */
function firstPlanned(
  method: Omit<Method, "keySpace">,
  spaces: readonly KeySpace[],
  check: (method: Method) => void,
): { readonly method: Method; readonly error?: CoupletError } {
  const refused: { readonly method: Method; readonly error: CoupletError }[] = [];
  for (const keySpace of spaces) {
    const candidate = { ...method, keySpace };
    try {
      check(candidate);
      return { method: candidate };
    } catch (error) {
      if (!(error instanceof CoupletError)) throw error;
      refused.push({ method: candidate, error });
    }
  }
  return refused[0]!;
}

/** The first window with the first number of sinks, and so on; one of either goes with all of the other. */
function pairTiers(windows: readonly number[], sinks: readonly number[]): readonly ExactTiers[] {
  const count = Math.max(windows.length, sinks.length);
  for (const [name, list] of [["--windows", windows], ["--sinks", sinks]] as const) {
    if (list.length !== 1 && list.length !== count) {
      throw unclear(`${name} has ${list.length} numbers where ${count} are to be paired`);
    }
  }
  return Array.from({ length: count }, (_, i) => ({
    window: windows[i] ?? windows[0]!,
    sinks: sinks[i] ?? sinks[0]!,
  }));
}

function requireOne(name: string, list: readonly unknown[]): void {
  if (list.length > 1) throw unclear(`${name} has ${list.length} entries`);
}

function unclear(why: string): CoupletError {
  return new CoupletError("usage", {
    what: "Cannot tell which methods to compare",
    why,
    remedy: "Add --sweep for all combinations, or give lists that pair up",
  });
}
