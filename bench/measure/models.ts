/** Shapes of published models' attention, which the suites time. */
import type { KeyOptions, ModelShape } from "../../mod.ts";

/** What the suites need of a model, as its `config.json` on Hugging Face has it. */
export interface BenchModel {
  /** Name for people and for `--models`. */
  readonly name: string;
  /** Repository on Hugging Face whose `config.json` holds the facts below. */
  readonly source: string;
  /** `num_hidden_layers`. */
  readonly layers: number;
  /** `num_attention_heads`. */
  readonly queryHeads: number;
  /** `num_key_value_heads`. */
  readonly keyValueHeads: number;
  /** `head_dim`, or `hidden_size / num_attention_heads` where the file has none. */
  readonly headDim: number;
  /** Channels of a head that are rotated: `head_dim * partial_rotary_factor`. */
  readonly rotaryDim: number;
  /** `rope_theta`. Scaled frequencies take the same time. */
  readonly ropeTheta: number;
  /** `max_position_embeddings`. Shapes are timed beyond it, too. */
  readonly positions: number;
}

/** The models, smallest first. Of Gemma, a layer without a sliding window: one in six. */
export const MODELS: readonly BenchModel[] = [
  {
    name: "SmolLM2-135M",
    source: "HuggingFaceTB/SmolLM2-135M",
    layers: 30,
    queryHeads: 9,
    keyValueHeads: 3,
    headDim: 64,
    rotaryDim: 64,
    ropeTheta: 100000,
    positions: 8192,
  },
  {
    name: "Qwen3-0.6B",
    source: "Qwen/Qwen3-0.6B",
    layers: 28,
    queryHeads: 16,
    keyValueHeads: 8,
    headDim: 128,
    rotaryDim: 128,
    ropeTheta: 1000000,
    positions: 40960,
  },
  {
    name: "Gemma-3-1B",
    source: "google/gemma-3-1b-pt",
    layers: 26,
    queryHeads: 4,
    keyValueHeads: 1,
    headDim: 256,
    rotaryDim: 256,
    ropeTheta: 1000000,
    positions: 32768,
  },
  {
    name: "Llama-3.2-1B",
    source: "meta-llama/Llama-3.2-1B",
    layers: 16,
    queryHeads: 32,
    keyValueHeads: 8,
    headDim: 64,
    rotaryDim: 64,
    ropeTheta: 500000,
    positions: 131072,
  },
  {
    name: "Phi-4-mini",
    source: "microsoft/Phi-4-mini-instruct",
    layers: 32,
    queryHeads: 24,
    keyValueHeads: 8,
    headDim: 128,
    rotaryDim: 96,
    ropeTheta: 10000,
    positions: 131072,
  },
  {
    name: "Qwen3-4B",
    source: "Qwen/Qwen3-4B",
    layers: 36,
    queryHeads: 32,
    keyValueHeads: 8,
    headDim: 128,
    rotaryDim: 128,
    ropeTheta: 1000000,
    positions: 40960,
  },
  {
    name: "Llama-3.1-8B",
    source: "meta-llama/Llama-3.1-8B",
    layers: 32,
    queryHeads: 32,
    keyValueHeads: 8,
    headDim: 128,
    rotaryDim: 128,
    ropeTheta: 500000,
    positions: 131072,
  },
];

/** What suites of one shape measure. */
export const LARGE_MODEL: BenchModel = MODELS.find(({ name }) => name === "Llama-3.1-8B")!;

/** The attention of so many of a model's layers. */
export function modelShape(
  { queryHeads, keyValueHeads, headDim }: BenchModel,
  layers: number,
): ModelShape {
  return { layers, queryHeads, keyValueHeads, headDim };
}

/** How a model's keys reach the cache in one of the two spaces. */
export function modelKeys(
  { ropeTheta, rotaryDim }: BenchModel,
  space: KeyOptions["space"],
): KeyOptions {
  return space === "as-scored"
    ? { space }
    : { space, rope: { layout: "half", theta: ropeTheta, rotaryDim } };
}
