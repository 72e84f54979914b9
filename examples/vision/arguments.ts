import { Command, Option } from "commander";
import { integerFrom, listOf, readCommandLine, VISION_FIXTURE_MODEL } from "../command_line.ts";
import { parseSchemePairs, type SchemePair, UNCOMPRESSED } from "../demo/scheme_pairs.ts";
import { SPAN_WEIGHTINGS, type SpanWeighting } from "./span_samples.ts";

/** What the command line asks for. */
export interface VisionDemoArguments {
  /** Folder of a vision-language model. */
  readonly model: string;
  /** File of videos. */
  readonly videos: string;
  /** File of videos to learn codebooks on. */
  readonly calibration: string;
  /** Which of the videos. */
  readonly video: number;
  /** Frames to draw. */
  readonly frames: readonly number[];
  /** Questions to ask, at most. */
  readonly questions: number;
  /** Schemes of the video's keys and values. */
  readonly pairs: readonly SchemePair[];
  /** What makes some errors of the codebooks count more. */
  readonly weights: SpanWeighting;
  readonly seed: number;
}

const WHAT = "Cannot start the demo of vision";

/** A bit a channel, by levels of the span and by learned codebooks. */
const DEFAULT_SCHEMES = "sc1,c8b8";

/**
 * The options that a command line gives, or the help text it asks for.
 *
 * @throws {CoupletError} `usage` or `scheme`, where an argument is wrong.
 */
export function parseArguments(
  argv: readonly string[],
): { readonly options: VisionDemoArguments } | { readonly help: string } {
  const command = new Command("vision")
    .description(
      "Shows a video to a small vision-language model and asks about it, with the video's keys and values\n" +
        "in f16 and in few bits.",
    )
    .option("--model <dir>", "folder of a vision-language model", VISION_FIXTURE_MODEL)
    .option("--videos <file>", "videos and questions (default: the model's examples)")
    .option("--calibration <file>", "videos to learn codebooks on (default: the model's)")
    .option("--video <n>", "which of the videos", integerFrom(0), 0)
    .option("--frames <list>", "frames to draw", listOf(integerFrom(0)), [0, 7])
    .option("--questions <n>", "questions to ask, at most", integerFrom(1), 12)
    .option("--schemes <list>", "schemes of the video, or pairs keys/values", DEFAULT_SCHEMES)
    .addOption(
      new Option("--weights <kind>", "which errors of codebooks count more")
        .choices(SPAN_WEIGHTINGS)
        .default("none" satisfies SpanWeighting),
    )
    .option("--seed <n>", "seed of codebooks", integerFrom(0), 1);
  const help = readCommandLine(command, argv, WHAT);
  if (help !== undefined) return { help };
  const { schemes, ...rest } = command.opts<
    Omit<VisionDemoArguments, "pairs" | "videos" | "calibration"> & {
      readonly videos?: string;
      readonly calibration?: string;
      readonly schemes: string;
    }
  >();
  return {
    options: {
      ...rest,
      videos: rest.videos ?? `${rest.model}/examples.safetensors`,
      calibration: rest.calibration ?? `${rest.model}/calibration.safetensors`,
      pairs: parseSchemePairs(schemes).filter(({ id }) => id !== UNCOMPRESSED.id),
    },
  };
}
