import { z } from "zod";
import type { FileSource } from "../../../cli/files.ts";
import { parseJson, readJson } from "../../../cli/json.ts";
import { policySchema } from "../../../cli/policy_file.ts";
import { WEIGHTINGS } from "../../engine/weighted_samples.ts";
import type { KeySpace } from "@couplet/kv";

/** The spaces keys can be coded in, the preferred one first. */
export const KEY_SPACES = [
  "pre-rope",
  "as-scored",
  "anchored",
] as const satisfies readonly KeySpace[];

const count = z.int().nonnegative();
const side = z.enum(["keys", "values"]);

const quality = z.object({
  /** Positions scored. */
  tokens: count,
  perplexity: z.number(),
  /** Perplexity over the uncompressed cache's. */
  ratio: z.number(),
  /** Standard error of the ratio, over contexts; null for one context. */
  ratioError: z.number().nullable(),
  /** KL divergence from the uncompressed cache's distributions, nats per token. */
  divergence: z.number(),
  /** Share of positions with the same likeliest token. */
  agreement: z.number(),
});

/** Quality on a text unlike the calibration's, and on a part of the calibration's own that was held out. */
const qualities = z.object({ different: quality, inDomain: quality });

const codingError = z.object({
  layer: count,
  side,
  head: count,
  /** Squared error of the decoded vectors over their energy around their mean. */
  error: z.number(),
});

const logitError = z.object({
  layer: count,
  head: count,
  /** Root mean square of the change of scaled logits, without each query's mean change. */
  error: z.number(),
});

const codeUsage = z.object({
  layer: count,
  side,
  scheme: z.string(),
  /** Tokens counted. */
  tokens: count,
  /** Share of centroids that no token used. */
  dead: z.number(),
  /** Entropy of the codes, mean over KV heads and groups. */
  entropyBits: z.number(),
  /** What the entropy would be if all centroids were used alike. */
  codeBits: z.number(),
  /** Uses of the centroids from the most to the least used, in equal parts: 1 is a part's fair share. */
  uses: z.array(z.number()),
});

/** Bits per channel of everything that stays resident. */
const effectiveBits = z.object({ tokens: count, sequences: count, bits: z.number() });

/** Losses on planted names, nats per token of the answer. */
const retrieval = z.object({
  distance: count,
  loss: z.number(),
  /** Share of the answers' tokens that are the likeliest. */
  accuracy: z.number(),
  /** Above the uncompressed cache's on the same texts. */
  excess: z.number(),
  /** Standard error of the excess, over trials; null for one trial. */
  excessError: z.number().nullable(),
});

const method = z.object({
  name: z.string(),
  policy: policySchema,
  weights: z.enum(WEIGHTINGS),
  keySpace: z.enum(KEY_SPACES),
  window: count,
  sinks: count,
  /**
   * Whether every token is coded, those of unfinished blocks too, by the schemes' arithmetic in float64. Effective bits
   * are then those of a cache that holds no token exactly.
   */
  allCoded: z.boolean(),
  nominalBits: z.number(),
  effectiveBits: z.array(effectiveBits),
  quality: qualities,
  retrieval: z.array(retrieval),
  /**
   * First token written that is not the uncompressed cache's, by prompt; all tokens where none differs. Empty where every
   * token is coded.
   */
  firstDifferences: z.array(count),
  codingError: z.array(codingError),
  logitError: z.array(logitError),
  codeUsage: z.array(codeUsage),
});

const text = z.object({ name: z.string(), contexts: count });

const evaluation = z.object({
  format: z.literal("couplet-eval"),
  version: z.literal(3),
  adapter: z.object({ name: z.string(), kind: z.string() }),
  model: z.object({ name: z.string(), digest: z.string() }),
  settings: z.object({
    seed: count,
    /** Tokens per context. */
    context: count,
    /** New tokens of a sequence in a step, at most. */
    chunk: count,
    calibration: z.object({ name: z.string(), tokens: count }),
    texts: z.object({ different: text, inDomain: text }),
    retrieval: z.object({ trials: count, distances: z.array(count) }),
    generation: z.object({ prompts: count, promptTokens: count, tokens: count }),
  }),
  /** The uncompressed cache. */
  baseline: z.object({
    quality: qualities,
    effectiveBits: z.array(effectiveBits),
    /** Losses with the name planted, and with other text in its place. */
    retrieval: z.array(z.object({
      distance: count,
      planted: z.number(),
      notPlanted: z.number(),
      /** Share of the planted answers' tokens that are the likeliest. */
      accuracy: z.number(),
      /** Standard error of the difference, over trials; null for one trial. */
      gapError: z.number().nullable(),
    })),
  }),
  /**
   * The uncompressed cache in smaller steps and with exact tiers, against itself without; or, where every token of every
   * method is coded, keys and values rounded to f16 against exact ones.
   */
  noiseFloor: z.object({
    chunk: count,
    window: count,
    sinks: count,
    allCoded: z.boolean(),
    quality: qualities,
  }),
  methods: z.array(method),
  refused: z.array(z.object({ method: z.string(), why: z.string() })),
  seconds: z.number(),
});

/** Everything an evaluation comes to; nothing is rounded. */
export type Evaluation = z.infer<typeof evaluation>;

/** One method's figures. */
export type MethodFigures = Evaluation["methods"][number];

/** Quality on one text. */
export type QualityFigures = z.infer<typeof quality>;

/** The error of one layer's, side's and KV head's codes. */
export type CodingErrorFigures = z.infer<typeof codingError>;

/** What one layer's and KV head's codes change of the logits. */
export type LogitErrorFigures = z.infer<typeof logitError>;

/** How one layer's and side's centroids are used. */
export type CodeUsageFigures = z.infer<typeof codeUsage>;

/** Effective bits at one length. */
export type EffectiveBits = z.infer<typeof effectiveBits>;

/** What errors call a file of figures. */
const SOURCE: FileSource = {
  what: "the figures",
  remedy: "Give a file in the form that docs/evaluation.md describes",
};

/** An evaluation as a file's text. */
export function formatEvaluation(figures: Evaluation): string {
  return `${JSON.stringify(figures, null, 1)}\n`;
}

/**
 * The inverse of {@linkcode formatEvaluation}.
 *
 * @throws {CoupletError} `file` where the text is something else.
 */
export function parseEvaluation(text: string): Evaluation {
  return parseJson(SOURCE, evaluation, text);
}

/**
 * Reads a file of figures.
 *
 * @throws {CoupletError} `file` where it cannot be read or is something else.
 */
export async function readEvaluation(path: string): Promise<Evaluation> {
  return await readJson(path, SOURCE, evaluation);
}
