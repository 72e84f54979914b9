import { Command, Option } from "commander";
import {
  integerFrom,
  listOf,
  numberFrom,
  readCommandLine,
  VISION_FIXTURE_MODEL,
} from "../../command_line.ts";
import { SPAN_WEIGHTINGS, type SpanWeighting } from "../../vision/span_samples.ts";
import { LITERALS, parseVisionMethods, type VisionMethod } from "./methods.ts";

/** What the command line asks for. */
export interface VisionArguments {
  /** Folder of a vision-language model. */
  readonly model: string;
  /** File of videos to ask about. */
  readonly videos: string;
  /** File of videos to learn codebooks on. */
  readonly calibration: string;
  readonly methods: readonly VisionMethod[];
  /** Part of the visual tokens that methods with two pairs protect. */
  readonly protect: number;
  /** Videos to ask about, at most. */
  readonly examples: number;
  /** What makes some errors of the codebooks count more. */
  readonly weights: SpanWeighting;
  readonly seed: number;
  /** Figures of an earlier evaluation, to show again. */
  readonly from?: string;
  /** File for the figures. */
  readonly json?: string;
  /** File for the report. */
  readonly html?: string;
}

const WHAT = "Cannot start the evaluation of vision";

/** What is compared where nothing is said. */
const DEFAULT_SCHEMES = "c2b8,c4b10/c4b8,c4b8,c4b8/c16b8,c8b8,kc2/kt2,kc1p2/zc3,sc4,sc2,sc1";

/**
 * The options that a command line gives, or the help text it asks for.
 *
 * @throws {CoupletError} `usage` or `scheme`, where an argument is wrong.
 */
export function parseVisionArguments(
  argv: readonly string[],
): { readonly options: VisionArguments } | { readonly help: string } {
  const command = new Command("eval --vision")
    .description(
      "Measures what compressing the tokens of videos costs a vision-language model: how many questions\n" +
        "it answers right, its loss on the answers, and how far their distributions move.",
    )
    .option("--vision", "evaluate vision")
    .option("--model <dir>", "folder of a vision-language model", VISION_FIXTURE_MODEL)
    .option("--videos <file>", "videos to ask about (default: the model's examples)")
    .option("--calibration <file>", "videos to learn codebooks on (default: the model's)")
    .option(
      "--schemes <list>",
      "schemes, or pairs keys/values; ...@2:c2b8 where layer 2 differs, protected+others where tokens do",
      DEFAULT_SCHEMES,
    )
    .option(
      "--remaps <list>",
      "ranges to take off a span's scores, 0 for none",
      listOf(numberFrom(0)),
      [0],
    )
    .option("--protect <share>", "part of the tokens that are protected", numberFrom(0, 1), 0.25)
    .option("--no-literal", "leave out methods to the letter, which run on the CPU")
    .option("--examples <n>", "videos to ask about, at most", integerFrom(1), 16)
    .addOption(
      new Option("--weights <kind>", "which errors of codebooks count more")
        .choices(SPAN_WEIGHTINGS)
        .default("none" satisfies SpanWeighting),
    )
    .option("--seed <n>", "seed of codebooks", integerFrom(0), 1)
    .option("--from <file>", "show the figures of an earlier --json; nothing is measured")
    .option("--json <file>", "write the figures, unrounded")
    .option("--html <file>", "write a report with plots");
  const help = readCommandLine(command, argv, WHAT);
  if (help !== undefined) return { help };
  const { schemes, remaps, literal, ...rest } = command.opts<
    Omit<VisionArguments, "methods" | "videos" | "calibration"> & {
      readonly videos?: string;
      readonly calibration?: string;
      readonly schemes: string;
      readonly remaps: readonly number[];
      readonly literal: boolean;
    }
  >();
  return {
    options: {
      ...rest,
      videos: rest.videos ?? `${rest.model}/examples.safetensors`,
      calibration: rest.calibration ?? `${rest.model}/calibration.safetensors`,
      methods: [...parseVisionMethods(schemes, remaps), ...(literal ? LITERALS : [])],
    },
  };
}
