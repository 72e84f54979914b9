/** What a forward pass is given. */

/** One sequence's new tokens. */
export interface ForwardEntry<Sequence> {
  /** Of this engine's cache. */
  readonly sequence: Sequence;
  /** At least one. */
  readonly tokenIds: readonly number[];
  /** What the last token should predict; without it, it has no loss. */
  readonly nextTokenId?: number;
}

/** What to read back; nothing by default. */
export interface ReadOptions {
  /** Logits of every new token, or of each entry's last. */
  readonly logits?: "all" | "last";
  /** Loss and log-sum-exp of every new token. */
  readonly losses?: boolean;
  /** Queries of every layer, before the rotary embedding and after Qwen3's norm. */
  readonly queries?: boolean;
  /** Keys of every layer, before the rotary embedding and after Qwen3's norm. */
  readonly keys?: boolean;
  /** Values of every layer. */
  readonly values?: boolean;
}
