/** Kernels that encode and decode normalised, additive codes. */
import { beamWidth, gridWords, NORM_BITS, NORM_LEVELS } from "../../src/schemes/additive.ts";
import { headCodebookWords } from "../../src/codebooks/device.ts";
import type { Scheme } from "../../src/schemes/scheme.ts";
import { codecKernel, type Context, type KernelRow } from "../kernels/kernel_row.ts";
import { additiveRecord, loadedChunk, stagesOf } from "./additive_records.ts";
import { decodeRow, encoderSizes } from "./common.ts";
import { encoderBindings } from "./scheme_kernels.ts";

/** Centroids whose scores are compared with the best at once: a vector. */
const FOUR = 4;

/** Bytes of a quad of words. */
const QUAD = 16;

/** Numbers of a lane's candidates that are in registers. */
const CANDIDATE_NUMBERS = 128;

/** Between parts of a sum. */
function joint(index: number, count: number): string {
  return index + 1 < count ? " + " : "";
}

function list<Item>(count: number, of: (index: number) => Item): Item[] {
  return Array.from({ length: count }, (_, index) => of(index));
}

/** How a group is read, as parts of two channels or of four. */
function partsOf(channels: number) {
  const width = Math.min(channels, 4);
  return { width, parts: channels / width };
}

/**
 * A row of centroids that quads of words hold, compared with the lane's target after `ranks` other
 * sums.
 */
function searchedRow({ channels }: Scheme, ranks: number): Context {
  const { width, parts } = partsOf(channels);
  const centroids = Math.max(FOUR, QUAD / channels);
  const levels = (centroid: number, part: number) => {
    const byte = centroid * channels + part * width;
    const word = `levels_${Math.floor(byte / 4)}`;
    return width === 4 ? word : `${word}.${byte % 4 === 0 ? "xy" : "zw"}`;
  };
  return {
    quads: list((centroids * channels) / QUAD, (index) => ({ index })),
    words: list((centroids * channels) / 4, (index) => ({
      index,
      quad: Math.floor(index / 4),
      word: "xyzw"[index % 4]!,
    })),
    centroids: list(centroids, (index) => ({
      index,
      parts: list(parts, (part) => ({
        part,
        levels: levels(index, part),
        joint: joint(part, parts),
      })),
    })),
    offers: list(ranks * (centroids / FOUR), (offer) => {
      const rank = Math.floor(offer / (centroids / FOUR));
      const first = offer % (centroids / FOUR) * FOUR;
      return {
        rank,
        first,
        scores: list(FOUR, (i) => ({
          centroid: first + i,
          comma: i + 1 < FOUR ? "," : "",
          parts: list(parts, (part) => ({
            rank,
            part,
            levels: levels(first + i, part),
            joint: joint(part, parts),
          })),
        })),
      };
    }),
  };
}

/** The search for the codes of a group. */
function searchContext(scheme: Scheme): Context {
  const { channels, centroids } = scheme;
  const stages = stagesOf(scheme);
  const beam = beamWidth(scheme);
  const { width, parts } = partsOf(channels);
  const ranks = Math.min(beam, CANDIDATE_NUMBERS / channels);
  return {
    stages,
    beam,
    last: beam - 1,
    centroids,
    partWidth: width,
    partPartial: `encoded_part_c${width}`,
    group: list(parts, (part) => ({ part })),
    kept: list(beam, (index) => ({ index })),
    rowCentroids: Math.max(FOUR, QUAD / channels),
    first: searchedRow(scheme, 1),
    laterPartial: stages === 1 ? "extend_none" : "extend_beam",
    ...(stages === 1 ? {} : {
      later: {
        ranks,
        candidates: list(ranks, (rank) => ({
          rank,
          parts: list(parts, (part) => ({ rank, part, joint: joint(part, parts) })),
        })),
        row: searchedRow(scheme, ranks),
      },
    }),
  };
}

/** The kernels that encode and decode one scheme at one head dimension. */
export function additiveCodecs(scheme: Scheme, headDim: number, reason: string): KernelRow[] {
  const { channels, codeBits, layout } = scheme;
  const { codes, metadataWords } = layout(headDim);
  return [
    codecKernel(
      "encode",
      scheme,
      headDim,
      "encode_additive",
      reason,
      encoderBindings("codebook_quads"),
      {
        ...encoderSizes(scheme, headDim),
        ...searchContext(scheme),
        channels,
        codeBits,
        codes,
        metadataWords,
        codebookWords: headCodebookWords(scheme, headDim),
        gridWords: gridWords(stagesOf(scheme)),
        normBits: NORM_BITS,
        normLevels: NORM_LEVELS,
      },
    ),
    decodeRow(
      scheme,
      headDim,
      reason,
      ["codebook_quads"],
      { ...additiveRecord("coded", scheme, headDim), ...loadedChunk(scheme) },
      "codebook_quads",
      "additive_grids",
    ),
  ];
}
