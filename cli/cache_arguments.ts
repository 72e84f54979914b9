/** The options that describe a cache: its schemes, sizes, and the device it is for. */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { LayerPolicy, Policy } from "../src/schemes/policy.ts";
import type { Capacity } from "../src/plan/options.ts";
import { OPTIONAL_FEATURES } from "../src/plan/requirements.ts";
import { BASE_LIMITS, type PlanLimits } from "../src/plan/limits.ts";
import { DEFAULT_PRECISION, type Precision, PRECISIONS } from "../src/kernels/precision.ts";
import type { ExactTiers } from "../src/plan/options.ts";
import type { SchemeId } from "../src/schemes/scheme.ts";
import type { KeySpace } from "../src/model/model.ts";
import { integerFrom, usageError } from "./arguments.ts";
import { collect } from "./command.ts";
import { addKernelsOption, type KernelsArguments } from "./kernels.ts";
import { readPolicy } from "./policy_file.ts";
import { findRecipe, RECIPE_NAMES, type RecipeName } from "./recipes.ts";
import { readScheme, schemeArgument } from "./schemes.ts";

/** What {@linkcode addPolicyOptions} adds. */
export interface PolicyArguments {
  readonly scheme?: SchemeId;
  readonly keys?: SchemeId;
  readonly values?: SchemeId;
  readonly policy?: string;
  readonly recipe?: RecipeName;
  readonly shareHeads?: true;
}

/** What {@linkcode addCacheOptions} adds. */
export interface CacheArguments extends PolicyArguments, KernelsArguments {
  readonly space?: KeySpace;
  readonly precision: Precision;
  readonly tokens: number;
  readonly sequences: number;
  readonly step: number;
  readonly window: number;
  readonly sinks: number;
  readonly limit: readonly (readonly [keyof PlanLimits, number])[];
  readonly feature: readonly GPUFeatureName[];
}

/** Adds the options that {@linkcode PolicyArguments} are read from. */
export function addPolicyOptions(command: Command): Command {
  return command
    .option("--scheme <id>", "scheme of keys and values: c8b8, u8b8, ...", schemeArgument)
    .option("--keys <id>", "scheme of the keys", schemeArgument)
    .option("--values <id>", "scheme of the values", schemeArgument)
    .addOption(
      new Option("--share-heads", "KV heads share centroids that are added: smaller codebooks")
        .conflicts(["policy", "recipe"]),
    )
    .option("--policy <file>", "schemes by layer, as deno task policy writes them")
    .addOption(
      new Option(
        "--recipe <name>",
        "schemes by what counts: least loss, fewest bytes or least time",
      )
        .choices(RECIPE_NAMES),
    );
}

/** Adds the options that {@linkcode CacheArguments} are read from. */
export function addCacheOptions(command: Command): Command {
  return addKernelsOption(addPolicyOptions(command))
    .addOption(
      new Option("--space <space>", "the space keys arrive in")
        .choices(["pre-rope", "anchored", "as-scored"] satisfies KeySpace[]),
    )
    .addOption(
      new Option("--precision <type>", "how much attention may round")
        .choices([...PRECISIONS]).default(DEFAULT_PRECISION),
    )
    .option("--tokens <n>", "tokens of each sequence", integerFrom(1), 4096)
    .option("--sequences <n>", "sequences alive at once", integerFrom(1), 1)
    .option("--step <n>", "most new tokens of a sequence in a step", integerFrom(1), 64)
    .option("--window <n>", "recent tokens kept exactly", integerFrom(0), 64)
    .option("--sinks <n>", "first tokens kept exactly", integerFrom(0), 4)
    .option(
      "--limit <name=n>",
      "a limit of the device, such as maxBufferSize=1073741824 (repeatable)",
      collect(readLimit),
      [],
    )
    .option(
      "--feature <name>",
      `a feature of the device that kernels may use: ${
        OPTIONAL_FEATURES.join(" or ")
      } (repeatable)`,
      collect(readFeature),
      [],
    );
}

function readFeature(name: string): GPUFeatureName {
  const feature = OPTIONAL_FEATURES.find((known) => known === name);
  if (feature === undefined) {
    throw new InvalidArgumentError(`It must be ${OPTIONAL_FEATURES.join(" or ")}.`);
  }
  return feature;
}

function readLimit(text: string): [keyof PlanLimits, number] {
  const [name, value, ...rest] = text.split("=");
  const known = Object.keys(BASE_LIMITS) as (keyof PlanLimits)[];
  const limit = known.find((one) => one === name);
  if (limit === undefined || rest.length > 0 || !/^[1-9]\d*$/.test(value ?? "")) {
    throw new InvalidArgumentError(
      `It must be a number for one of ${known.join(", ")}, such as ${known[0]}=32768.`,
    );
  }
  return [limit, Number(value)];
}

/** Whether the options describe no policy at all. */
export function namesNoPolicy(
  { scheme, keys, values, policy, recipe, shareHeads }: PolicyArguments,
): boolean {
  return [scheme, keys, values, policy, recipe, shareHeads].every((one) => one === undefined);
}

/**
 * The policy that the options describe.
 *
 * @param tokens Tokens of all sequences, for which recipes are chosen.
 * @throws {CoupletError} `usage` where they describe none or several; `file` and `scheme` where the
 * policy's file is wrong.
 */
export async function readPolicyArguments(
  { scheme, keys, values, policy, recipe, shareHeads }: PolicyArguments,
  what: string,
  tokens: number,
): Promise<Policy> {
  const given = [scheme, keys ?? values, policy, recipe].filter((one) => one !== undefined);
  if (given.length !== 1) {
    throw usageError(
      what,
      given.length === 0
        ? "no scheme is given: --scheme, --keys and --values, --policy, or --recipe"
        : "--scheme, --keys with --values, --policy, and --recipe exclude each other",
    );
  }
  if (policy !== undefined) {
    const found = (await readPolicy(policy)).policy;
    for (const pair of [found, ...Object.values(found.layers ?? {})]) {
      readScheme(pair.keys);
      readScheme(pair.values);
    }
    return found;
  }
  if (recipe !== undefined) {
    return onePair(findRecipe(recipe, tokens));
  }
  if (scheme !== undefined) return onePair({ keys: scheme, values: scheme, shareHeads });
  if (keys === undefined || values === undefined) {
    throw usageError(what, "--keys and --values belong together");
  }
  return onePair({ keys, values, shareHeads });
}

/** A policy of one pair of schemes. */
function onePair(
  { keys, values, shareHeads }: LayerPolicy & { readonly shareHeads: boolean | undefined },
): Policy {
  return shareHeads ? { keys, values, shareHeads } : { keys, values };
}

/** Sizes and exact tiers from the options. Every sequence may be as long as the longest. */
export function readSizes(
  { tokens, sequences, step, window, sinks }: CacheArguments,
): { readonly capacity: Capacity; readonly tiers: ExactTiers } {
  return {
    capacity: {
      sequences,
      tokens: sequences * tokens,
      sequenceTokens: tokens,
      // A step decodes every sequence, or prefills one.
      stepTokens: Math.max(step, sequences),
      appendTokens: step,
    },
    tiers: { sinks, window },
  };
}

/** The given limits, with WebGPU's defaults for the others; undefined where none is given. */
export function readLimits({ limit }: CacheArguments): PlanLimits | undefined {
  return limit.length === 0 ? undefined : { ...BASE_LIMITS, ...Object.fromEntries(limit) };
}
