/** The options of a plan that follow from a model's `config.json`. */
import { checkOptions, type Fields, kind, TEXT, whole } from "../base/check_options.ts";
import { KEY_SPACE } from "../model/key_fields.ts";
import type { KeyOptions, KeySpace, ModelShape, RopeByLayer } from "../model/model.ts";
import type { AttentionLayer, ModelFacts } from "./reading/facts.ts";
import { FAMILIES, findFamily, MODEL_TYPES } from "./families.ts";
import type { Family } from "./reading/family.ts";
import { describeLatent, latentHeads, latentRemedy } from "./latent_heads.ts";
import { planLayers } from "./plan_layers.ts";
import { readFacts } from "./read_config.ts";
import { listNames, refuse } from "./reading/refuse.ts";
import { REFUSED_FAMILIES } from "./refused_families.ts";
import { findTextConfig, type TextConfig } from "./text_config.ts";

/** How a `config.json` is read. */
export interface ReadingOptions {
  /**
   * Reads the file as another `model_type` than it says, one of {@linkcode MODEL_TYPES}, for models
   * whose attention is the same.
   */
  readonly as?: string;
  /**
   * The space of keys. Defaults to before their rotary embedding where kernels can apply it, and
   * else as they are scored.
   */
  readonly space?: KeySpace;
  /**
   * Tokens of the longest sequence. Some rotary embeddings depend on it (LongRoPE, dynamic NTK), and
   * chunked attention is full attention up to one chunk.
   */
  readonly length?: number;
}

/** What a model's `config.json` means for a plan. */
export interface ModelPlanOptions {
  /** The `model_type` it was read as. */
  readonly modelType: string;
  /** The layers with attention, as `planCache()` takes them. */
  readonly shape: ModelShape;
  /** How keys reach the cache. */
  readonly keys: KeyOptions | RopeByLayer;
  /** Factor of `q . k`, once or by layer, with that of the rotary embedding where the library applies it. */
  readonly scale: number | readonly number[];
  /** Bound of the scores; 0 for none. */
  readonly softcap: number;
  /** Whether the model has learned sinks, to be given to `createCache()` as `sinkLogits`. */
  readonly learnedSinks: boolean;
  /** Whether its keys have a bias, so that they have constant offsets. */
  readonly keyBias: boolean;
  /** The longest sequence the model was made for, in tokens. */
  readonly maxPositions?: number;
  /** Layers of the model, those without attention included. */
  readonly modelLayers: number;
  /** `[shape.layers]`: the number in the model of each layer of the plan. */
  readonly layerNumbers: readonly number[];
  /** `[shape.layers]`: what the file says of each layer. */
  readonly layers: readonly AttentionLayer[];
  /** Why keys are planned as they are scored; absent where they are not, or were asked to be. */
  readonly asScored?: string;
  /** Sentences for the reader: what is assumed, and what the host must do. */
  readonly notes: readonly string[];
}

/** What the options may be. */
export const READING_FIELDS: Fields<ReadingOptions> = {
  "as?": kind("one of MODEL_TYPES", (value) => TEXT[1](value) && MODEL_TYPES.includes(value)),
  "space?": KEY_SPACE,
  "length?": whole(1),
};

/**
 * Reads a model's attention from its `config.json`, as Hugging Face has it. The text model of a
 * multimodal one is read, in `text_config`, `llm_config`, `language_config` or `thinker_config`.
 * Layers without attention are left out.
 *
 * @param config The parsed file.
 * @throws {CoupletError} `file` where it is not such a file, its family is unknown or cannot be
 * served, keys cannot be coded in the space asked for, or an entry may change attention and is not
 * understood, named; `shape` where a size is missing or does not fit, or an option is not what it
 * may be.
 */
export function planOptions(config: unknown, options: ReadingOptions = {}): ModelPlanOptions {
  checkOptions("shape", "Cannot read a model's configuration", READING_FIELDS, options);
  const { as, space, length } = options;
  const text = findTextConfig(config);
  const facts = as === undefined
    ? readFacts(text, ownFamily(text), length)
    : readAs(text, as, length);
  const { asScored, note, ...planned } = planLayers(facts, space, length);
  const { modelType, modelLayers, softcap, learnedSinks, keyBias, maxPositions, layers } = facts;
  return {
    modelType,
    ...planned,
    softcap,
    learnedSinks,
    keyBias,
    ...(maxPositions === undefined ? {} : { maxPositions }),
    modelLayers,
    layerNumbers: layers.map(({ number }) => number),
    layers,
    ...(asScored === undefined ? {} : { asScored }),
    notes: [
      ...(asScored === undefined
        ? []
        : [`Keys are planned as they are scored, because ${asScored}.`]),
      ...(note === undefined ? [] : [note]),
      ...facts.notes,
      ...(learnedSinks ? ["It has learned sinks: give them to createCache() (sinkLogits)."] : []),
    ],
  };
}

/** The family that a file says it is of. */
function ownFamily(text: TextConfig): Family {
  const { modelType } = text;
  refuseFamily(text);
  return findFamily(modelType) ?? refuse(
    `model_type is "${modelType}", which is not among the ${FAMILIES.length} families known`,
    "Read it as a family whose attention is the same (as, or --as on the command line), of those in docs/models.md: llama has rotary embedding in all layers and no sliding window",
  );
}

/** Refuses a family that cannot be served. */
function refuseFamily({ modelType, json }: TextConfig): void {
  const found = REFUSED_FAMILIES.find(({ types }) => types.includes(modelType));
  if (found === undefined) return;
  const heads = found.latent && latentHeads(json);
  refuse(
    `model_type is "${modelType}": ${found.why}${heads ? `; ${describeLatent(heads)}` : ""}`,
    heads ? latentRemedy(heads) : "Choose another model",
  );
}

/**
 * Reads a file as another family. A file whose own family is known must mean the same as its own
 * says.
 */
function readAs(text: TextConfig, as: string, length: number | undefined): ModelFacts {
  refuseFamily(text);
  const own = findFamily(text.modelType);
  const asked = { ...text, modelType: as };
  if (own === undefined) {
    const facts = readFacts(asked, findFamily(as)!, length);
    return { ...facts, notes: [assumed(text.modelType, facts), ...facts.notes] };
  }
  // What its own family cannot be served for stands in the file, whatever it is read as.
  const right = readFacts(text, own, length);
  planLayers(right, undefined, length);
  const facts = readFacts(asked, findFamily(as)!, length);
  const differing = differences(right, facts);
  if (differing.length === 0) return facts;
  return refuse(
    `model_type is "${text.modelType}", which is known, and differs from ${as} in ${
      listNames(differing)
    }${right.asScored === undefined ? "" : `: ${right.asScored}`}`,
    "Read it as what it says it is",
  );
}

/** What two readings of a file differ in, in words. */
function differences(right: ModelFacts, other: ModelFacts): string[] {
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  const plain = ({ number, kind, rope: _, ...rest }: AttentionLayer) => [number, kind, rest];
  return [
    same(right.layers.map(plain), other.layers.map(plain)) ? [] : ["its layers' shapes"],
    same(ropesOf(right), ropesOf(other)) ? [] : ["rotary embedding"],
    right.asScored === other.asScored ? [] : ["how keys reach the cache"],
    right.softcap === other.softcap ? [] : ["softcap"],
    right.learnedSinks === other.learnedSinks ? [] : ["learned sinks"],
    right.keyBias === other.keyBias ? [] : ["a bias of keys"],
  ].flat();
}

/** The rotary embeddings of a model, and which of them each layer has. */
function ropesOf({ layers }: ModelFacts): readonly unknown[] {
  const all = [...new Set(layers.map(({ rope }) => rope))];
  return [all, layers.map(({ rope }) => all.indexOf(rope))];
}

/** What is assumed of a model that is read as another. */
function assumed(modelType: string, { modelType: as, layers, ...facts }: ModelFacts): string {
  const [{ rope, scale, headDim }] = layers as [AttentionLayer];
  const sliding = layers.filter(({ kind }) => kind === "sliding").length;
  const parts = [
    rope === undefined
      ? "no rotary embedding"
      : `rotary embedding of ${rope.rotaryDim} channels ${
        rope.layout === "half" ? "in halves" : "in neighbouring pairs"
      } at base ${rope.theta}`,
    sliding === 0
      ? "no sliding window"
      : `a sliding window in ${sliding} of ${layers.length} layers`,
    `scores times ${scale === headDim ** -0.5 ? "headDim ** -0.5" : scale}`,
    facts.learnedSinks ? "learned sinks" : "no learned sinks",
    facts.keyBias ? "a bias of keys" : "no bias of keys",
  ];
  return `Nothing is known of "${modelType}". It is read as ${as}, which assumes ${
    listNames(parts)
  }.`;
}
