/** What a model's configuration says of its attention, layer by layer. */

/** The rotary embedding of a layer. */
export interface RopeFacts {
  /** Which channels pair: i with i + rotaryDim / 2, or 2i with 2i + 1. */
  readonly layout: "half" | "interleaved";
  /** Base of the geometric series of frequencies. */
  readonly theta: number;
  /** Channels that rotate, from channel 0. */
  readonly rotaryDim: number;
  /**
   * `[rotaryDim / 2]` frequencies in radians per position, where they are not
   * `theta ** (-2 i / rotaryDim)`.
   */
  readonly inverseFrequencies?: readonly number[];
  /**
   * What rotated channels of keys and of queries are multiplied by, so that scores have its square
   * (YaRN, LongRoPE); 1 where nothing is.
   */
  readonly attentionFactor: number;
  /**
   * `[rotaryDim / 2]`: which of a token's three positions turns a pair, 0 for time, 1 for height, 2
   * for width; absent where it has one position.
   */
  readonly sections?: readonly number[];
}

/** The attention of one layer. */
export interface AttentionLayer {
  /** Its number in the model, where layers without attention count, too. */
  readonly number: number;
  /** What its queries see: every earlier token, the last ones, or those of their own chunk. */
  readonly kind: "full" | "sliding" | "chunked";
  /** Query heads. */
  readonly queryHeads: number;
  /** KV heads. */
  readonly keyValueHeads: number;
  /** Channels of a query and of a key. */
  readonly headDim: number;
  /** Channels of a value. */
  readonly valueDim: number;
  /** Most recent tokens that a query sees, its own included; 0 where it sees more. */
  readonly slidingWindow: number;
  /** Tokens of a chunk; 0 where there are none. */
  readonly chunk: number;
  /** Its rotary embedding; undefined where it has none. */
  readonly rope: RopeFacts | undefined;
  /** Factor of `q . k`, without that of its rotary embedding. */
  readonly scale: number;
  /** The number of the layer whose keys and values it attends to instead of its own. */
  readonly sharesWith?: number;
}

/** The attention of a model. */
export interface ModelFacts {
  /** The `model_type` it was read as. */
  readonly modelType: string;
  /** Layers of the model, those without attention included. */
  readonly modelLayers: number;
  /** The layers that have attention. */
  readonly layers: readonly AttentionLayer[];
  /** Bound of the scores; 0 for none. */
  readonly softcap: number;
  /** Whether each query head has a learned logit beside its scores (gpt-oss). */
  readonly learnedSinks: boolean;
  /** Whether its projection of keys has a bias, so that keys have constant offsets. */
  readonly keyBias: boolean;
  /** The longest sequence the model was made for, in tokens. */
  readonly maxPositions?: number;
  /** Why its keys can only be coded as they are scored, whatever its rotary embedding. */
  readonly asScored?: string;
  /** Sentences for the reader. */
  readonly notes: readonly string[];
}
