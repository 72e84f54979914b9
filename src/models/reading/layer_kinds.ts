/** Which layers of a model have attention, and what their queries see. */
import { FLAG, type Kind, kind, listOf, TEXT, whole } from "../../base/check_options.ts";
import type { Entries } from "./entries.ts";
import { refuse, refuseShape } from "./refuse.ts";

/** A layer's attention, or `none`: a layer that keeps a state instead, or nothing. */
export type LayerKind = "full" | "sliding" | "chunked" | "none";

/** The kinds of all layers, from a file's entries. */
export type LayerPattern = (entries: Entries, layers: number) => readonly LayerKind[];

/** Kinds by the names that `layer_types` and entries like it have for them. */
const KINDS: Readonly<Record<string, LayerKind>> = {
  full_attention: "full",
  attention: "full",
  global: "full",
  // Attention beside a state.
  hybrid: "full",
  sliding_attention: "sliding",
  local: "sliding",
  chunked_attention: "chunked",
  linear_attention: "none",
  recurrent: "none",
  mamba: "none",
  mamba2: "none",
  conv: "none",
  moe: "none",
  mlp: "none",
};

const NAMES: Kind<readonly string[]> = listOf(TEXT);
const COUNT = whole(0);
const POSITIVE_COUNT = whole(1);
const INDICES: Kind<readonly number[]> = listOf(COUNT);
const PATTERN: Kind<string | number> = kind(
  "a whole number or a text",
  (value) => COUNT[1](value) || TEXT[1](value),
);

/** Kinds of named layers. */
function named(types: readonly string[], entry: string): LayerKind[] {
  return types.map((type, layer) => {
    if (Object.hasOwn(KINDS, type)) return KINDS[type]!;
    refuse(
      `layer ${layer} is of the type "${type}" (${entry})`,
      "Choose a model whose layers have full or sliding attention, or none",
    );
  });
}

/** The kinds that a list of names has, or undefined where there is no such entry. */
export function listedKinds(
  entries: Entries,
  layers: number,
  entry = "layer_types",
): LayerKind[] | undefined {
  const types = entries.get(entry, NAMES);
  if (types === undefined) return undefined;
  if (types.length !== layers) {
    refuseShape(`${entries.name(entry)} names ${types.length} layers of ${layers}`);
  }
  return named(types, entries.name(entry));
}

function eachLayer(layers: number, kindOf: (layer: number) => LayerKind): LayerKind[] {
  return Array.from({ length: layers }, (_, layer) => kindOf(layer));
}

/** Full attention in all layers. */
export const allFull: LayerPattern = (_, layers) => eachLayer(layers, () => "full");

/** A sliding window in all layers, if there is one. */
export const allSliding: LayerPattern = (entries, layers) => {
  const sliding = entries.get("sliding_window", COUNT);
  return eachLayer(layers, () => sliding ? "sliding" : "full");
};

/** A sliding window from `max_window_layers` on, if it is used (Qwen). */
export const lastSliding: LayerPattern = (entries, layers) => {
  const used = entries.get("use_sliding_window", FLAG) ?? false;
  const first = entries.get("max_window_layers", COUNT) ?? 28;
  const window = entries.get("sliding_window", COUNT);
  return eachLayer(layers, (layer) => used && window && layer >= first ? "sliding" : "full");
};

/** A sliding window in all layers, if it is used (Qwen3 MoE). */
export const usedSliding: LayerPattern = (entries, layers) => {
  const used = entries.get("use_sliding_window", FLAG) ?? false;
  // It takes part in nothing here.
  entries.get("max_window_layers", COUNT);
  return allSliding(entries, layers).map((kind) => used ? kind : "full");
};

/** A sliding window in every other layer before `max_window_layers`, if it is used (Qwen2 MoE). */
export const evenSlidingBefore: LayerPattern = (entries, layers) => {
  const before = entries.get("max_window_layers", COUNT) ?? 28;
  return usedSliding(entries, layers)
    .map((kind, layer) => layer % 2 === 0 && layer < before ? kind : "full");
};

/** A sliding window in layers without rotary embedding, if it is used (SmolLM3). */
export const slidingWhereStill: LayerPattern = (entries, layers) => {
  const rotated = rotatedLayers(entries, layers);
  return usedSliding(entries, layers).map((kind, layer) => rotated[layer] ? "full" : kind);
};

/** A sliding window in every other layer, the first among them (Gemma 2). */
export const evenSliding: LayerPattern = (_, layers) =>
  eachLayer(layers, (layer) => layer % 2 === 0 ? "sliding" : "full");

/** A sliding window in all but the first layer and every fourth after it. */
export const slidingButFirstOfFour: LayerPattern = (entries, layers) =>
  allSliding(entries, layers).map((kind, layer) => layer % 4 === 0 ? "full" : kind);

/** A sliding window in layers for which an entry lists 1, and not in those with 0 (MiMo). */
export function slidingWhere(entry: string): LayerPattern {
  return (entries, layers) => {
    const flags = entries.get(entry, INDICES) ?? refuseShape(`${entries.name(entry)} is missing`);
    if (flags.length !== layers || flags.some((flag) => flag > 1)) {
      refuseShape(`${entries.name(entry)} is no list of 0 or 1 for ${layers} layers`);
    }
    return flags.map((flag) => flag === 1 ? "sliding" : "full");
  };
}

/** Full attention, whatever window there is: `layer_types` alone says which layers have it. */
export const slidingIfListed: LayerPattern = (entries, layers) =>
  allSliding(entries, layers).map(() => "full");

/**
 * A sliding window in all but every n-th layer, as a number or a text of L and G, repeated, says
 * ("LLLG").
 *
 * @param entry The entry that says so.
 * @param usual n where there is none.
 */
export function slidingBut(usual: number, entry = "sliding_window_pattern"): LayerPattern {
  return (entries, layers) => {
    const pattern = entries.get(entry, PATTERN) ?? usual;
    const window = entries.get("sliding_window", COUNT);
    if (typeof pattern === "string") {
      if (!/^[LG]+$/.test(pattern)) {
        refuse(
          `${entries.name(entry)} is "${pattern}"`,
          "It must be a number, or a text of L and G",
        );
      }
      return eachLayer(
        layers,
        (layer) => pattern[layer % pattern.length] === "L" && window ? "sliding" : "full",
      );
    }
    return eachLayer(
      layers,
      (layer) => window && pattern > 0 && (layer + 1) % pattern !== 0 ? "sliding" : "full",
    );
  };
}

/** Attention in every n-th layer alone (Qwen3-Next). */
export function fullEvery(usual: number, entry: string): LayerPattern {
  return (entries, layers) => {
    const interval = entries.get(entry, POSITIVE_COUNT) ?? usual;
    return eachLayer(layers, (layer) => (layer + 1) % interval === 0 ? "full" : "none");
  };
}

/** Attention in the layers that an entry lists, or `otherwise` where there is none. */
export function fullIn(entry: string, otherwise: LayerKind): LayerPattern {
  return (entries, layers) => {
    const listed = entries.get(entry, INDICES);
    return eachLayer(
      layers,
      (layer) => listed === undefined ? otherwise : listed.includes(layer) ? "full" : "none",
    );
  };
}

/** Attention once in a period of layers (Jamba). */
export const fullOncePerPeriod: LayerPattern = (entries, layers) => {
  const period = entries.get("attn_layer_period", POSITIVE_COUNT) ?? 8;
  const offset = entries.get("attn_layer_offset", COUNT) ?? 4;
  return eachLayer(layers, (layer) => layer % period === offset ? "full" : "none");
};

/** Names of layers in an entry of its own, which may have another number than the layers. */
export function repeated(entry: string): LayerPattern {
  return (entries, layers) => {
    const types = entries.get(entry, NAMES) ?? refuseShape(`${entries.name(entry)} is missing`);
    const kinds = named(types, entries.name(entry));
    return eachLayer(layers, (layer) => kinds[layer % kinds.length]!);
  };
}

/** Names, or letters of a text, of which M, E and - have no attention, and * has (Nemotron-H). */
export const byLetters: LayerPattern = (entries, layers) => {
  const listed = listedKinds(entries, layers, "layers_block_type");
  const pattern = entries.get("hybrid_override_pattern", TEXT) ?? "";
  if (listed !== undefined) return listed;
  if (!/^[ME*-]+$/.test(pattern) || pattern.length !== layers) {
    refuseShape(
      `${entries.name("hybrid_override_pattern")} is no text of M, E, - and * for ${layers} layers`,
    );
  }
  return eachLayer(layers, (layer) => pattern[layer] === "*" ? "full" : "none");
};

/** How many layers names or letters are of, where no entry says it. */
export function letterCount(entries: Entries): number | undefined {
  return entries.get("layers_block_type", NAMES)?.length ??
    entries.get("hybrid_override_pattern", TEXT)?.length;
}

/** Chunked attention but in layers without rotary embedding (Llama 4). */
export const chunkedWhereRotated: LayerPattern = (entries, layers) => {
  const rotated = rotatedLayers(entries, layers);
  return eachLayer(layers, (layer) => rotated[layer] ? "chunked" : "full");
};

/**
 * Which layers rotate, by `no_rope_layers` (1 where a layer does) or `no_rope_layer_interval`: all
 * but every n-th.
 */
export function rotatedLayers(entries: Entries, layers: number): readonly boolean[] {
  const flags = entries.get("no_rope_layers", INDICES) ?? [];
  const interval = entries.get("no_rope_layer_interval", POSITIVE_COUNT);
  if (flags.length > 0 && flags.length !== layers) {
    refuseShape(
      `${entries.name("no_rope_layers")} has ${flags.length} entries for ${layers} layers`,
    );
  }
  return Array.from(
    { length: layers },
    (_, layer) =>
      flags.length > 0
        ? flags[layer] !== 0
        : interval === undefined || (layer + 1) % interval !== 0,
  );
}
