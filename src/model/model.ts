/** The shape of a model's attention. */
export interface ModelShape {
  /** Number of layers with a KV cache. */
  readonly layers: number;
  /** Query heads per layer. */
  readonly queryHeads: number;
  /** KV heads: one number for all layers, or one per layer; each divides `queryHeads`. */
  readonly keyValueHeads: number | readonly number[];
  /** Channels per head. */
  readonly headDim: number;
  /**
   * Most recent tokens a query may see, its own included (Mistral, Gemma): one number for all
   * layers, or one per layer, 0 for those that see everything. No limit where absent.
   */
  readonly slidingWindow?: number | readonly number[];
}

/**
 * The rotary position embedding (RoFormer, arXiv 2104.09864) the library applies to keys coded
 * before it.
 */
export interface RopeParameters {
  /**
   * `half`: channel i pairs with i + rotaryDim/2 (Llama, Hugging Face). `interleaved`: 2i pairs
   * with 2i + 1 (GPT-J).
   */
  readonly layout: "half" | "interleaved";
  /** Base of the geometric series of frequencies; not used where there are explicit ones. */
  readonly theta: number;
  /** Channels that are rotated, from channel 0; the head dimension where absent. */
  readonly rotaryDim?: number;
  /**
   * Added to every position. Scores depend on differences of positions alone, so it changes nothing
   * but rounding.
   */
  readonly positionOffset?: number;
  /**
   * `[rotaryDim / 2]` frequencies in radians per position, in place of `theta ** (-2 i /
   * rotaryDim)`.
   */
  readonly inverseFrequencies?: readonly number[];
}

/** How keys reach the cache, and queries with them. */
export type KeyOptions =
  | {
    /** Before their rotary embedding, or as they are scored, whatever was done to them. */
    readonly space: Extract<KeySpace, "pre-rope">;
    /**
     * The rotary embedding, where keys come before it; nothing where they come as they are scored.
     */
    readonly rope: RopeParameters;
  }
  | {
    /** As they are scored. */
    readonly space: Extract<KeySpace, "as-scored">;
  };

/** Whether keys are coded before or after the rotary position embedding. */
export type KeySpace = "pre-rope" | "as-scored";

/** The model a codebook was learned on. */
export interface ModelFingerprint {
  /** A name for people. */
  readonly name: string;
  /** Any stable digest of the weights, compared for equality. */
  readonly digest: string;
}
