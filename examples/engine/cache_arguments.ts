import { parseScheme, type SchemeId } from "@couplet/kv";
import type { Command } from "commander";
import { FIXTURE_MODEL, integerFrom, usageError } from "../command_line.ts";

/** What a command line says of the model and its cache. */
export interface CacheArguments {
  /** Folder of a Hugging Face checkpoint. */
  readonly model: string;
  /** Scheme of the keys. */
  readonly keys: SchemeId;
  /** Scheme of the values. */
  readonly values: SchemeId;
  /** Codebook file, to read, or to write with `calibration`. */
  readonly codebooks?: string;
  /** Text to learn codebooks on. */
  readonly calibration?: string;
  /** Tokens of it to learn from. */
  readonly calibrationTokens: number;
  /** Recent tokens kept exactly. */
  readonly window: number;
  /** First tokens kept exactly. */
  readonly sinks: number;
  /** Seed of all that is drawn at random. */
  readonly seed: number;
  /** Whether to print the plan in words. */
  readonly explain?: boolean;
}

/** Adds the options that {@linkcode CacheArguments} are read from. */
export function addCacheOptions(command: Command): Command {
  return command
    .option("--model <dir>", "Hugging Face folder of a family that the engine runs", FIXTURE_MODEL)
    .option("--keys <scheme>", "scheme of the keys: f16, c8b8, ...", "f16")
    .option("--values <scheme>", "scheme of the values", "f16")
    .option("--codebooks <file>", "codebooks of these schemes, learned on this model")
    .option("--calibration <file>", "text to learn codebooks on; written to --codebooks if given")
    .option("--calibration-tokens <n>", "tokens of it to learn from", integerFrom(1), 8192)
    .option("--window <n>", "recent tokens kept exactly", integerFrom(0), 64)
    .option("--sinks <n>", "first tokens kept exactly", integerFrom(0), 4)
    .option("--seed <n>", "seed of all that is drawn at random", integerFrom(0), 1)
    .option("--explain", "print what the planner chose, layer by layer");
}

/**
 * Checks that there will be codebooks where the schemes need them.
 *
 * @throws {CoupletError} `usage` where there are none, `scheme` where a scheme does not parse.
 */
export function checkCacheArguments(
  { keys, values, codebooks, calibration }: CacheArguments,
  what: string,
): void {
  const learned = [keys, values].find((id) => parseScheme(id).codebook === "learned");
  if (learned !== undefined && !codebooks && !calibration) {
    throw usageError(
      what,
      `${learned} needs codebooks, and neither --codebooks nor --calibration is given`,
    );
  }
}
