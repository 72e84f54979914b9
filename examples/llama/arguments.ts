import { parseScheme } from "@couplet/kv";
import { Command, InvalidArgumentError } from "commander";
import { FIXTURE_MODEL, integerFrom, readCommandLine, usageError } from "../command_line.ts";

/** What the command line asks for. */
export interface ChatOptions {
  /** Folder of a Hugging Face checkpoint. */
  readonly model: string;
  /** The text to continue. */
  readonly prompt: string;
  /** Most tokens to add. */
  readonly tokens: number;
  /** Scheme of the keys. */
  readonly keys: string;
  /** Scheme of the values. */
  readonly values: string;
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
  /** 0 for the likeliest token. */
  readonly temperature: number;
  /** Seed of drawn text and of codebooks. */
  readonly seed: number;
  /** Whether to print the plan in words. */
  readonly explain?: boolean;
}

const WHAT = "Cannot start";

/**
 * The options that a command line gives, or the help text it asks for.
 *
 * @throws {CoupletError} `usage` or `scheme`, where an argument is wrong.
 */
export function parseArguments(
  argv: readonly string[],
): { readonly options: ChatOptions } | { readonly help: string } {
  const command = new Command("chat")
    .description("Continues a text with a compressed KV cache.")
    .option("--model <dir>", "Hugging Face folder of the Llama family", FIXTURE_MODEL)
    .option("--prompt <text>", "the text to continue", "It was the best of times")
    .option("--tokens <n>", "most tokens to add", integerFrom(0), 64)
    .option("--keys <scheme>", "scheme of the keys: f16, c8b8, ...", "f16")
    .option("--values <scheme>", "scheme of the values", "f16")
    .option("--codebooks <file>", "codebooks of these schemes, learned on this model")
    .option("--calibration <file>", "text to learn codebooks on; written to --codebooks if given")
    .option("--calibration-tokens <n>", "tokens of it to learn from", integerFrom(1), 8192)
    .option("--window <n>", "recent tokens kept exactly", integerFrom(0), 64)
    .option("--sinks <n>", "first tokens kept exactly", integerFrom(0), 4)
    .option("--temperature <t>", "0 takes the likeliest token", temperature, 0)
    .option("--seed <n>", "seed of drawn text and of codebooks", integerFrom(0), 1)
    .option("--explain", "print what the planner chose, layer by layer");
  const help = readCommandLine(command, argv, WHAT);
  if (help !== undefined) return { help };
  const options = command.opts<ChatOptions>();
  const learned = [options.keys, options.values].find((id) => parseScheme(id).centroids > 0);
  if (learned !== undefined && !options.codebooks && !options.calibration) {
    throw usageError(
      WHAT,
      `${learned} needs codebooks, and neither --codebooks nor --calibration is given`,
    );
  }
  return { options };
}

function temperature(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value < Infinity)) {
    throw new InvalidArgumentError("It must be a number from 0.");
  }
  return value;
}
