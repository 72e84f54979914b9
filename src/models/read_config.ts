/** Reads what a `config.json` says of a model's attention. */
import { FLAG, type Kind, kind, POSITIVE, whole } from "../base/check_options.ts";
import { LARGEST_SHAPE } from "../model/largest_shape.ts";
import { Entries, isObject, type Json } from "./reading/entries.ts";
import type { AttentionLayer, ModelFacts } from "./reading/facts.ts";
import type { Family, LayerSizes, RopeRule } from "./reading/family.ts";
import { maySayMore, maySayMoreOfRope } from "./known_entries.ts";
import { allFull, type LayerKind, listedKinds, rotatedLayers } from "./reading/layer_kinds.ts";
import { type ReadRopes, readRopes } from "./read_rope.ts";
import { listNames, refuse, refuseShape } from "./reading/refuse.ts";
import type { TextConfig } from "./text_config.ts";

const { layers: mostLayers, queryHeads: mostHeads, headDim: mostChannels } = LARGEST_SHAPE;
const LAYERS = whole(1, mostLayers);
const HEADS = whole(1, mostHeads);
const CHANNELS = whole(1, mostChannels);
const WIDTH = whole(1, mostHeads * mostChannels);
const COUNT = whole(1);
const WINDOW = whole(0);
const SOFTCAP: Kind<number> = kind(
  "0 or a positive number",
  (value) => value === 0 || POSITIVE[1](value),
);

/** Sizes that all layers have, unless their family says that they differ. */
interface Sizes {
  readonly layers: number;
  readonly queryHeads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
}

/**
 * The attention of a model, layer by layer, as a family reads its file.
 *
 * @param length Tokens of the sequences to be planned for, where they are known.
 * @throws {CoupletError} `file` where an entry is not of its kind, cannot be served, or may change
 * attention and is not understood; `shape` where sizes are missing or do not fit.
 */
export function readFacts(
  { json, modelType, within }: TextConfig,
  family: Family,
  length: number | undefined,
): ModelFacts {
  const sizesLeftOut = sizeDefaults(family, within.length > 0);
  const entries = new Entries(flattened(json, family), {
    path: within.map((name) => `${name}.`).join(""),
    defaults: { ...family.defaults, ...sizesLeftOut },
    ...(family.names === undefined ? {} : { names: family.names }),
  });
  const reason = family.refuses?.(entries);
  if (reason !== undefined) refuse(reason, "Choose another model");
  const sizes = readSizes(entries, family, modelType);
  const maxPositions = entries.get("max_position_embeddings", COUNT);
  const rule = (typeof family.rope === "function" ? family.rope(entries) : family.rope) ?? {};
  const ropes = readRopes(entries, rule, maxPositions, length);
  const layers = readLayers(entries, family, rule, sizes, ropes);
  const defaulted = Object.keys(sizesLeftOut).filter((name) => !entries.has(name));
  const asScored = rule.asScored ?? ropes.asScored;
  const note = family.note?.(entries);
  const all: ModelFacts = {
    modelType: family.types.includes(modelType) ? modelType : family.types[0]!,
    modelLayers: sizes.layers,
    layers,
    ...readOthers(entries, family),
    ...(maxPositions === undefined ? {} : { maxPositions }),
    ...(asScored === undefined ? {} : { asScored }),
    notes: [
      ...ropes.notes,
      ...(note === undefined ? [] : [note]),
      ...(defaulted.length === 0 ? [] : [
        `${within.join(".") || "The file"} leaves out ${
          listNames(defaulted)
        }: taken as transformers has it for ${modelType}.`,
      ]),
    ],
  };
  refuseUnread(entries, family, modelType);
  return all;
}

/** A file with the entries of an object in it beside its own. */
function flattened(json: Json, { flatten }: Family): Json {
  if (flatten === undefined) return json;
  const { [flatten]: inner, ...rest } = json;
  return { ...rest, ...(isObject(inner) ? inner : {}) };
}

/**
 * transformers' defaults of sizes, by entry: of all where the file lies in another, and else of KV
 * heads alone. Where these are as many as query heads, they are so whatever the number.
 */
function sizeDefaults({ sizes }: Family, nested: boolean): Json {
  if (sizes === undefined) return {};
  const [num_hidden_layers, num_attention_heads, num_key_value_heads, hidden_size] = sizes;
  return {
    ...(nested ? { num_hidden_layers, num_attention_heads, hidden_size } : {}),
    ...(num_key_value_heads === num_attention_heads ? {} : { num_key_value_heads }),
  };
}

function readSizes(entries: Entries, family: Family, modelType: string): Sizes {
  const layers = entries.get("num_hidden_layers", LAYERS) ?? family.count?.(entries);
  const queryHeads = entries.get("num_attention_heads", HEADS);
  const given = entries.get("head_dim", CHANNELS);
  const width = entries.get("hidden_size", WIDTH);
  const headDim = given ?? (width ?? NaN) / (queryHeads ?? NaN);
  const missing = [
    layers === undefined ? [entries.name("num_hidden_layers")] : [],
    queryHeads === undefined ? [entries.name("num_attention_heads")] : [],
    given === undefined && width === undefined ? [entries.name("head_dim or hidden_size")] : [],
  ].flat();
  if (missing.length > 0) {
    refuseShape(
      `${listNames(missing)} ${
        missing.length === 1 ? "is" : "are"
      } missing in the config.json of a ${modelType}`,
    );
  }
  if (!Number.isInteger(headDim) || headDim > mostChannels) {
    refuseShape(
      `hidden_size ${width} is ${
        headDim > mostChannels ? "far too many times" : "no multiple of"
      } num_attention_heads ${queryHeads} in the config.json of a ${modelType}, and there is no head_dim`,
    );
  }
  const heads = family.keyValueHeads?.(entries, queryHeads!) ??
    entries.get("num_key_value_heads", HEADS) ?? queryHeads!;
  return { layers: layers!, queryHeads: queryHeads!, keyValueHeads: heads, headDim };
}

function readLayers(
  entries: Entries,
  family: Family,
  rule: RopeRule,
  sizes: Sizes,
  ropes: ReadRopes,
): AttentionLayer[] {
  const pattern = (family.layers ?? allFull)(entries, sizes.layers);
  const kinds = listedKinds(entries, sizes.layers) ?? pattern;
  if (kinds.every((kind) => kind === "none")) {
    refuse("no layer has attention", "Choose another model: it keeps states, not keys and values");
  }
  const rotated = rotatedLayers(entries, sizes.layers);
  const onlySliding = rule.only === "sliding" && kinds.includes("sliding");
  const sharedFrom = family.sharesLast
    ? sizes.layers - (entries.get("num_kv_shared_layers", WINDOW) ?? 0)
    : sizes.layers;
  return kinds.flatMap((kind, number): AttentionLayer[] => {
    if (kind === "none") return [];
    const own = family.differing?.(entries, kind, number) ?? {};
    const rotates = rotated[number]! && !(onlySliding && kind !== "sliding");
    const sharesWith = number < sharedFrom ? -1 : kinds.lastIndexOf(kind, sharedFrom - 1);
    const geometry = geometryOf(sizes, own);
    return [{
      number,
      kind,
      ...geometry,
      ...readWindow(entries, kind, number),
      rope: rotates ? ropes.of(kind, geometry.headDim) : undefined,
      scale: family.scale?.(entries, geometry.headDim) ?? geometry.headDim ** -0.5,
      ...(sharesWith < 0 ? {} : { sharesWith }),
    }];
  });
}

function geometryOf(sizes: Sizes, own: LayerSizes) {
  const headDim = own.headDim ?? sizes.headDim;
  return {
    queryHeads: own.queryHeads ?? sizes.queryHeads,
    keyValueHeads: own.keyValueHeads ?? sizes.keyValueHeads,
    headDim,
    valueDim: own.valueDim ?? headDim,
  };
}

/** What a layer's queries see. */
function readWindow(
  entries: Entries,
  kind: LayerKind,
  number: number,
): Pick<AttentionLayer, "slidingWindow" | "chunk"> {
  const needed = (name: string) =>
    entries.get(name, COUNT) ??
      refuseShape(`${entries.name(name)} is missing, and layer ${number} needs it`);
  return {
    slidingWindow: kind === "sliding" ? needed("sliding_window") : 0,
    chunk: kind === "chunked" ? needed("attention_chunk_size") : 0,
  };
}

function readOthers(
  entries: Entries,
  { keyBias, learnedSinks }: Family,
): Pick<ModelFacts, "softcap" | "learnedSinks" | "keyBias"> {
  const biases = ["attention_bias", ...(typeof keyBias === "string" ? [keyBias] : [])]
    .map((entry) => entries.get(entry, FLAG) ?? false);
  return {
    softcap: entries.get("attn_logit_softcapping", SOFTCAP) ?? 0,
    learnedSinks: learnedSinks === true,
    keyBias: keyBias === true || biases.includes(true),
  };
}

/** Refuses a file with entries that may change attention and that nobody read. */
function refuseUnread(
  entries: Entries,
  { ignores = [], neutral = {} }: Family,
  modelType: string,
): void {
  const changes = (name: string): boolean => {
    const value = entries.json[name];
    if (Object.hasOwn(neutral, name)) return !neutral[name]!.includes(value);
    return maySayMore(name, value) && !ignores.includes(name);
  };
  const unknown = [
    ...entries.unread
      .filter(changes)
      .map((name) => entries.place(name)),
    ...entries.nested.flatMap(unreadOfRope),
  ];
  if (unknown.length === 0) return;
  refuse(
    `${listNames(unknown)} may change the attention of a ${modelType}, and ${
      unknown.length === 1 ? "is" : "are"
    } not understood`,
    "Plan by hand, with what it means (planCache), or report the model",
  );
}

/** Places of entries of a rotary embedding that nobody read. */
function unreadOfRope(rope: Entries): string[] {
  return [
    ...rope.unread.filter(maySayMoreOfRope).map((name) => rope.place(name)),
    ...rope.nested.flatMap(unreadOfRope),
  ];
}
