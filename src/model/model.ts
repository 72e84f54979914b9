/** The shape of a model's attention. */
export interface ModelShape {
  /** Number of layers with a KV cache. */
  readonly layers: number;
  /** Query heads: one number for all layers, or one per layer. */
  readonly queryHeads: number | readonly number[];
  /** KV heads: one number for all layers, or one per layer; each divides its `queryHeads`. */
  readonly keyValueHeads: number | readonly number[];
  /** Channels per head, of queries and keys: one number for all layers, or one per layer. */
  readonly headDim: number | readonly number[];
  /**
   * Channels per head, of values and the output: one number for all layers, or one per layer.
   * Defaults to `headDim`.
   */
  readonly valueHeadDim?: number | readonly number[];
  /**
   * Most recent tokens a query may see, its own included (Mistral, Gemma): one number for all
   * layers, or one per layer, 0 for those that see everything. Defaults to no limit.
   */
  readonly slidingWindow?: number | readonly number[];
  /**
   * Layers that attend to another layer's keys and values and have none of their own (Gemma 3n, 4):
   * one entry per layer, the number of an earlier layer that has, or `null` for a layer with its
   * own. Both layers have the same KV heads, head dimensions, sliding window and rotary embedding.
   * Defaults to none.
   */
  readonly sharesWith?: readonly (number | null)[];
}

/**
 * The rotary position embedding (RoFormer, arXiv 2104.09864), which the library applies to keys
 * that are coded before it.
 */
export interface RopeParameters {
  /**
   * `half`: channel i pairs with i + rotaryDim/2 (Llama, Hugging Face). `interleaved`: 2i pairs
   * with 2i + 1 (GPT-J).
   */
  readonly layout: "half" | "interleaved";
  /** Base of the geometric series of frequencies. Explicit frequencies replace it. */
  readonly theta: number;
  /** Channels that the embedding rotates, from channel 0. Defaults to the head dimension. */
  readonly rotaryDim?: number;
  /**
   * Added to every position. Scores depend only on differences of positions, so it changes only
   * rounding.
   */
  readonly positionOffset?: number;
  /**
   * `[rotaryDim / 2]` frequencies in radians per position, instead of `theta ** (-2 i /
   * rotaryDim)`.
   */
  readonly inverseFrequencies?: readonly number[];
  /**
   * `[rotaryDim / 2]`: which of a token's three positions turns a pair, 0 for time, 1 for height, 2
   * for width (mrope; Qwen2-VL, arXiv 2409.12191 §2.1), as {@linkcode mropeSections} lists them.
   * Defaults to none: a token has one position, its place in the sequence.
   */
  readonly sections?: readonly number[];
}

/** How keys reach the cache, and queries with them. */
export type KeyOptions =
  | {
    /**
     * `pre-rope`: keys before their rotary embedding. `as-scored`: keys as they are scored, whether
     * rotated or not.
     */
    readonly space: Extract<KeySpace, "pre-rope">;
    /**
     * The rotary embedding, for keys before it. Absent for keys as they are scored.
     */
    readonly rope: RopeParameters;
  }
  | {
    /**
     * `anchored`: keys before their rotary embedding, which are coded with a part of it
     * ({@linkcode AnchorOptions}).
     */
    readonly space: Extract<KeySpace, "anchored">;
    /** The rotary embedding. */
    readonly rope: RopeParameters;
    /** How far keys may turn inside an anchor. */
    readonly anchor?: AnchorOptions;
  }
  | {
    /** Keys as they are scored, whether rotated or not. */
    readonly space: Extract<KeySpace, "as-scored">;
  };

/** Keys before rotary embeddings that differ by layer (Gemma 3). */
export interface RopeByLayer {
  /** All layers' keys come before their rotary embedding. */
  readonly space: Extract<KeySpace, "pre-rope">;
  /** The rotary embedding of each layer; `null` for one whose keys are not rotated at all. */
  readonly rope: readonly (RopeParameters | null)[];
}

/**
 * Where the channels of keys turn slowly, consecutive tokens share an anchor: learned codes hold
 * what a key turns from its anchor's middle, and only the query is turned, once for all tokens of
 * the anchor. The model's frequencies decide which channels, and how many tokens. Schemes without a
 * learned codebook, and those that rotate channels themselves, code such keys as they do others
 * before their rotary embedding.
 */
export interface AnchorOptions {
  /**
   * Most that a pair of channels turns from its anchor's middle, in radians. Defaults to 0.3. A
   * larger angle makes fewer pairs turn token by token, and codes lose more.
   */
  readonly radians?: number;
}

/**
 * Whether keys are coded before or after the rotary position embedding, or with the part of it that
 * is slow.
 */
export type KeySpace = "pre-rope" | "anchored" | "as-scored";

/** The model a codebook was learned on. */
export interface ModelFingerprint {
  /** A name, for display. */
  readonly name: string;
  /** Any stable digest of the weights. Digests are compared for equality. */
  readonly digest: string;
}
