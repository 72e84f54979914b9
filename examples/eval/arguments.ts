import type { KeySpace } from "@couplet/kv";
import { Command, Option } from "commander";
import { CALIBRATION_TOKENS } from "../calibration_tokens.ts";
import {
  FIXTURE_MODEL,
  integerFrom,
  listOf,
  oneOf,
  readCommandLine,
  usageError,
} from "../command_line.ts";
import { parseSchemePairs, type SchemePair, UNCOMPRESSED } from "../demo/scheme_pairs.ts";
import { type Weighting, WEIGHTINGS } from "../engine/weighted_samples.ts";
import { KEY_SPACES } from "./figures/results.ts";
import { type NamedPolicy, uniformPolicy } from "./methods.ts";

/** What the command line asks for; everything is checked that can be without reading a file. */
export interface EvalArguments {
  /** Folder of a Hugging Face checkpoint. */
  readonly model: string;
  /** File to evaluate on; State of the Union addresses where absent. */
  readonly text?: string;
  /** File to calibrate on, whose last fifth is evaluated on, too; *Moby Dick* where absent. */
  readonly calibration?: string;
  /** Policies that use one pair of schemes in all layers. */
  readonly schemes: readonly NamedPolicy[];
  /** Files of other policies. */
  readonly policy: readonly string[];
  readonly windows: readonly number[];
  readonly sinks: readonly number[];
  /** Whether every token is coded, without exact tiers: instead of the windows and sinks, or beside those given. */
  readonly allCoded: boolean;
  readonly weights: readonly Weighting[];
  /** Undefined where each method takes the first that it can be planned in. */
  readonly spaces?: readonly KeySpace[];
  /** Whether the model's values are rotated, for all methods alike. */
  readonly rotateValues: boolean;
  /** Whether all combinations are compared. */
  readonly sweep: boolean;
  /** Tokens per context. */
  readonly context: number;
  /** Tokens of each text to evaluate on, in whole contexts. */
  readonly tokens: number;
  /** Tokens to calibrate on, in whole contexts; by the schemes where absent. */
  readonly calibrationTokens?: number;
  /** Names that are asked for at each distance; 0 to leave retrieval out. */
  readonly trials: number;
  /** Tokens between a planted name and the question. */
  readonly distances: readonly number[];
  /** Tokens to write from each prompt; 0 to leave generation out. */
  readonly generate: number;
  /** Numbers of sequences that effective bits are counted for. */
  readonly sequences: readonly number[];
  /** New tokens of a sequence in a step, at most. */
  readonly chunk: number;
  /** Folder where codebooks are kept for the next evaluation. */
  readonly codebooks?: string;
  readonly seed: number;
  /** Figures of an earlier evaluation, to show again. */
  readonly from?: string;
  /** File for the figures. */
  readonly json?: string;
  /** File for the report. */
  readonly html?: string;
}

const WHAT = "Cannot start the evaluation";

/** What is compared where nothing is said. */
const DEFAULT_SCHEMES = "c2b8,c4b8,c8b8";

/**
 * The options that a command line gives, or the help text it asks for.
 *
 * @throws {CoupletError} `usage` or `scheme`, where an argument is wrong.
 */
export function parseArguments(
  argv: readonly string[],
): { readonly options: EvalArguments } | { readonly help: string } {
  const command = new Command("eval")
    .description(
      "Measures what a compressed KV cache costs a language model, against the uncompressed one:\n" +
        "perplexity, KL divergence and agreement on two texts, retrieval, where written text parts,\n" +
        "errors by layer, use of the codebooks.",
    )
    .option("--vision", "evaluate videos that a vision-language model sees; see --vision --help")
    .option("--model <dir>", "Hugging Face folder of the Llama family", FIXTURE_MODEL)
    .option(
      "--text <file>",
      "text unlike the calibration's (default: State of the Union addresses)",
    )
    .option("--calibration <file>", "text to learn codebooks on (default: Moby Dick)")
    .option(
      "--schemes <list>",
      `schemes, or pairs keys/values (default: ${DEFAULT_SCHEMES})`,
      parseSchemePairs,
    )
    .option("--policy <file...>", "saved policies, for rows of their own", [])
    .option("--windows <list>", "recent tokens kept exactly", listOf(integerFrom(0)), [0, 64])
    .option("--sinks <list>", "first tokens kept exactly", listOf(integerFrom(0)), [0, 4])
    .option(
      "--all-coded",
      "code every token, those of unfinished blocks too, in float64 on the CPU; alone, or beside --windows and --sinks",
      false,
    )
    .option(
      "--weights <list>",
      `which errors of the codes count more: ${WEIGHTINGS.join(", ")}`,
      listOf(oneOf(WEIGHTINGS)),
      ["fisher"],
    )
    .option(
      "--spaces <list>",
      `spaces to code keys in (default: the first that can be planned of ${KEY_SPACES.join(", ")})`,
      listOf(oneOf(KEY_SPACES)),
    )
    .option("--rotate-values", "rotate values onto their principal axes", false)
    .option("--share-heads", "KV heads share centroids of --schemes that are added", false)
    .option("--sweep", "compare all combinations of the lists", false)
    .option("--context <n>", "tokens per context", integerFrom(2), 512)
    .option("--tokens <n>", "tokens of each text to evaluate on", integerFrom(2), 2048)
    .option(
      "--calibration-tokens <n>",
      `tokens to learn codebooks on (${CALIBRATION_TOKENS})`,
      integerFrom(1),
    )
    .option("--trials <n>", "names asked for at each distance, or 0", integerFrom(0), 4)
    .option(
      "--distances <list>",
      "tokens from a planted name to the question",
      listOf(integerFrom(1)),
      [32, 64, 128, 256, 448],
    )
    .option("--generate <n>", "tokens to write from each prompt, or 0", integerFrom(0), 48)
    .option(
      "--sequences <list>",
      "numbers of sequences that effective bits are counted for",
      listOf(integerFrom(1)),
      [1, 8],
    )
    .option("--chunk <n>", "new tokens of a sequence in a step", integerFrom(1), 32)
    .option("--codebooks <dir>", "folder to keep codebooks in")
    .option("--seed <n>", "seed of codebooks and of planted names", integerFrom(0), 1)
    .option("--json <file>", "write the figures, unrounded")
    .option("--html <file>", "write a report with plots")
    .addOption(
      new Option("--from <file>", "show the figures of an earlier --json; nothing is measured"),
    );
  const help = readCommandLine(command, argv, WHAT);
  if (help !== undefined) return { help };
  const { schemes, shareHeads, ...rest } = command.opts<
    Omit<EvalArguments, "schemes"> & { schemes?: readonly SchemePair[]; shareHeads: boolean }
  >();
  if (rest.tokens < rest.context) {
    throw usageError(
      WHAT,
      `--tokens ${rest.tokens} is less than one context of ${rest.context} tokens`,
    );
  }
  const given = (name: "windows" | "sinks") => command.getOptionValueSource(name) !== "default";
  const tiers = rest.allCoded && !given("windows") && !given("sinks")
    ? { windows: [], sinks: [] }
    : {};
  return {
    options: {
      ...rest,
      ...tiers,
      // The uncompressed cache is always there, and no method of its own.
      schemes: (schemes ?? (rest.policy.length > 0 ? [] : parseSchemePairs(DEFAULT_SCHEMES)))
        .filter(({ id }) => id !== UNCOMPRESSED.id)
        .map((pair) => uniformPolicy(pair, shareHeads)),
    },
  };
}
