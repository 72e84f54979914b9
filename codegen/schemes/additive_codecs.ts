/** Kernels that encode and decode normalised, additive codes. */
import { headCodebookWords } from "../../src/codebooks/device.ts";
import { beamWidth } from "../../src/schemes/additive.ts";
import { NEAR_TOKENS } from "../../src/kernels/constants.ts";
import { gridWords, NORM_BITS, NORM_LEVELS } from "../../src/schemes/normalisation.ts";
import type { Scheme } from "../../src/schemes/scheme.ts";
import { anchoredLoad } from "../kernels/anchored.ts";
import { codecKernel, type Context, type KernelRow } from "../kernels/kernel_row.ts";
import { additiveRecord, loadedChunk, stagesOf } from "./additive_records.ts";
import { decodeRow, encoderSizes } from "./common.ts";
import { encoderBindings } from "./scheme_kernels.ts";

/** Scores that are compared with the best at once: a vector. */
const FOUR = 4;

/** Bytes of a quad of words. */
const QUAD = 16;

/** Numbers of sums that a lane extends at once: more registers than that are few GPUs'. */
const RANK_NUMBERS = 128;

const COMPONENTS = ["x", "y", "z", "w"] as const;

function list<Item>(count: number, of: (index: number) => Item): Item[] {
  return Array.from({ length: count }, (_, index) => of(index));
}

/** What follows an item of a list, but not the last. */
function between(text: string, index: number, count: number): string {
  return index + 1 < count ? text : "";
}

/** Channels that are computed at once, and how many times that a group has. */
function partsOf({ channels }: Scheme): { readonly width: number; readonly parts: number } {
  const width = Math.min(channels, 4);
  return { width, parts: channels / width };
}

/** A group's parts, as the words of a centroid or of a sum have them, in pieces of four words. */
function partList(scheme: Scheme): { readonly [name: string]: string | number }[] {
  const { parts } = partsOf(scheme);
  return list(parts, (part) => ({
    piece: Math.floor(part / 4),
    word: scheme.channels > 4 ? `.${COMPONENTS[part % 4]}` : "",
    comma: between(", ", part, parts),
  }));
}

/** Centroids that are compared at once, in whole quads of words. */
function rowCentroids({ channels }: Scheme): number {
  return Math.max(FOUR, QUAD / channels);
}

/** A row of centroids, as extensions of `ranks` sums. */
function searchedRow(scheme: Scheme, ranks: number): Context {
  const { channels } = scheme;
  const { width, parts } = partsOf(scheme);
  const centroids = rowCentroids(scheme);
  const fours = (ranks * centroids) / FOUR;
  return {
    quads: list((centroids * channels) / QUAD, (index) => ({ index })),
    centroids: list(centroids, (index) => ({
      index,
      parts: list(parts, (part) => {
        const byte = index * channels + part * width;
        return {
          word: `words_${Math.floor(byte / QUAD)}.${COMPONENTS[Math.floor(byte / 4) % 4]}`,
          half: width === 4 ? "" : byte % 4 === 0 ? ".xy" : ".zw",
          comma: between(", ", part, parts),
        };
      }),
      ranks: list(ranks, (rank) => ({ rank, index })),
    })),
    fours: list(fours, (four) => {
      const rank = Math.floor((four * FOUR) / centroids);
      return {
        four,
        rank,
        scores: list(FOUR, (i) => ({
          centroid: (four * FOUR + i) % centroids,
          rank,
          comma: between(", ", i, FOUR),
        })),
      };
    }),
    lastFour: fours - 1,
    otherFours: list(fours - 1, (four) => ({ four: fours - 2 - four })),
  };
}

/** How sums are extended after the first stage. */
function extended(scheme: Scheme, pieces: number): Context {
  const ranks = Math.min(beamWidth(scheme), RANK_NUMBERS / scheme.channels);
  return {
    ranks,
    candidates: list(ranks, (rank) => ({
      rank,
      pieces: list(pieces, (piece) => ({ rank, piece })),
      parts: partList(scheme).map((part) => ({ ...part, rank })),
    })),
    row: searchedRow(scheme, ranks),
  };
}

/** The search for the codes of a group. */
function searchContext(scheme: Scheme): Context {
  const { channels, centroids } = scheme;
  const stages = stagesOf(scheme);
  const beam = beamWidth(scheme);
  const { width, parts } = partsOf(scheme);
  const pieces = Math.ceil(channels / QUAD);
  return {
    channels,
    centroids,
    stages,
    beam,
    last: beam - 1,
    kept: list(beam, (index) => ({ index })),
    partWidth: width,
    partPartial: `encoded_part_c${width}`,
    wordsPartial: `centroid_words_${channels < QUAD ? `c${channels}` : "wide"}`,
    parts: partList(scheme).map((part, i) => ({
      ...part,
      part: i,
      joint: between(" + ", i, parts),
    })),
    pieces: list(pieces, (piece) => ({ piece })),
    rowCentroids: rowCentroids(scheme),
    first: searchedRow(scheme, 1),
    ...(stages === 1
      ? { laterPartial: "extend_none" }
      : { laterPartial: "extend_beam", later: extended(scheme, pieces) }),
  };
}

/** How the encoder reads exact vectors, as they are or turned. */
function tokenContext(scheme: Scheme, variant: "anchored" | undefined): Context {
  const { width } = partsOf(scheme);
  return variant === undefined
    ? {
      headerPartial: "header_no_angle",
      tokenPartial: "token_plain",
      tokenPartPartial: `token_part_c${width}`,
      sumsPartial: "sums_exact",
    }
    : {
      nearTokens: NEAR_TOKENS,
      headerPartial: "header_turned",
      tokenPartial: "token_turned",
      turnedPart: width === 2 ? "select(turned.xy, turned.zw, part % 2u == 1u)" : "turned",
      sumsPartial: "sums_turned",
    };
}

/** The kernels that encode and decode one scheme at one head dimension. */
export function additiveCodecs(
  scheme: Scheme,
  headDim: number,
  reason: string,
  variant?: "anchored",
): KernelRow[] {
  const { codes, metadataWords } = scheme.layout(headDim);
  const bindings = [
    ...encoderBindings("codebook_quads"),
    ...(variant === undefined ? [] : ["rope" as const]),
  ];
  const decoded = { ...additiveRecord("coded", scheme, headDim), ...loadedChunk(scheme) };
  return [
    codecKernel("encode", scheme, headDim, "encode_additive", reason, bindings, {
      ...encoderSizes(scheme, headDim),
      ...searchContext(scheme),
      ...tokenContext(scheme, variant),
      codeBits: scheme.codeBits,
      codes,
      metadataWords,
      codebookWords: headCodebookWords(scheme, headDim),
      gridWords: gridWords(stagesOf(scheme)),
      normBits: NORM_BITS,
      normLevels: NORM_LEVELS,
    }, variant),
    decodeRow(
      scheme,
      headDim,
      reason,
      ["codebook_quads"],
      variant === undefined ? decoded : anchoredLoad(decoded),
      "normalised_quads",
      "additive_grids",
      variant,
    ),
  ];
}
