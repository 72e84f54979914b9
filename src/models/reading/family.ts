/** What a `model_type` means beyond its `config.json`. */
import type { Entries, Json } from "./entries.ts";
import type { AttentionLayer } from "./facts.ts";
import type { LayerPattern } from "./layer_kinds.ts";

/** How the layers of a family rotate. */
export interface RopeRule {
  /** Defaults to `half`. */
  readonly layout?: "interleaved" | "none";
  /** The layers that rotate: those with a sliding window, where there are any. Defaults to all. */
  readonly only?: "sliding";
  /** Whether a scaling is for layers without a sliding window alone (Gemma 3, OLMo 3). */
  readonly scaled?: "full";
  /** Why keys are planned as they are scored, whatever the embedding. */
  readonly asScored?: string;
  /** How the sections of `mrope_section` lie, where three positions turn its channels. */
  readonly mrope?: "consecutive" | "interleaved";
}

/** The sizes of layers that differ from the others. */
export interface LayerSizes {
  readonly headDim?: number;
  readonly valueDim?: number;
  readonly queryHeads?: number;
  readonly keyValueHeads?: number;
}

/** The sizes that a file has. */
export function givenSizes(
  sizes: Readonly<{ [size in keyof LayerSizes]: number | undefined }>,
): LayerSizes {
  return Object.fromEntries(Object.entries(sizes).filter(([, size]) => size !== undefined));
}

/** A family of models whose configuration is read. */
export interface Family {
  /** Its `model_type`s. */
  readonly types: readonly string[];
  /** The models, for the reader. */
  readonly models: string;
  /**
   * transformers' defaults of sizes, `[layers, query heads, KV heads, hidden size]`, which text models
   * within others leave out.
   */
  readonly sizes?: readonly [number, number, number, number];
  /** transformers' defaults of other entries, which files leave out. */
  readonly defaults?: Json;
  /** An object in its files whose entries are read like those around it. */
  readonly flatten?: string;
  /** Entries that have other names in its files, by their usual names. */
  readonly names?: Readonly<Record<string, string>>;
  /** How many layers there are, where `num_hidden_layers` does not say it. */
  readonly count?: (entries: Entries) => number | undefined;
  /** The kinds of its layers where `layer_types` does not list them. Defaults to full attention. */
  readonly layers?: LayerPattern;
  /** Its rotary embedding. */
  readonly rope?: RopeRule | ((entries: Entries) => RopeRule);
  /**
   * Factor of `q . k`, from the file's entries and the head dimension. Defaults to
   * `headDim ** -0.5`.
   */
  readonly scale?: (entries: Entries, headDim: number) => number;
  /** KV heads, from the file's entries. Defaults to `num_key_value_heads`. */
  readonly keyValueHeads?: (entries: Entries, queryHeads: number) => number;
  /** Whether its query heads have learned logits beside their scores. */
  readonly learnedSinks?: true;
  /** The entry that says whether keys have a bias, or that they have. Defaults to `attention_bias`. */
  readonly keyBias?: true | string;
  /** Sizes of layers that differ. */
  readonly differing?: (
    entries: Entries,
    kind: AttentionLayer["kind"],
    layer: number,
  ) => LayerSizes;
  /** Whether the last layers use the keys and values of others (`num_kv_shared_layers`). */
  readonly sharesLast?: true;
  /** Entries of its own that change nothing about a cache. */
  readonly ignores?: readonly string[];
  /** Entries of its own that change nothing with these values. */
  readonly neutral?: Readonly<Record<string, readonly unknown[]>>;
  /** Why a file cannot be served, from entries of its own. */
  readonly refuses?: (entries: Entries) => string | undefined;
  /** What a host does itself. */
  readonly note?: (entries: Entries) => string | undefined;
}
