/** Reads a model's attention from a Hugging Face `config.json`. */
import { z } from "zod";
import type { KeyOptions, ModelShape } from "../src/model/model.ts";
import { CoupletError } from "../src/base/errors.ts";
import { LARGEST_SHAPE } from "../src/model/largest_shape.ts";
import { nearestText } from "./nearest.ts";
import { scaleFrequencies, scalingKind } from "./rope_scaling.ts";
import { describeIssues, listOf } from "./schema.ts";

/** A model's attention, as a plan takes it. */
export interface ModelConfig {
  /** The `model_type` it was read as. */
  readonly modelType: string;
  readonly shape: ModelShape;
  /** `pre-rope` where one rotary embedding fits all layers. */
  readonly keys: KeyOptions;
  /** Factor of `q . k`. Defaults to `headDim ** -0.5`. */
  readonly scale?: number;
  /** Bound of the scores, if any. */
  readonly softcap?: number;
  /** The longest sequence the model was made for, in tokens. */
  readonly maxPositions?: number;
  /** Whether its projection of keys has a bias, so that keys have constant offsets. */
  readonly keyBias: boolean;
  /** Sentences for the reader. */
  readonly notes: readonly string[];
}

const size = z.number().int().positive();
const { layers: mostLayers, queryHeads: mostHeads, headDim: mostChannels } = LARGEST_SHAPE;
const positive = z.number().positive();
const object = z.record(z.string(), z.unknown());

/**
 * The entries about attention. Others are ignored. Null means "none"; an absent entry takes its
 * default.
 */
const entries = z.object({
  model_type: z.string().min(1),
  num_hidden_layers: size.max(mostLayers).nullish(),
  num_attention_heads: size.max(mostHeads).nullish(),
  num_key_value_heads: size.nullish(),
  hidden_size: size.max(mostHeads * mostChannels).nullish(),
  head_dim: size.max(mostChannels).nullish(),
  max_position_embeddings: size.nullish(),
  sliding_window: size.nullish(),
  use_sliding_window: z.boolean().nullish(),
  max_window_layers: z.number().int().nonnegative().nullish(),
  sliding_window_pattern: size.nullish(),
  layer_types: listOf((item) => typeof item === "string", "texts").nullish(),
  no_rope_layers: listOf((item) => typeof item === "number", "numbers").nullish(),
  query_pre_attn_scalar: positive.nullish(),
  attn_logit_softcapping: positive.nullish(),
  rope_theta: positive.nullish(),
  rotary_emb_base: positive.nullish(),
  rope_local_base_freq: positive.nullish(),
  partial_rotary_factor: positive.max(1).nullish(),
  rotary_pct: positive.max(1).nullish(),
  rope_scaling: object.nullish(),
  rope_parameters: object.nullish(),
  attention_bias: z.boolean().nullish(),
  use_qkv_bias: z.boolean().nullish(),
});

type Entries = z.infer<typeof entries>;

/** What a `model_type` means beyond its `config.json`. */
interface Family {
  /**
   * The defaults of transformers for absent entries, which it leaves out when it writes the file.
   */
  readonly defaults?: Partial<Entries>;
  /**
   * Whether a layer has the sliding window, if there are no `layer_types`. Defaults to none.
   */
  readonly slides?: (config: Entries, layer: number) => boolean;
  /** Whether keys have a bias, whatever the file says. Defaults to what it says. */
  readonly keyBias?: true;
}

const everyLayer = (config: Entries) => config.sliding_window != null;
const lastLayers = (config: Entries, layer: number) =>
  config.use_sliding_window === true && layer >= (config.max_window_layers ?? 28);

/**
 * The families that are known, by `model_type`: decoders whose layers all keep keys and values of
 * one head dimension. Defaults are those of transformers' configuration classes.
 */
const FAMILIES: Readonly<Record<string, Family>> = {
  llama: {},
  mistral: { slides: everyLayer },
  mixtral: { slides: everyLayer },
  qwen2: { slides: lastLayers, keyBias: true, defaults: { sliding_window: 4096 } },
  qwen3: { slides: lastLayers, defaults: { sliding_window: 4096, head_dim: 128 } },
  gemma: { defaults: { head_dim: 256 } },
  gemma2: {
    slides: (_, layer) => layer % 2 === 0,
    defaults: {
      head_dim: 256,
      sliding_window: 4096,
      query_pre_attn_scalar: 256,
      attn_logit_softcapping: 50,
    },
  },
  gemma3_text: {
    slides: (config, layer) => (layer + 1) % (config.sliding_window_pattern ?? 6) !== 0,
    defaults: {
      num_attention_heads: 8,
      num_key_value_heads: 4,
      head_dim: 256,
      sliding_window: 4096,
      query_pre_attn_scalar: 256,
      rope_theta: 1e6,
      rope_local_base_freq: 1e4,
    },
  },
  phi: { keyBias: true, defaults: { partial_rotary_factor: 0.5 } },
  phi3: { slides: everyLayer },
  stablelm: { defaults: { partial_rotary_factor: 0.25 } },
  gpt_neox: { defaults: { rotary_pct: 0.25, attention_bias: true } },
  // Every fourth layer has no rotary embedding, even if the file does not say so.
  smollm3: { defaults: { no_rope_layers: [0] } },
};

/** Why the cache cannot serve some others, by `model_type`. */
const REFUSED: Readonly<Record<string, string>> = {
  bloom: "it adds ALiBi's biases to scores, and the kernels score by q.k alone",
  mpt: "it adds ALiBi's biases to scores, and the kernels score by q.k alone",
  deepseek_v2: "it caches one latent vector for all heads, not keys and values",
  deepseek_v3: "it caches one latent vector for all heads, not keys and values",
  t5: "its decoder attends to an encoder with biases by position",
  mamba: "it keeps a state, not keys and values",
};

/** The `model_type`s known to {@linkcode readModelConfig}. */
export const MODEL_TYPES: readonly string[] = Object.keys(FAMILIES);

/**
 * Reads a `config.json`. For multimodal models, the `text_config` is read.
 *
 * @param json The parsed file.
 * @param readAs Reads it as another `model_type` than it says, for models whose attention is the
 * same.
 * @throws {CoupletError} `file` where it is not such a file, or its family is unknown or cannot be
 * served; `shape` where a required entry is missing or does not fit.
 */
export function readModelConfig(json: unknown, readAs?: string): ModelConfig {
  const outer = object.safeParse(json);
  const nested = outer.success && object.safeParse(outer.data["text_config"]);
  const parsed = entries.safeParse(
    nested && nested.success
      ? { model_type: `${outer.data["model_type"]}_text`, ...nested.data }
      : json,
  );
  if (!parsed.success) {
    throw unusable(describeIssues(parsed.error), "Give the config.json of a Hugging Face model");
  }
  const modelType = readAs ?? parsed.data.model_type;
  const family = knownFamily(modelType, parsed.data);
  const config: Entries = { ...family.defaults, ...present(parsed.data) };
  checkComplete(config, parsed.data.model_type);
  const layers = config.num_hidden_layers!;
  const queryHeads = config.num_attention_heads!;
  const headDim = config.head_dim ?? config.hidden_size! / queryHeads;
  const windows = slidingWindows(config, family, layers);
  const { keys, notes } = keyOptions(config, headDim, windows);
  const scalar = config.query_pre_attn_scalar;
  return {
    modelType,
    shape: {
      layers,
      queryHeads,
      keyValueHeads: config.num_key_value_heads ?? queryHeads,
      headDim,
      ...(windows.some((window) => window > 0) ? { slidingWindow: windows } : {}),
    },
    keys,
    ...(scalar == null || scalar === headDim ? {} : { scale: scalar ** -0.5 }),
    ...(config.attn_logit_softcapping == null ? {} : { softcap: config.attn_logit_softcapping }),
    ...(config.max_position_embeddings == null
      ? {}
      : { maxPositions: config.max_position_embeddings }),
    keyBias: family.keyBias ?? config.attention_bias ?? config.use_qkv_bias ?? false,
    notes,
  };
}

function knownFamily(modelType: string, config: Entries): Family {
  const family = Object.hasOwn(FAMILIES, modelType) ? FAMILIES[modelType] : undefined;
  if (family !== undefined) return family;
  const refused = Object.hasOwn(REFUSED, modelType) ? REFUSED[modelType] : undefined;
  if (refused !== undefined) {
    throw unusable(`model_type is "${modelType}": ${refused}`, "Choose another model");
  }
  const missing = missingEntries(config);
  throw unusable(
    `model_type is "${modelType}", which is not among those known${
      nearestText(modelType, MODEL_TYPES)
    }${
      missing.length === 0 ? "" : `. To read it like one of them, ${list(missing)} would be missing`
    }`,
    `Pass --as with one of ${
      list(MODEL_TYPES)
    } whose attention is the same: llama has rotary embedding in all layers and no sliding window`,
  );
}

/** Entries that no default replaces. */
function missingEntries(config: Entries): string[] {
  const missing = (["num_hidden_layers", "num_attention_heads"] as const)
    .filter((name) => config[name] == null) as string[];
  if (config.head_dim == null && config.hidden_size == null) {
    missing.push("head_dim or hidden_size");
  }
  return missing;
}

function checkComplete(config: Entries, modelType: string): void {
  const missing = missingEntries(config);
  if (missing.length > 0) {
    throw wrongShape(`${list(missing)} ${missing.length === 1 ? "is" : "are"} missing`, modelType);
  }
  const { head_dim, hidden_size, num_attention_heads } = config;
  if (head_dim != null) return;
  const headDim = hidden_size! / num_attention_heads!;
  if (Number.isInteger(headDim) && headDim <= mostChannels) return;
  const relation = headDim > mostChannels ? "far too many times" : "no multiple of";
  throw wrongShape(
    `hidden_size ${hidden_size} is ${relation} num_attention_heads ${num_attention_heads}, and there is no head_dim`,
    modelType,
  );
}

/** The sliding window of each layer, 0 where it sees everything. */
function slidingWindows(config: Entries, { slides }: Family, layers: number): number[] {
  const { layer_types: types, sliding_window: window } = config;
  if (types != null && types.length !== layers) {
    throw wrongShape(`layer_types names ${types.length} layers of ${layers}`, config.model_type);
  }
  return Array.from({ length: layers }, (_, layer) => {
    const type = types?.[layer];
    if (type !== undefined && type !== "sliding_attention" && type !== "full_attention") {
      throw unusable(
        `layer ${layer} is of the type "${type}"`,
        "Choose a model whose layers all have full or sliding attention",
      );
    }
    const sliding = type === undefined
      ? slides?.(config, layer) === true
      : type === "sliding_attention";
    if (!sliding) return 0;
    if (window == null) throw wrongShape("sliding_window is missing", config.model_type);
    return window;
  });
}

/** How keys reach the cache, and the reason if that is not before their rotary embedding. */
function keyOptions(
  config: Entries,
  headDim: number,
  windows: readonly number[],
): Pick<ModelConfig, "keys" | "notes"> {
  const asScored = (why: string): Pick<ModelConfig, "keys" | "notes"> => ({
    keys: { space: "as-scored" },
    notes: [`Keys are planned as they are scored, because ${why}.`],
  });
  if (config.no_rope_layers?.includes(0)) {
    return asScored("some layers have no rotary embedding");
  }
  const parameters = config.rope_parameters ?? config.rope_scaling ?? {};
  const parsed = ropeEntries.safeParse(parameters);
  if (
    !parsed.success || Object.values(parameters).some((value) => object.safeParse(value).success)
  ) {
    return asScored("layers differ in their rotary embedding");
  }
  const theta = parsed.data.rope_theta ?? config.rope_theta ?? config.rotary_emb_base ?? 10000;
  const local = config.rope_local_base_freq;
  if (local != null && local !== theta && new Set(windows).size > 1) {
    return asScored(`layers differ in their rotary embedding (bases ${theta} and ${local})`);
  }
  const share = parsed.data.partial_rotary_factor ?? config.partial_rotary_factor ??
    config.rotary_pct ?? 1;
  const rotaryDim = Math.floor(headDim * share);
  if (rotaryDim !== headDim && rotaryDim % 16 !== 0) {
    return asScored(`${rotaryDim} channels rotate, and kernels rotate eight pairs at a time`);
  }
  const plain = Array.from({ length: rotaryDim / 2 }, (_, i) => theta ** (-2 * i / rotaryDim));
  const frequencies = scaleFrequencies(plain, parameters);
  if (frequencies === undefined) {
    return asScored(
      `the frequencies of its rotary scaling, ${
        JSON.stringify(scalingKind(parameters))
      }, are not known here`,
    );
  }
  return {
    keys: {
      space: "pre-rope",
      rope: {
        layout: "half",
        theta,
        ...(rotaryDim === headDim ? {} : { rotaryDim }),
        ...(frequencies === plain ? {} : { inverseFrequencies: frequencies }),
      },
    },
    notes: [],
  };
}

const ropeEntries = z.object({
  rope_theta: positive.nullish(),
  partial_rotary_factor: positive.max(1).nullish(),
});

/** The entries that a file has. */
function present(config: Entries): Entries {
  return Object.fromEntries(
    Object.entries(config).filter(([, value]) => value !== undefined),
  ) as Entries;
}

function list(names: readonly string[]): string {
  return new Intl.ListFormat("en-GB").format(names);
}

function unusable(why: string, remedy: string): CoupletError {
  return new CoupletError("file", { what: "Cannot plan for this model", why, remedy });
}

function wrongShape(why: string, modelType: string): CoupletError {
  return new CoupletError("shape", {
    what: "Cannot plan for this model",
    why: `${why} in the config.json of a ${modelType}`,
    remedy: "Check that the file is whole, and of the model itself",
  });
}
