import type { Codebook } from "../codebook.ts";
import { fromFloat16Array, fromFloat16Bits, toFloat16Bits } from "../float16.ts";
import { recordWords } from "../record_layout.ts";
import type { Scheme } from "../scheme.ts";
import type { ExactTiers } from "./attention.ts";
import { packRecords, readCode, unpackRecords, writeCode } from "./pack.ts";

/** What a {@linkcode SideStore} holds, all of it known when a sequence begins. */
export interface SideStoreOptions {
  /** How vectors become codes. */
  readonly scheme: Scheme;
  /** The centroids, or undefined where the scheme needs none. */
  readonly codebook: Codebook | undefined;
  /** KV heads. */
  readonly keyValueHeads: number;
  /** Channels per head. */
  readonly headDim: number;
  /** Tokens kept exactly. */
  readonly tiers: ExactTiers;
  /** Recent tokens kept exactly: the window and some more. */
  readonly slots: number;
}

/**
 * Keys or values of one sequence and layer: sinks and the last `slots` tokens as binary16, all
 * tokens past the sinks and outside the window as packed records.
 */
export class SideStore {
  readonly #options: SideStoreOptions;
  /** Centroids of each KV head, as stored: `[keyValueHeads]` arrays `[groups][centroids][channels]`. */
  readonly #centroids: Float32Array[];
  /** `[sinks][keyValueHeads][headDim]` binary16 bits. */
  readonly #sinks: Uint16Array;
  /** `[slots][keyValueHeads][headDim]` binary16 bits; token t at slot t modulo their number. */
  readonly #recent: Uint16Array;
  /** One array of records per KV head; their token 0 is the first past the sinks. Grows by doubling. */
  readonly #records: Uint32Array<ArrayBuffer>[];
  readonly #slots: number;

  constructor(options: SideStoreOptions) {
    const { keyValueHeads, headDim, tiers, codebook } = options;
    this.#options = options;
    this.#slots = options.slots;
    this.#sinks = new Uint16Array(tiers.sinks * keyValueHeads * headDim);
    this.#recent = new Uint16Array(this.#slots * keyValueHeads * headDim);
    this.#records = Array.from({ length: keyValueHeads }, () => new Uint32Array(0));
    const all = fromFloat16Array(codebook?.centroids ?? new Uint16Array(0));
    const perHead = all.length / keyValueHeads;
    this.#centroids = Array.from(
      { length: keyValueHeads },
      (_, head) => all.subarray(head * perHead, (head + 1) * perHead),
    );
  }

  /** A store that holds the same tokens and shares nothing. */
  clone(): SideStore {
    const copy = new SideStore(this.#options);
    copy.#sinks.set(this.#sinks);
    copy.#recent.set(this.#recent);
    this.#records.forEach((words, head) => (copy.#records[head] = words.slice()));
    return copy;
  }

  /**
   * Keeps a token exactly, rounded to binary16.
   *
   * @param vectors `[...][keyValueHeads][headDim]`.
   * @param at Index in `vectors` of the token's first channel.
   */
  writeExact(token: number, vectors: ArrayLike<number>, at: number): void {
    const channels = this.#options.keyValueHeads * this.#options.headDim;
    const { bits, offset } = this.#exactPlace(token);
    for (let i = 0; i < channels; i++) bits[offset + i] = toFloat16Bits(vectors[at + i]!);
  }

  /** One head's exact vector `[headDim]` of a token that is still kept. */
  readExact(token: number, head: number): Float64Array<ArrayBuffer> {
    const { headDim } = this.#options;
    const { bits, offset } = this.#exactPlace(token);
    const at = offset + head * headDim;
    return Float64Array.from(bits.subarray(at, at + headDim), fromFloat16Bits);
  }

  /** Codes a token past the sinks, from its exact value. */
  encode(token: number): void {
    const { scheme, codebook, keyValueHeads, headDim, tiers } = this.#options;
    const layout = scheme.layout(headDim);
    const index = token - tiers.sinks;
    for (let head = 0; head < keyValueHeads; head++) {
      const scale = codebook?.scale?.subarray(head * headDim, (head + 1) * headDim);
      const codes = scheme.encode(this.readExact(token, head), this.#centroids[head]!, scale);
      const words = this.#wordsFor(head, recordWords(layout, index + 1));
      codes.forEach((code, i) => writeCode(layout, words, index, i, code));
    }
  }

  /** One head's vector `[headDim]` of a coded token, decoded. */
  readCoded(token: number, head: number): Float64Array {
    const { scheme, headDim, tiers } = this.#options;
    const layout = scheme.layout(headDim);
    const codes = Uint32Array.from(
      { length: layout.codes },
      (_, i) => readCode(layout, this.#records[head]!, token - tiers.sinks, i),
    );
    return scheme.decode(codes, this.#centroids[head]!);
  }

  /** The records of the first `tokens` tokens past the sinks, all coded, `[keyValueHeads]` runs of words. */
  records(tokens: number): Uint32Array<ArrayBuffer>[] {
    const { scheme, headDim } = this.#options;
    const layout = scheme.layout(headDim);
    return this.#records.map((words) =>
      packRecords(layout, unpackRecords(layout, words, tokens), tokens)
    );
  }

  #exactPlace(token: number): { readonly bits: Uint16Array; readonly offset: number } {
    const { tiers, keyValueHeads, headDim } = this.#options;
    const channels = keyValueHeads * headDim;
    return token < tiers.sinks
      ? { bits: this.#sinks, offset: token * channels }
      : { bits: this.#recent, offset: (token % this.#slots) * channels };
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
