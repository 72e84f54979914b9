import { parseScheme, type SchemeId } from "@couplet/kv";
import { Command, InvalidArgumentError, Option } from "commander";
import { FIXTURE_MODEL, integerFrom, readCommandLine } from "../command_line.ts";

/** What to choose a policy for. */
export interface PolicyOptions {
  /** Folder of a Hugging Face checkpoint. */
  readonly model: string;
  /** File to calibrate on; *Moby Dick* where absent. */
  readonly calibration?: string;
  /** Tokens to learn codebooks on. */
  readonly calibrationTokens: number;
  /** Tokens, apart from those, to take sensitivities on. */
  readonly sensitivityTokens: number;
  /** Tokens per context. */
  readonly context: number;
  /** Schemes to choose among; {@linkcode CANDIDATES} where absent, or those of the file of an earlier run. */
  readonly candidates?: readonly SchemeId[];
  /** Most bits per channel: effective ones, or nominal ones without `tokens`. */
  readonly bits: number;
  /** Tokens of a sequence; `Infinity` counts the codes alone. */
  readonly tokens: number;
  /** Sequences that share the codebooks. */
  readonly sequences: number;
  readonly window: number;
  readonly sinks: number;
  /**
   * Whether to run the model with each candidate in each place, through caches or with every token coded in float64, or to
   * estimate what that would give.
   */
  readonly sensitivity: "estimate" | "measure" | "all-coded";
  /** Folder where codebooks are kept for the next run. */
  readonly codebooks?: string;
  /** File of an earlier run whose sensitivities are taken. */
  readonly from?: string;
  readonly seed: number;
  /** Where the policy and the sensitivities go. */
  readonly json?: string;
}

/**
 * Schemes of the library that some budget is best met with. Of normalised ones, those of one stage are left out: at as many
 * bits, more stages lose less, or have smaller codebooks.
 */
export const CANDIDATES: readonly SchemeId[] = [
  "c2b10",
  "c2b8",
  "c1b4",
  "c4b10",
  "c4b8",
  "c2b4",
  "c1b2",
  "c8b10",
  "c8b8",
  "c4b4",
  "c2b2",
  "c16b8",
  "n16b8x4",
  "n8b8x2",
  "n8b4x4",
  "n32b8x4",
  "n16b8x2",
  "n16b4x4",
  "u4b8",
  "u8b8",
];

/**
 * The options that a command line gives, or the help text it asks for.
 *
 * @throws {CoupletError} `usage` or `scheme`, where an argument is wrong.
 */
export function parseArguments(
  argv: readonly string[],
): { readonly options: PolicyOptions } | { readonly help: string } {
  const command = new Command("policy")
    .description(
      "Chooses a scheme for each layer's keys and values, by what errors in them cost the model.\n" +
        "Codebooks are learned on one part of a text, and sensitivities are taken on another.",
    )
    .requiredOption("--bits <n>", "most bits per channel, all memory counted", positive)
    .option("--tokens <n>", "tokens of a sequence (default: count the codes alone)", integerFrom(1))
    .option("--sequences <n>", "sequences that share the codebooks", integerFrom(1), 1)
    .option("--window <n>", "recent tokens kept exactly", integerFrom(0), 0)
    .option("--sinks <n>", "first tokens kept exactly", integerFrom(0), 0)
    .option(
      "--candidates <list>",
      `schemes to choose among (default: ${CANDIDATES.join(", ")})`,
      schemeList,
    )
    .option("--model <dir>", "Hugging Face folder of the Llama family", FIXTURE_MODEL)
    .option("--calibration <file>", "text to learn and measure on (default: Moby Dick)")
    .option("--calibration-tokens <n>", "tokens to learn codebooks on", integerFrom(1), 12288)
    .option("--sensitivity-tokens <n>", "tokens to measure on", integerFrom(1), 4096)
    .option("--context <n>", "tokens per context", integerFrom(2), 512)
    .addOption(
      new Option(
        "--sensitivity <kind>",
        "estimate from gradients, measure by running each candidate in a cache, or with every token coded, in float64 on the CPU",
      ).choices(["estimate", "measure", "all-coded"]).default("estimate"),
    )
    .option("--codebooks <dir>", "folder to keep codebooks in")
    .option("--from <file>", "take the sensitivities of an earlier run's --json")
    .option("--seed <n>", "seed of the codebooks", integerFrom(0), 1)
    .option("--json <file>", "write the policy and the sensitivities");
  const help = readCommandLine(command, argv, "Cannot choose a policy");
  if (help !== undefined) return { help };
  return { options: { tokens: Infinity, ...command.opts<Omit<PolicyOptions, "tokens">>() } };
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < Infinity)) {
    throw new InvalidArgumentError("It must be a positive number.");
  }
  return value;
}

/** Schemes of a list with commas, each once. */
function schemeList(list: string): readonly SchemeId[] {
  return [...new Set(list.split(",").map((id) => parseScheme(id.trim()).id))];
}
