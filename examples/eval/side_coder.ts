import {
  type CodebookSet,
  type KeyOptions,
  parseScheme,
  type SchemeId,
  type Side,
  unpackRecords,
} from "@couplet/kv";
import { cacheCodebook } from "../../src/codebooks/find.ts";
import { headCodebooks } from "../../src/codebooks/head_codebooks.ts";
import { keptBinary16 } from "../../src/reference/binary16.ts";
import type { Codec, CodingContext } from "../../src/schemes/codec.ts";
import { keyTurn } from "../../src/schemes/key_turn.ts";
import { schemeCodec } from "../../src/schemes/scheme_codec.ts";

/** What a {@linkcode SideCoder} codes. */
export interface SideCoderOptions {
  readonly scheme: SchemeId;
  readonly layer: number;
  readonly side: Side;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly keys: KeyOptions;
  readonly codebooks: CodebookSet | undefined;
  /** Defaults to the scheme's. */
  readonly codec?: Codec;
}

/** One side of a text in one layer, coded. */
export interface CodedSide {
  /** `[tokens][keyValueHeads][headDim]`. */
  readonly decoded: Float64Array<ArrayBuffer>;
  /** By KV head, `[tokens][codes]`. */
  readonly codes: readonly Uint32Array[];
}

/** Codes one side of whole texts in one layer, in float64: what caches would hold of them if no token were exact. */
export class SideCoder {
  readonly scheme: SchemeId;
  readonly #options: SideCoderOptions;
  readonly #codec: Codec;
  readonly #contexts: readonly CodingContext[];

  /** @throws {CoupletError} `codebook` where the codebook is missing, `scheme` where the scheme has no codec. */
  constructor(options: SideCoderOptions) {
    const { scheme, layer, side, keyValueHeads, headDim, keys, codebooks } = options;
    const shape = { keyValueHeads, headDim };
    const codebook = cacheCodebook(codebooks, shape, layer, side, scheme);
    this.scheme = scheme;
    this.#options = options;
    this.#codec = options.codec ?? schemeCodec(parseScheme(scheme));
    this.#contexts = headCodebooks(parseScheme(scheme), codebook, keyValueHeads, headDim)
      .map((own) => ({
        ...own,
        scored: side === "keys" && keys.space === "as-scored",
      }));
  }

  /**
   * Codes all tokens of a text; the last block may have fewer.
   *
   * @param vectors `[tokens][keyValueHeads][headDim]`, in the space that the side is coded in.
   */
  code(vectors: ArrayLike<number>): CodedSide {
    const { scheme: id, side, keyValueHeads, headDim, keys } = this.#options;
    const scheme = parseScheme(id);
    const codec = this.#codec;
    const turn = side === "keys" ? keyTurn(scheme, keys, headDim, 0) : undefined;
    const layout = scheme.layout(headDim);
    const tokens = vectors.length / (keyValueHeads * headDim);
    const decoded = new Float64Array(vectors.length);
    const codes = this.#contexts.map((own, head) => {
      const all = new Uint32Array(tokens * layout.codes);
      for (let first = 0; first < tokens; first += scheme.block) {
        const starts = Array.from(
          { length: Math.min(scheme.block, tokens - first) },
          (_, i) => ((first + i) * keyValueHeads + head) * headDim,
        );
        const block = starts.map((at) =>
          Float64Array.from({ length: headDim }, (_, i) => keptBinary16(vectors[at + i]!))
        );
        const context: CodingContext = turn === undefined
          ? own
          : { ...own, turn: (vector, i, way) => turn(vector, first + i, way) };
        const record = new Uint32Array(layout.words);
        codec.encode(block, record, 0, context);
        starts.forEach((at, i) => decoded.set(codec.decode(record, i, headDim, context), at));
        all.set(unpackRecords(layout, record, starts.length), first * layout.codes);
      }
      return all;
    });
    return { decoded, codes };
  }
}
