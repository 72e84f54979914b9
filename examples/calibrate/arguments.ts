import type { KeySpace } from "@couplet/kv";
import { Command, Option } from "commander";
import { findRecipe, type Recipe, RECIPE_NAMES, type RecipeName } from "../../cli/recipes.ts";
import { CALIBRATION_TOKENS, calibrationTokens } from "../calibration_tokens.ts";
import { FIXTURE_MODEL, integerFrom, readCommandLine, usageError } from "../command_line.ts";
import { parseSchemePairs, type SchemePair } from "../demo/scheme_pairs.ts";
import { type Weighting, WEIGHTINGS } from "../engine/weighted_samples.ts";

const WHAT = "Cannot calibrate";

/** What the command line asks for. */
export interface CalibrateOptions {
  /** Folder of a Hugging Face checkpoint. */
  readonly model: string;
  /** File to learn on; *Moby Dick* where absent. */
  readonly text?: string;
  readonly schemes: readonly SchemePair[];
  /** Whether KV heads share centroids that are added. */
  readonly shareHeads: boolean;
  /** What the schemes, weights, space and sharing were chosen by. */
  readonly recipe?: Recipe;
  /** What makes some errors of the codebooks count more than others. */
  readonly weights: Weighting;
  readonly space: KeySpace;
  /** Tokens to learn on, in whole contexts. */
  readonly tokens: number;
  /** Tokens per context. */
  readonly context: number;
  readonly seed: number;
  /** File for the codebooks. */
  readonly out: string;
}

/**
 * The options that a command line gives, or the help text it asks for.
 *
 * @throws {CoupletError} `usage` or `scheme`, where an argument is wrong.
 */
export function parseArguments(
  argv: readonly string[],
): { readonly options: CalibrateOptions } | { readonly help: string } {
  const command = new Command("calibrate")
    .description("Learns codebooks of a language model on a text, and writes them to a file.")
    .option("--model <dir>", "Hugging Face folder of the Llama family", FIXTURE_MODEL)
    .option("--text <file>", "text to learn on (default: Moby Dick)")
    .option("--schemes <list>", "schemes, or pairs keys/values", parseSchemePairs)
    .addOption(
      new Option(
        "--recipe <name>",
        "schemes, weights, space and sharing by what counts: least loss, fewest bytes or least time",
      ).choices(RECIPE_NAMES).conflicts(["schemes", "weights", "space", "shareHeads"]),
    )
    .option(
      "--length <n>",
      "tokens of all sequences of a cache, which --recipe is chosen for",
      integerFrom(1),
      4096,
    )
    .option("--share-heads", "KV heads share centroids that are added: smaller codebooks", false)
    .addOption(
      new Option("--weights <kind>", "which errors of the codes count more")
        .choices(WEIGHTINGS)
        .default("fisher" satisfies Weighting),
    )
    .addOption(
      new Option("--space <space>", "the space keys are coded in")
        .choices(["pre-rope", "anchored", "as-scored"] satisfies KeySpace[])
        .default("pre-rope" satisfies KeySpace),
    )
    .option("--tokens <n>", `tokens to learn on (${CALIBRATION_TOKENS})`, integerFrom(1))
    .option("--context <n>", "tokens per context", integerFrom(2), 512)
    .option("--seed <n>", "seed of the run", integerFrom(0), 1)
    .requiredOption("--out <file>", "where the codebooks go");
  const help = readCommandLine(command, argv, WHAT);
  if (help !== undefined) return { help };
  const { recipe: name, length, ...given } = command.opts<
    Omit<CalibrateOptions, "recipe" | "tokens"> & {
      recipe?: RecipeName;
      length: number;
      tokens?: number;
    }
  >();
  const withTokens = (options: Omit<CalibrateOptions, "tokens">): CalibrateOptions => ({
    ...options,
    tokens: given.tokens ??
      calibrationTokens(options.schemes.flatMap(({ keys, values }) => [keys, values])),
  });
  if (name === undefined) {
    if (given.schemes === undefined) {
      throw usageError(WHAT, "neither --schemes nor --recipe is given");
    }
    return { options: withTokens(given) };
  }
  const recipe = findRecipe(name, length);
  const { keys, values, space, fisher, shareHeads } = recipe;
  return {
    options: withTokens({
      ...given,
      schemes: parseSchemePairs(`${keys}/${values}`),
      weights: fisher ? "fisher" : "none",
      space,
      shareHeads,
      recipe,
    }),
  };
}
