/** What a forward pass is given. */

/** Vectors that take the place of some tokens' embeddings, such as those of an image. */
export interface EmbeddedTokens {
  /** Index in `tokenIds` of the first token whose embedding is replaced. */
  readonly first: number;
  /** `[tokens][hiddenSize]`. */
  readonly vectors: Float32Array<ArrayBuffer>;
}

/** Where a forward pass puts keys and values for the host to keep. */
export interface KeptTokens {
  /** Index in `tokenIds` of the first token to keep. */
  readonly first: number;
  /** How many tokens. */
  readonly tokens: number;
  /** By layer, `[tokens][keyValueHeads][headDim]` f32 each, in the space that the cache is given. */
  readonly layers: readonly { readonly keys: GPUBuffer; readonly values: GPUBuffer }[];
}

/** One sequence's new tokens. */
export interface ForwardEntry<Sequence> {
  /** Of this engine's cache. */
  readonly sequence: Sequence;
  /** At least one. */
  readonly tokenIds: readonly number[];
  /** What the last token should predict; without it, it has no loss. */
  readonly nextTokenId?: number;
  /** Vectors in place of the embeddings of some of `tokenIds`, whose ids then mean nothing. */
  readonly embedded?: EmbeddedTokens;
  /**
   * Rotary position of the first token; the sequence's length where absent. Only for keys that the
   * cache takes as scored: a cache that applies the rotary embedding counts positions itself.
   */
  readonly position?: number;
  /** Keys and values to keep. */
  readonly kept?: KeptTokens;
}

/** What to read back; nothing by default. */
export interface ReadOptions {
  /** Logits of every new token, or of each entry's last. */
  readonly logits?: "all" | "last";
  /** Loss and log-sum-exp of every new token. */
  readonly losses?: boolean;
  /** Queries of every layer, before the rotary embedding and after their norm. */
  readonly queries?: boolean;
  /** Keys of every layer, before the rotary embedding and after their norm. */
  readonly keys?: boolean;
  /** Values of every layer. */
  readonly values?: boolean;
}
