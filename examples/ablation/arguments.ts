import type { SchemeId } from "@couplet/kv";
import { Command } from "commander";
import { FIXTURE_MODEL, integerFrom, readCommandLine, usageError } from "../command_line.ts";
import { ablationVariants } from "./variants.ts";

/** What the command line asks for. */
export interface AblationArguments {
  /** Folder of a Hugging Face checkpoint. */
  readonly model: string;
  /** File to evaluate on; State of the Union addresses where absent. */
  readonly text?: string;
  /** File to calibrate on; *Moby Dick* where absent. */
  readonly calibration?: string;
  /** The scheme that is taken apart. */
  readonly scheme: SchemeId;
  /** Titles of the rows to measure; all where absent. */
  readonly only?: readonly string[];
  /** Tokens per context. */
  readonly context: number;
  /** Tokens to evaluate on, in whole contexts. */
  readonly tokens: number;
  /** Tokens to calibrate on, in whole contexts. */
  readonly calibrationTokens: number;
  readonly seed: number;
  /** File for the figures. */
  readonly json?: string;
}

const WHAT = "Cannot start the ablation";

/**
 * The options that a command line gives, or the help text it asks for.
 *
 * @throws {CoupletError} `usage` or `scheme`, where an argument is wrong.
 */
export function parseAblationArguments(
  argv: readonly string[],
): { readonly options: AblationArguments } | { readonly help: string } {
  const command = new Command("ablation")
    .description(
      "Takes a normalised, additive scheme apart: what each of its parts gains, every token coded, in float64.",
    )
    .option("--model <dir>", "Hugging Face folder of the Llama family", FIXTURE_MODEL)
    .option("--text <file>", "text to evaluate on (default: State of the Union addresses)")
    .option("--calibration <file>", "text to learn codebooks on (default: Moby Dick)")
    .option("--scheme <id>", "scheme of keys and values", "n16b8x2")
    .option(
      "--only <list>",
      "titles of rows to measure, separated by commas",
      (list: string) => list.split(",").map((title) => title.trim()),
    )
    .option("--context <n>", "tokens per context", integerFrom(2), 512)
    .option("--tokens <n>", "tokens to evaluate on", integerFrom(2), 4096)
    .option("--calibration-tokens <n>", "tokens to learn codebooks on", integerFrom(1), 12288)
    .option("--seed <n>", "seed of codebooks", integerFrom(0), 1)
    .option("--json <file>", "write the figures, unrounded");
  const help = readCommandLine(command, argv, WHAT);
  if (help !== undefined) return { help };
  const options = command.opts<AblationArguments>();
  const titles = ablationVariants(options.scheme).map(({ title }) => title);
  const unknown = options.only?.find((title) => !titles.includes(title));
  if (unknown !== undefined) {
    throw usageError(WHAT, `there is no row "${unknown}" among ${titles.join("; ")}`);
  }
  return { options };
}
