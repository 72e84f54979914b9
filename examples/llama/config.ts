import { CoupletError, inverseFrequencies } from "@couplet/kv";
import { planOptions } from "@couplet/kv/models";

/** The model families this engine runs, by `model_type`. */
export const MODEL_TYPES = ["llama", "qwen2", "qwen3"] as const;

/** One of {@linkcode MODEL_TYPES}. */
export type ModelType = (typeof MODEL_TYPES)[number];

/** What the engine needs to know of a `config.json`, with every default filled in. */
export interface LlamaConfig {
  /** Family. */
  readonly modelType: ModelType;
  /** Tokens in the vocabulary. */
  readonly vocabularySize: number;
  /** Channels of the residual stream. */
  readonly hiddenSize: number;
  /** Channels between the two halves of the feed-forward block. */
  readonly intermediateSize: number;
  /** Decoder layers. */
  readonly layers: number;
  /** Query heads per layer. */
  readonly queryHeads: number;
  /** KV heads per layer. */
  readonly keyValueHeads: number;
  /** Channels per head. */
  readonly headDim: number;
  /** The longest sequence the model was made for. */
  readonly maxPositions: number;
  /** Added to the mean square in RMSNorm. */
  readonly normEpsilon: number;
  /** Base of the rotary frequencies. */
  readonly ropeTheta: number;
  /** `[headDim / 2]` rotary frequencies in radians per position, scaling included. */
  readonly inverseFrequencies: readonly number[];
  /** Whether the rotary frequencies differ from the plain geometric series. */
  readonly ropeScaled: boolean;
  /** Whether the output matrix is the embedding matrix. */
  readonly tiedEmbeddings: boolean;
  /** Whether query, key and value projections have a bias. */
  readonly attentionBias: boolean;
  /** Whether the attention's output projection has a bias. */
  readonly attentionOutputBias: boolean;
  /** Whether the feed-forward projections have a bias. */
  readonly feedForwardBias: boolean;
  /** Whether queries and keys pass an RMSNorm per head before the rotary embedding (Qwen3). */
  readonly queryKeyNorm: boolean;
  /** Tokens that end a text. */
  readonly endTokens: readonly number[];
}

/** A JSON object of unknown content. */
type Json = Readonly<Record<string, unknown>>;

/**
 * Reads a Hugging Face `config.json`.
 *
 * @param json The parsed file.
 * @throws {CoupletError} `file` where the model is none of {@linkcode MODEL_TYPES} or uses something
 * this engine would get wrong; `shape` where sizes are missing or do not divide.
 */
export function parseConfig(json: unknown): LlamaConfig {
  if (!isObject(json)) throw refused("it is not a JSON object", "Pass a Hugging Face config.json");
  const modelType = parseModelType(json);
  refuseFeatures(json, modelType);

  const hiddenSize = size(json, "hidden_size");
  const queryHeads = size(json, "num_attention_heads");
  const keyValueHeads = size(json, "num_key_value_heads", queryHeads);
  const headDim = size(json, "head_dim", hiddenSize / queryHeads);
  const intermediateSize = size(json, "intermediate_size");
  if (queryHeads % keyValueHeads !== 0) {
    throw wrongShape(
      `num_attention_heads ${queryHeads} is no multiple of num_key_value_heads ${keyValueHeads}`,
    );
  }
  if (headDim % 8 !== 0) throw wrongShape(`head_dim ${headDim} is no multiple of 8`);
  if (hiddenSize % 8 !== 0) throw wrongShape(`hidden_size ${hiddenSize} is no multiple of 8`);
  if (intermediateSize % 8 !== 0) {
    throw wrongShape(`intermediate_size ${intermediateSize} is no multiple of 8`);
  }

  const rope = parseRope(json);
  // Qwen2's query, key and value biases are part of the architecture and have no entry in config.json.
  const attentionBias = modelType === "qwen2" || flag(json, "attention_bias", false);
  return {
    modelType,
    vocabularySize: size(json, "vocab_size"),
    hiddenSize,
    intermediateSize,
    layers: size(json, "num_hidden_layers"),
    queryHeads,
    keyValueHeads,
    headDim,
    maxPositions: size(json, "max_position_embeddings", 2048),
    normEpsilon: positive(json, "rms_norm_eps", 1e-6),
    ropeTheta: rope.theta,
    inverseFrequencies: rope.inverseFrequencies,
    ropeScaled: rope.scaled,
    tiedEmbeddings: flag(json, "tie_word_embeddings", false),
    attentionBias,
    attentionOutputBias: modelType !== "qwen2" && attentionBias,
    feedForwardBias: modelType === "llama" && flag(json, "mlp_bias", false),
    queryKeyNorm: modelType === "qwen3",
    endTokens: parseEndTokens(json),
  };
}

function parseModelType(json: Json): ModelType {
  const found = json.model_type;
  const modelType = MODEL_TYPES.find((type) => type === found);
  if (modelType !== undefined) return modelType;
  const architectures = Array.isArray(json.architectures) ? json.architectures.join(", ") : "none";
  throw refused(
    `model_type is ${JSON.stringify(found)} (architectures: ${architectures})`,
    `This engine runs ${MODEL_TYPES.join(", ")}; convert the checkpoint or choose another model`,
  );
}

/** Refuses whatever would run and give wrong numbers. */
function refuseFeatures(json: Json, modelType: ModelType): void {
  const activation = json.hidden_act ?? "silu";
  if (activation !== "silu") {
    throw refused(`hidden_act is ${JSON.stringify(activation)}`, "Only silu is implemented");
  }
  if (json.quantization_config !== undefined && json.quantization_config !== null) {
    throw refused(
      "the weights are quantised (quantization_config)",
      "Use the unquantised checkpoint, in F32, F16 or BF16",
    );
  }
  if (modelType !== "llama" && json.use_sliding_window === true) {
    throw refused("use_sliding_window is true", "Only full causal attention is implemented");
  }
}

interface Rope {
  readonly theta: number;
  readonly inverseFrequencies: readonly number[];
  readonly scaled: boolean;
}

/** The rotary embedding of all layers. */
function parseRope(json: Json): Rope {
  const { keys, layers, asScored } = planOptions(json);
  const { headDim, rope } = layers[0]!;
  const { rotaryDim = headDim, attentionFactor = 1 } = rope ?? {};
  if (rotaryDim !== headDim) {
    throw refused(
      `${rotaryDim} of ${headDim} channels rotate (partial_rotary_factor)`,
      "Only full rotary heads are implemented",
    );
  }
  if (attentionFactor !== 1) {
    throw refused(
      `its rotary scaling multiplies keys and queries by ${attentionFactor}`,
      "Only scalings of frequencies are implemented: default, linear, llama3 and dynamic",
    );
  }
  if (keys.space !== "pre-rope" || "length" in keys.rope) {
    throw refused(
      asScored ?? "layers differ in their rotary embedding",
      "Only one rotary embedding for all layers is implemented",
    );
  }
  return {
    theta: keys.rope.theta,
    inverseFrequencies: [...inverseFrequencies(keys.rope, headDim)],
    scaled: keys.rope.inverseFrequencies !== undefined,
  };
}

function parseEndTokens(json: Json): readonly number[] {
  const found = json.eos_token_id;
  if (found === undefined || found === null) return [];
  const tokens = Array.isArray(found) ? found : [found];
  if (!tokens.every((token) => Number.isInteger(token) && token >= 0)) {
    throw refused(
      `eos_token_id is ${JSON.stringify(found)}`,
      "It must be a token or a list of them",
    );
  }
  return tokens;
}

function size(json: Json, key: string, fallback?: number): number {
  const found = json[key] ?? fallback;
  if (typeof found === "number" && Number.isInteger(found) && found > 0) return found;
  throw wrongShape(`${key} is ${JSON.stringify(found)}, not a positive integer`);
}

function positive(json: Json, key: string, fallback?: number): number {
  const found = json[key] ?? fallback;
  if (typeof found === "number" && Number.isFinite(found) && found > 0) return found;
  throw refused(`${key} is ${JSON.stringify(found)}, not a positive number`, `Correct ${key}`);
}

function flag(json: Json, key: string, fallback: boolean): boolean {
  const found = json[key] ?? fallback;
  if (typeof found === "boolean") return found;
  throw refused(`${key} is ${JSON.stringify(found)}, not true or false`, `Correct ${key}`);
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function refused(why: string, remedy: string): CoupletError {
  return new CoupletError("file", { what: "config.json cannot be used", why, remedy });
}

function wrongShape(why: string): CoupletError {
  return new CoupletError("shape", {
    what: "config.json describes no model this engine can run",
    why,
    remedy: "Check that config.json belongs to the checkpoint",
  });
}
