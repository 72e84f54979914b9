/** What the kernels of several families share. */
import { headCodebookWords } from "../../src/codebooks/device.ts";
import type { BindingName } from "../../src/kernels/bindings.ts";
import {
  NEAR_TOKENS,
  PAGE_TOKENS,
  STEP_ENTRIES,
  WORKGROUP_SIZE,
} from "../../src/kernels/constants.ts";
import type { Scheme } from "../../src/schemes/scheme.ts";
import { codecKernel, type Context, type KernelRow } from "../kernels/kernel_row.ts";

/** Sizes of the records named `side`. */
export function recordSizes(side: string, scheme: Scheme, headDim: number): Context {
  const layout = scheme.layout(headDim);
  return {
    side,
    upper: side.toUpperCase(),
    recordTokens: layout.tokens,
    recordWords: layout.words,
    codebookWords: headCodebookWords(scheme, headDim),
  };
}

/** The constants of every kernel that encodes. */
export function encoderSizes(scheme: Scheme, headDim: number): Context {
  const layout = scheme.layout(headDim);
  return { ...codecSizes(headDim), recordTokens: layout.tokens, recordWords: layout.words };
}

/** The constants of every kernel that encodes or decodes. */
export function codecSizes(headDim: number): Context {
  return {
    headDim,
    workgroupSize: WORKGROUP_SIZE,
    pageTokens: PAGE_TOKENS,
    stepEntries: STEP_ENTRIES,
  };
}

/** The number of chunks of four channels in `numbers` channels. */
export function readerSizes(numbers: number): Context {
  return { chunkCount: numbers / 4, lastChannel: numbers - 1 };
}

/** One item for each chunk of four channels. */
export function chunksOf<Item>(numbers: number, of: (index: number) => Item): Item[] {
  return Array.from({ length: numbers / 4 }, (_, index) => of(index));
}

/** The default way to read channels: chunk by chunk. */
export function loadedChunks(numbers: number, load: Context): Context {
  return {
    ...readerSizes(numbers),
    ...load,
    chunksPartial: "chunks_loaded",
    chunks: chunksOf(numbers, (index) => ({ index })),
  };
}

/** The queries of a block, after the Hadamard rotation. */
export const ROTATED_QUERIES = { name: "rotated_rows", tile: "rotated_tile" };

/** Where lanes exchange what they transform of queries: a fused kernel's values use it as well. */
export const QUERY_EXCHANGE = { exchange: ROTATED_QUERIES.tile };

/** Where they exchange what they transform of sums of values, in a kernel that scores no keys. */
export const SUM_EXCHANGE = { exchange: "weights" };

/** The rotary embedding of kernels that encode and decode keys before it. */
export function angleContext(rope: "rope" | undefined): Context {
  return rope === undefined
    ? { anglePartial: "angle_none" }
    : { anglePartial: "angle_rope", nearTokens: NEAR_TOKENS };
}

/** The way to read channels of records that are read by eights. */
export function octetChunks(numbers: number, load: Context): Context {
  return {
    ...readerSizes(numbers),
    ...load,
    chunksPartial: "chunks_octets",
    octets: Array.from({ length: numbers / 8 }, (_, index) => ({ index })),
  };
}

/** How one code is read. */
export function codePartial({ codeBits }: Scheme): string {
  return 32 % codeBits === 0 ? "code_aligned" : "code_straddling";
}

/**
 * Consecutive codes of `numbers` channels: the partial that reads them, and where each lies.
 */
export function codesContext(scheme: Scheme, numbers: number): Context {
  const { channels, codebookSpec } = scheme;
  return rowOfCodes(scheme, Math.max(1, numbers / channels) * (codebookSpec?.stages ?? 1));
}

/** The same of as many codes; a token's codes are a multiple of them. */
export function rowOfCodes(scheme: Scheme, codes: number): Context {
  const { codeBits } = scheme;
  const bits = codes * codeBits;
  const aligned = 32 % codeBits === 0;
  const words = aligned && bits >= 32;
  return {
    ...(aligned ? {} : { codePartial: codePartial(scheme) }),
    codesPartial: words ? "codes_words" : aligned ? "codes_word" : "codes_apart",
    laneCodes: Array.from({ length: codes }, (_, index) => ({
      index,
      ...(words
        ? { word: Math.floor((index * codeBits) / 32), shift: (index * codeBits) % 32 }
        : {}),
    })),
    ...(words ? { laneWords: Array.from({ length: bits / 32 }, (_, index) => ({ index })) } : {}),
  };
}

/**
 * Codes of one word that are shifted by themselves: fewer instructions than one shift of the word before, where all lanes have
 * the same one or none.
 */
export function shiftedEach(codes: Context): Context {
  return codes.codesPartial === "codes_word"
    ? { ...codes, codesPartial: "codes_word_each" }
    : codes;
}

/** Constants of records that hold codes of centroids. */
export function codedSizes(
  { channels, codeBits, centroids, layout }: Scheme,
  headDim: number,
): Context {
  const { codes, tokens, words } = layout(headDim);
  const bits = codes * codeBits;
  const apart = tokens === 1 ? words : bits % 32 === 0 ? bits / 32 : undefined;
  return {
    channels,
    codeBits,
    mask: 2 ** codeBits - 1,
    centroids,
    codes,
    // Of records of one token, the next record's lie as far apart as if all were one record.
    runTokens: tokens === 1 ? PAGE_TOKENS : tokens,
    tokenWords: apart ?? 0,
    tokenCodes: apart === undefined ? codes : 0,
  };
}

/**
 * The constants of a kernel that searches for codes: sizes, and the number of lanes for each code
 * that leaves none idle.
 */
export function searchSizes(
  { channels, codeBits, centroids, layout }: Scheme,
  headDim: number,
): Context {
  const { codes } = layout(headDim);
  const lanes = Math.min(
    centroids,
    2 ** Math.floor(Math.log2(Math.max(1, WORKGROUP_SIZE / codes))),
  );
  return { channels, codeBits, centroids, codes, lanes };
}

/** The kernel that decodes without a Hadamard rotation. */
export function decodeRow(
  scheme: Scheme,
  headDim: number,
  reason: string,
  codebooks: readonly BindingName[],
  record: Context,
  codebookPartial = "codebook_none",
  gridPartial = "no_grid",
  variant?: "anchored",
): KernelRow {
  return codecKernel(
    "decode",
    scheme,
    headDim,
    "decode",
    reason,
    [
      "step",
      "layer",
      "coded_records",
      ...codebooks,
      "pages",
      ...(variant === undefined ? [] : ["rope" as const]),
      "vectors",
    ],
    {
      ...codecSizes(headDim),
      codebookPartial,
      record: { ...record, gridPartial },
      decodedPartial: variant === undefined ? "decoded_as_coded" : "decoded_anchored",
    },
    variant,
  );
}
