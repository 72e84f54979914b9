import { Command, Option } from "commander";
import {
  FIXTURE_MODEL,
  integerFrom,
  optionWithDefault,
  readCommandLine,
  usageError,
} from "../command_line.ts";
import { type Weighting, WEIGHTINGS } from "../engine/weighted_samples.ts";
import { DEFAULT_PAIRS, parseSchemePairs, type SchemePair } from "./scheme_pairs.ts";

/** Tokens of a context where the adapter is fast enough: as many as the fixture model was trained on. */
export const FULL_CONTEXT = 512;

/** How much work to do. */
export interface Workload {
  /** Tokens per context. */
  readonly context: number;
  /** Tokens to evaluate on, in whole contexts. */
  readonly tokens: number;
  /** Tokens to calibrate on, in whole contexts. */
  readonly calibrationTokens: number;
  /** Tokens to generate at the end. */
  readonly generate: number;
}

/** What to do, and how much of it. */
export type DemoOptions = DemoArguments & Workload;

/**
 * What the command line asks for; what it says nothing of depends on the adapter. Everything is checked
 * that can be without reading a file.
 */
export interface DemoArguments extends Partial<Workload> {
  /** Folder of a Hugging Face checkpoint. */
  readonly model: string;
  /** File to evaluate on; a State of the Union address where absent. */
  readonly text?: string;
  /** File to calibrate on; *Moby Dick* where absent. */
  readonly calibration?: string;
  /** Rows of the table, `f16` first. */
  readonly pairs: readonly SchemePair[];
  /** What makes some errors of the codebooks count more than others. */
  readonly weights: Weighting;
  /** Exact recent tokens of the second quality figures. */
  readonly window: number;
  /** Exact first tokens of the second quality figures. */
  readonly sinks: number;
  /** Seed of calibration and generation. */
  readonly seed: number;
  /** File for the figures, unrounded. */
  readonly json?: string;
}

const WHAT = "Cannot start the demo";

/**
 * The options that a command line gives, or the help text it asks for.
 *
 * @throws {CoupletError} `usage` or `scheme`, where an argument is wrong.
 */
export function parseArguments(
  argv: readonly string[],
): { readonly options: DemoArguments } | { readonly help: string } {
  const command = new Command("demo")
    .description(
      "Evaluates a language model with its KV cache held in few bits per channel.\n" +
        "Codebooks are learned on one text, and quality is measured on another.",
    )
    .option("--model <dir>", "Hugging Face folder of the Llama family", FIXTURE_MODEL)
    .option("--text <file>", "text to evaluate on (default: the 1862 State of the Union)")
    .option("--calibration <file>", "text to learn codebooks on (default: Moby Dick)")
    .addOption(
      optionWithDefault(
        "--schemes <list>",
        "schemes, or pairs keys/values",
        parseSchemePairs,
        DEFAULT_PAIRS,
      ),
    )
    .option("--tokens <n>", "tokens to evaluate on (default: by adapter)", integerFrom(2))
    .option("--context <n>", "tokens per context", integerFrom(2))
    .option(
      "--calibration-tokens <n>",
      "tokens to learn codebooks on (default: by adapter)",
      integerFrom(1),
    )
    .addOption(
      new Option("--weights <kind>", "which errors of the codes count more")
        .choices(WEIGHTINGS)
        .default("fisher" satisfies Weighting),
    )
    .option("--window <n>", "recent tokens kept exactly", integerFrom(0), 64)
    .option("--sinks <n>", "first tokens kept exactly", integerFrom(0), 4)
    .option(
      "--generate <n>",
      "tokens to write with the smallest cache (default: by adapter)",
      integerFrom(0),
    )
    .option("--seed <n>", "seed of codebooks and generated text", integerFrom(0), 1)
    .option("--json <file>", "write the figures, unrounded");
  const help = readCommandLine(command, argv, WHAT);
  if (help !== undefined) return { help };
  const { schemes, ...rest } = command.opts<
    Omit<DemoOptions, "pairs"> & { schemes: SchemePair[] }
  >();
  const options: DemoArguments = { ...rest, pairs: schemes };
  const { context = FULL_CONTEXT } = options;
  if (options.tokens !== undefined && options.tokens < context) {
    throw usageError(
      WHAT,
      `--tokens ${options.tokens} is less than one context of ${context} tokens`,
    );
  }
  return { options };
}
