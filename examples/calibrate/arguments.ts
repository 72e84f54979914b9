import type { KeySpace } from "@couplet/kv";
import { Command, Option } from "commander";
import { FIXTURE_MODEL, integerFrom, readCommandLine } from "../command_line.ts";
import { parseSchemePairs, type SchemePair } from "../demo/scheme_pairs.ts";
import { type Weighting, WEIGHTINGS } from "../llama/weighted_samples.ts";

/** What the command line asks for. */
export interface CalibrateOptions {
  /** Folder of a Hugging Face checkpoint. */
  readonly model: string;
  /** File to learn on; *Moby Dick* where absent. */
  readonly text?: string;
  readonly schemes: readonly SchemePair[];
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
    .requiredOption("--schemes <list>", "schemes, or pairs keys/values", parseSchemePairs)
    .addOption(
      new Option("--weights <kind>", "which errors of the codes count more")
        .choices(WEIGHTINGS)
        .default("fisher" satisfies Weighting),
    )
    .addOption(
      new Option("--space <space>", "the space keys are coded in")
        .choices(["pre-rope", "as-scored"])
        .default("pre-rope" satisfies KeySpace),
    )
    .option("--tokens <n>", "tokens to learn on", integerFrom(1), 12288)
    .option("--context <n>", "tokens per context", integerFrom(2), 512)
    .option("--seed <n>", "seed of the run", integerFrom(0), 1)
    .requiredOption("--out <file>", "where the codebooks go");
  const help = readCommandLine(command, argv, "Cannot calibrate");
  return help === undefined ? { options: command.opts<CalibrateOptions>() } : { help };
}
