import { z } from "zod";
import type { FileSource } from "../../../cli/files.ts";
import { parseJson, readJson } from "../../../cli/json.ts";
import { SPAN_WEIGHTINGS } from "../../vision/span_samples.ts";

const count = z.int().nonnegative();

/** Answers of one kind of question. */
const kindFigures = z.object({
  kind: z.string(),
  answers: count,
  /** Share of answers whose token is the most probable of all. */
  accuracy: z.number(),
  /** Mean loss on the answers, nats. */
  loss: z.number(),
});

/** All answers. */
const answerFigures = z.object({
  answers: count,
  accuracy: z.number(),
  /** Standard error of the accuracy, over videos; null for one video. */
  accuracyError: z.number().nullable(),
  /** Mean loss on the answers, nats. */
  loss: z.number(),
  kinds: z.array(kindFigures),
});

const method = answerFigures.extend({
  name: z.string(),
  /** Bits per channel of the video's keys and values, all that stays of them; null where nothing does. */
  effectiveBits: z.number().nullable(),
  /** Bytes of a video, in all layers; null where nothing is kept. */
  bytes: z.number().nullable(),
  /** Mean loss above the exact video's, nats. */
  excess: z.number(),
  /** Standard error of the excess, over videos. */
  excessError: z.number().nullable(),
  /** KL divergence from the exact video's answer distributions, nats an answer. */
  divergence: z.number(),
  /** Standard error of the divergence, over videos. */
  divergenceError: z.number().nullable(),
  /** Share of questions with the same most probable answer as the exact video's. */
  agreement: z.number(),
});

const evaluation = z.object({
  format: z.literal("couplet-eval-vision"),
  version: z.literal(1),
  adapter: z.object({ name: z.string(), kind: z.string() }),
  model: z.object({ name: z.string(), digest: z.string() }),
  settings: z.object({
    seed: count,
    videos: count,
    /** Visual tokens of the longest video. */
    visualTokens: count,
    /** Videos that codebooks are learned on. */
    calibrationVideos: count,
    /** What made some errors of the codebooks count more. */
    weights: z.enum(SPAN_WEIGHTINGS),
    /** Part of the tokens that methods of two pairs protect. */
    protect: z.number(),
  }),
  /** The video seen exactly, in f16. */
  exact: answerFigures.extend({ bytes: z.number() }),
  methods: z.array(method),
  refused: z.array(z.object({ method: z.string(), why: z.string() })),
  seconds: z.number(),
});

/** Everything an evaluation of vision comes to; nothing is rounded. */
export type VisionEvaluation = z.infer<typeof evaluation>;

/** One method's figures. */
export type VisionFigures = z.infer<typeof method>;

/** What is known of any video's answers. */
export type AnswerFigures = z.infer<typeof answerFigures>;

/** What errors call a file of figures. */
const SOURCE: FileSource = {
  what: "the figures",
  remedy: "Give a file that deno task eval --vision --json wrote",
};

/** An evaluation as a file's text. */
export function formatVisionEvaluation(figures: VisionEvaluation): string {
  return `${JSON.stringify(figures, null, 1)}\n`;
}

/**
 * The inverse of {@linkcode formatVisionEvaluation}.
 *
 * @throws {CoupletError} `file` where the text is something else.
 */
export function parseVisionEvaluation(text: string): VisionEvaluation {
  return parseJson(SOURCE, evaluation, text);
}

/**
 * Reads a file of figures.
 *
 * @throws {CoupletError} `file` where it cannot be read or is something else.
 */
export async function readVisionEvaluation(path: string): Promise<VisionEvaluation> {
  return await readJson(path, SOURCE, evaluation);
}
