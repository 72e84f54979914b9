import type { SideCodebook } from "../codebooks/codebook.ts";
import type { TokenTurn } from "../model/anchors.ts";
import type { Codec, CodingContext, HeadCodebook } from "../schemes/codec.ts";
import { schemeCodec } from "../schemes/scheme_codec.ts";
import type { Scheme } from "../schemes/scheme.ts";
import type { ExactTiers } from "../plan/options.ts";
import { keptBinary16 } from "./binary16.ts";
import { headCodebooks } from "../codebooks/head_codebooks.ts";
import { firstRecords } from "../records/pack.ts";

/** Options of a {@linkcode SideStore}. */
export interface SideStoreOptions {
  /** How vectors become codes. */
  readonly scheme: Scheme;
  /** The centroids, or undefined where the scheme has none. */
  readonly codebook: SideCodebook | undefined;
  /** What keys are turned by before they are coded; absent where they are not. */
  readonly turn?: TokenTurn;
  /** Whether the vectors are keys in the space `as-scored`. */
  readonly scored?: boolean;
  /** KV heads. */
  readonly keyValueHeads: number;
  /** Channels per head. */
  readonly headDim: number;
  /** Tokens kept exactly. */
  readonly tiers: ExactTiers;
  /** Recent tokens kept exactly: the window and more. */
  readonly slots: number;
}

/**
 * Keys or values of one sequence and layer: sinks and the last `slots` tokens as binary16, all
 * tokens past the sinks and outside the window as packed records.
 */
export class SideStore {
  readonly #options: SideStoreOptions;
  readonly #codec: Codec;
  /** `[keyValueHeads]` codebooks, as stored. */
  readonly #codebooks: readonly HeadCodebook[];
  /** `[sinks][keyValueHeads][headDim]` binary16 numbers. */
  readonly #sinks: Float64Array<ArrayBuffer>;
  /** `[slots][keyValueHeads][headDim]` binary16 numbers; token t at slot t modulo their number. */
  readonly #recent: Float64Array<ArrayBuffer>;
  /**
   * One array of records per KV head; their token 0 is the first past the sinks. Grows by doubling.
   */
  readonly #records: Uint32Array<ArrayBuffer>[];
  readonly #slots: number;

  constructor(options: SideStoreOptions) {
    const { scheme, codebook, keyValueHeads, headDim, tiers } = options;
    this.#options = options;
    this.#codec = schemeCodec(scheme);
    this.#slots = options.slots;
    this.#sinks = new Float64Array(tiers.sinks * keyValueHeads * headDim);
    this.#recent = new Float64Array(this.#slots * keyValueHeads * headDim);
    this.#records = Array.from({ length: keyValueHeads }, () => new Uint32Array(0));
    this.#codebooks = headCodebooks(scheme, codebook, keyValueHeads, headDim);
  }

  /** Copies the store; the copy shares nothing. */
  clone(): SideStore {
    const copy = new SideStore(this.#options);
    copy.#sinks.set(this.#sinks);
    copy.#recent.set(this.#recent);
    this.#records.forEach((words, head) => (copy.#records[head] = words.slice()));
    return copy;
  }

  /**
   * Keeps a token exactly, rounded to binary16. Numbers beyond its range are clamped, and a NaN
   * becomes 0.
   *
   * @param vectors `[...][keyValueHeads][headDim]`.
   * @param at Index in `vectors` of the token's first channel.
   */
  writeExact(token: number, vectors: ArrayLike<number>, at: number): void {
    const channels = this.#options.keyValueHeads * this.#options.headDim;
    const { tier, offset } = this.#exactPlace(token);
    for (let i = 0; i < channels; i++) tier[offset + i] = keptBinary16(vectors[at + i]!);
  }

  /** One head's exact vector `[headDim]` of a token that is still kept. */
  readExact(token: number, head: number): Float64Array<ArrayBuffer> {
    const { headDim } = this.#options;
    const { tier, offset } = this.#exactPlace(token);
    const at = offset + head * headDim;
    return tier.slice(at, at + headDim);
  }

  /**
   * Codes a token past the sinks, from its exact value: where it is the last of a block, the whole
   * block.
   */
  encode(token: number): void {
    const { scheme, keyValueHeads, tiers } = this.#options;
    const { block } = scheme;
    const coded = token - tiers.sinks + 1;
    if (coded % block !== 0) return;
    const { layout, record, index } = this.#recordPlace(coded - block);
    for (let head = 0; head < keyValueHeads; head++) {
      const vectors = Array.from(
        { length: block },
        (_, i) => this.readExact(token - block + 1 + i, head),
      );
      const words = this.#wordsFor(head, (record + 1) * layout.words);
      const own = words.subarray(record * layout.words, (record + 1) * layout.words);
      this.#codec.encode(vectors, own, index, this.#context(head, record * layout.tokens));
    }
  }

  /** One head's vector `[headDim]` of a coded token, decoded. */
  readCoded(token: number, head: number): Float64Array {
    const { headDim, tiers } = this.#options;
    const { layout, record, index } = this.#recordPlace(token - tiers.sinks);
    const words = this.#records[head]!;
    const own = words.subarray(record * layout.words, (record + 1) * layout.words);
    return this.#codec.decode(own, index, headDim, this.#context(head, record * layout.tokens));
  }

  /**
   * The records of the first `tokens` tokens past the sinks, all coded, `[keyValueHeads]` runs of
   * words.
   */
  records(tokens: number): Uint32Array<ArrayBuffer>[] {
    const { scheme, headDim } = this.#options;
    const layout = scheme.layout(headDim);
    return this.#records.map((words) => firstRecords(layout, words, tokens));
  }

  /**
   * Removes tokens `from` up to but not including `to`, whole records past the sinks, and lets those
   * after them move up, which are exact from token `exactFrom` on.
   *
   * @param length Tokens, those that are removed included.
   */
  drop(from: number, to: number, exactFrom: number, length: number): void {
    const { tiers: { sinks }, keyValueHeads, headDim } = this.#options;
    const [first, end] = [from, to].map((token) => {
      const { layout, record } = this.#recordPlace(token - sinks);
      return record * layout.words;
    });
    this.#records.forEach((words, head) => {
      const kept = new Uint32Array(words.length);
      kept.set(words.subarray(0, first));
      kept.set(words.subarray(end), first);
      this.#records[head] = kept;
    });
    const moved = Array.from(
      { length: length - exactFrom },
      (_, i) =>
        Array.from({ length: keyValueHeads }, (_, head) => this.readExact(exactFrom + i, head)),
    );
    moved.forEach((heads, i) => {
      const { tier, offset } = this.#exactPlace(exactFrom + i - (to - from));
      heads.forEach((vector, head) => tier.set(vector, offset + head * headDim));
    });
  }

  /** Keeps a coded token exactly, as it is decoded. */
  keepDecoded(token: number): void {
    const { keyValueHeads, headDim } = this.#options;
    const vectors = new Float64Array(keyValueHeads * headDim);
    for (let head = 0; head < keyValueHeads; head++) {
      vectors.set(this.readCoded(token, head), head * headDim);
    }
    this.writeExact(token, vectors, 0);
  }

  /** The context of coding a record that begins with the coded token `first`. */
  #context(head: number, first: number): CodingContext {
    const { turn, scored = false } = this.#options;
    const codebook = { ...this.#codebooks[head]!, scored };
    return turn === undefined ? codebook : {
      ...codebook,
      turn: (vector, token, direction) => turn(vector, first + token, direction),
    };
  }

  /** The record of a coded token, counted from the sinks on, and its place in it. */
  #recordPlace(coded: number) {
    const layout = this.#options.scheme.layout(this.#options.headDim);
    return { layout, record: Math.floor(coded / layout.tokens), index: coded % layout.tokens };
  }

  #exactPlace(
    token: number,
  ): { readonly tier: Float64Array<ArrayBuffer>; readonly offset: number } {
    const { tiers, keyValueHeads, headDim } = this.#options;
    const channels = keyValueHeads * headDim;
    return token < tiers.sinks
      ? { tier: this.#sinks, offset: token * channels }
      : { tier: this.#recent, offset: (token % this.#slots) * channels };
  }

  #wordsFor(head: number, length: number): Uint32Array {
    const words = this.#records[head]!;
    if (words.length >= length) return words;
    const grown = new Uint32Array(Math.max(length, 2 * words.length));
    grown.set(words);
    this.#records[head] = grown;
    return grown;
  }
}
