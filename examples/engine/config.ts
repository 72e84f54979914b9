import { CoupletError, inverseFrequencies, type RopeParameters } from "@couplet/kv";
import { type AttentionLayer, type ModelPlanOptions, planOptions } from "@couplet/kv/models";
import type { Activation } from "./kernels/gate.ts";
import { DEFAULTS, MODEL_TYPES, type ModelType, type Recipe, RECIPES } from "./recipes.ts";

/** A layer's rotary embedding. */
export interface LayerRope {
  readonly parameters: RopeParameters;
  /** `[headDim / 2]`: radians per position of each pair of channels. */
  readonly frequencies: readonly number[];
  /** What rotated keys and queries are multiplied by (YaRN). */
  readonly attentionFactor: number;
}

/** One layer's attention. */
export interface LayerAttention {
  /** Its rotary embedding; layers that rotate alike have the same object. */
  readonly rope: LayerRope;
  /** Most recent tokens that a query sees, its own included; 0 where it sees all. */
  readonly slidingWindow: number;
  /** Factor of `q . k`, without that of the rotary embedding. */
  readonly scale: number;
}

/** The experts of a model that has some. */
export interface ExpertsConfig {
  /** How many there are in a layer. */
  readonly count: number;
  /** How many a token goes through. */
  readonly perToken: number;
  /** Whether the shares of those chosen add up to 1, and not those of all. */
  readonly normalized: boolean;
}

/** What the engine needs to know of a `config.json`, with every default filled in. */
export interface ModelConfig {
  /** Family. */
  readonly modelType: ModelType;
  /** Its network. */
  readonly recipe: Recipe;
  /** The parsed file. */
  readonly json: unknown;
  /** Tokens in the vocabulary. */
  readonly vocabularySize: number;
  /** Channels of the residual stream. */
  readonly hiddenSize: number;
  /** Channels between the two halves of the feed-forward block, or of each of its experts. */
  readonly intermediateSize: number;
  /** Decoder layers. */
  readonly layers: number;
  /** Query heads per layer. */
  readonly queryHeads: number;
  /** KV heads per layer. */
  readonly keyValueHeads: number;
  /** Channels per head. */
  readonly headDim: number;
  /** `[layers]`: what differs between layers. */
  readonly attention: readonly LayerAttention[];
  /** Bound of the attention's scores; 0 for none. */
  readonly softcap: number;
  /** Whether each query head has a learned logit beside its scores (gpt-oss). */
  readonly learnedSinks: boolean;
  /** The longest sequence the model was made for. */
  readonly maxPositions: number;
  /** Added to the mean square in RMSNorm. */
  readonly normEpsilon: number;
  /** Whether the output matrix is the embedding matrix. */
  readonly tiedEmbeddings: boolean;
  /** Whether query, key and value projections have a bias. */
  readonly attentionBias: boolean;
  /** Whether the attention's output projection has a bias. */
  readonly attentionOutputBias: boolean;
  /** Whether the feed-forward projections have a bias. */
  readonly feedForwardBias: boolean;
  /** What bounds the inputs of a clamped activation; 0 for others. */
  readonly activationLimit: number;
  /** The experts, where a token goes through some of many feed-forward blocks. */
  readonly experts?: ExpertsConfig;
  /** Bound of the output's logits; 0 for none (Gemma 2). */
  readonly logitSoftcap: number;
  /** Tokens that end a text. */
  readonly endTokens: readonly number[];
}

/** A JSON object of unknown content. */
type Json = Readonly<Record<string, unknown>>;

/** What activations are called in files. */
const ACTIVATION_NAMES: Readonly<Record<Activation, string>> = {
  "silu": "silu",
  "gelu tanh": "gelu_pytorch_tanh",
  "clamped silu": "silu",
};

/**
 * Reads a Hugging Face `config.json`: its attention as `planOptions()` reads it, and of the rest what
 * the family's recipe asks for.
 *
 * @param json The parsed file.
 * @throws {CoupletError} `file` where the model is none of {@linkcode MODEL_TYPES} or uses something
 * this engine would get wrong; `shape` where sizes are missing or do not divide.
 */
export function parseConfig(json: unknown): ModelConfig {
  if (!isObject(json)) throw refused("it is not a JSON object", "Pass a Hugging Face config.json");
  const modelType = parseModelType(json);
  const recipe: Recipe = RECIPES[modelType];
  refuseFeatures(json, recipe);
  const file: Json = { ...DEFAULTS, ...recipe.defaults, ...withoutNulls(json) };

  const hiddenSize = blocks(file, "hidden_size");
  const intermediateSize = blocks(file, recipe.experts?.width ?? "intermediate_size");
  const planned = planOptions(json);
  const { softcap, learnedSinks, keyBias } = planned;
  return {
    modelType,
    recipe,
    json,
    vocabularySize: size(file, "vocab_size"),
    hiddenSize,
    intermediateSize,
    layers: planned.modelLayers,
    ...parseAttention(planned),
    softcap,
    learnedSinks,
    maxPositions: parsePositions(json, file, planned),
    normEpsilon: positive(file, "rms_norm_eps"),
    tiedEmbeddings: flag(file, "tie_word_embeddings"),
    attentionBias: keyBias,
    attentionOutputBias: keyBias && recipe.plainAttentionOutput !== true,
    feedForwardBias: recipe.feedForwardBias !== undefined && flag(file, recipe.feedForwardBias),
    activationLimit: recipe.activation === "clamped silu" ? positive(file, "swiglu_limit") : 0,
    ...(recipe.experts === undefined ? {} : { experts: parseExperts(file, recipe.experts) }),
    logitSoftcap: parseLogitSoftcap(json, recipe),
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
function refuseFeatures(json: Json, { activation, feedForward, only = {} }: Recipe): void {
  for (const entry of ["hidden_act", "hidden_activation"]) {
    const found = json[entry] ?? ACTIVATION_NAMES[activation];
    if (found !== ACTIVATION_NAMES[activation]) {
      throw refused(
        `${entry} is ${JSON.stringify(found)}`,
        `Only ${ACTIVATION_NAMES[activation]} is implemented for ${json.model_type}`,
      );
    }
  }
  const quantization = json.quantization_config;
  const method = isObject(quantization) ? quantization.quant_method : undefined;
  if (
    quantization !== undefined && quantization !== null &&
    !(feedForward === "packed experts" && method === "mxfp4")
  ) {
    throw refused(
      "the weights are quantised (quantization_config)",
      "Use the unquantised checkpoint, in F32, F16 or BF16",
    );
  }
  for (const [entry, { values, why }] of Object.entries(only)) {
    const found = JSON.stringify(json[entry] ?? values[0]);
    if (!values.some((value) => JSON.stringify(value) === found)) {
      throw refused(`${entry} is ${found}: ${why}`, "Choose another model");
    }
  }
}

/** The attention of all layers, whose heads are alike. */
function parseAttention(
  { layers, modelLayers }: ModelPlanOptions,
): Pick<ModelConfig, "queryHeads" | "keyValueHeads" | "headDim" | "attention"> {
  const { queryHeads, keyValueHeads, headDim } = layers[0]!;
  if (layers.length < modelLayers) {
    throw refused("some layers have no attention", "Choose another model");
  }
  if (queryHeads % keyValueHeads !== 0) {
    throw wrongShape(
      `num_attention_heads ${queryHeads} is no multiple of num_key_value_heads ${keyValueHeads}`,
    );
  }
  if (headDim % 8 !== 0) throw wrongShape(`head_dim ${headDim} is no multiple of 8`);
  const ropes = new Map<string, LayerRope>();
  return {
    queryHeads,
    keyValueHeads,
    headDim,
    attention: layers.map((layer): LayerAttention => {
      const { number, slidingWindow, scale } = layer;
      if (
        layer.queryHeads !== queryHeads || layer.keyValueHeads !== keyValueHeads ||
        layer.headDim !== headDim || layer.sharesWith !== undefined
      ) {
        throw refused(`layer ${number} has other heads than layer 0`, "Choose another model");
      }
      const id = JSON.stringify(layer.rope);
      const rope = ropes.get(id) ?? parseRope(layer);
      ropes.set(id, rope);
      return { rope, slidingWindow, scale };
    }),
  };
}

function parseRope({ rope, number, headDim }: AttentionLayer): LayerRope {
  if (rope === undefined) {
    throw refused(`layer ${number} does not rotate`, "Choose another model");
  }
  if (rope.rotaryDim !== headDim) {
    throw refused(
      `${rope.rotaryDim} of ${headDim} channels rotate (partial_rotary_factor)`,
      "Only full rotary heads are implemented",
    );
  }
  if (rope.layout !== "half") {
    throw refused("neighbouring channels rotate together", "Choose another model");
  }
  const { attentionFactor, layout, theta } = rope;
  const parameters: RopeParameters = {
    layout,
    theta,
    ...(rope.inverseFrequencies === undefined
      ? {}
      : { inverseFrequencies: rope.inverseFrequencies }),
  };
  return { parameters, attentionFactor, frequencies: [...inverseFrequencies(parameters, headDim)] };
}

/**
 * Positions of the longest sequence.
 *
 * @throws {CoupletError} `file` where rotary frequencies differ between sequences up to that length.
 */
function parsePositions(
  json: Json,
  file: Json,
  { maxPositions, layers }: ModelPlanOptions,
): number {
  const most = maxPositions ?? size(file, "max_position_embeddings");
  const ropes = (of: readonly AttentionLayer[]) => JSON.stringify(of.map(({ rope }) => rope));
  if (ropes(planOptions(json, { length: most }).layers) !== ropes(layers)) {
    throw refused(
      "rotary frequencies depend on the sequence's length (rope_scaling)",
      "Only scalings that do not are implemented: default, linear, llama3 and yarn",
    );
  }
  return most;
}

function parseLogitSoftcap(json: Json, { logitSoftcap }: Recipe): number {
  const entry = "final_logit_softcapping";
  if (logitSoftcap === undefined || json[entry] === null) return 0;
  return json[entry] === undefined ? logitSoftcap : positive(json, entry);
}

function parseExperts(file: Json, entries: NonNullable<Recipe["experts"]>): ExpertsConfig {
  const count = size(file, entries.count);
  const perToken = size(file, "num_experts_per_tok");
  if (perToken > count) {
    throw wrongShape(`num_experts_per_tok ${perToken} exceeds ${entries.count} ${count}`);
  }
  return {
    count,
    perToken,
    normalized: entries.normalized === undefined || flag(file, entries.normalized),
  };
}

/** The entries that say something: `null` leaves the default. */
function withoutNulls(json: Json): Json {
  return Object.fromEntries(Object.entries(json).filter(([, value]) => (value ?? null) !== null));
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

/** A size that blocks of eight divide. */
function blocks(json: Json, key: string): number {
  const found = size(json, key);
  if (found % 8 !== 0) throw wrongShape(`${key} ${found} is no multiple of 8`);
  return found;
}

function size(json: Json, key: string): number {
  const found = json[key];
  if (typeof found === "number" && Number.isInteger(found) && found > 0) return found;
  throw wrongShape(`${key} is ${JSON.stringify(found)}, not a positive integer`);
}

function positive(json: Json, key: string): number {
  const found = json[key];
  if (typeof found === "number" && Number.isFinite(found) && found > 0) return found;
  throw refused(`${key} is ${JSON.stringify(found)}, not a positive number`, `Correct ${key}`);
}

function flag(json: Json, key: string): boolean {
  const found = json[key];
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
