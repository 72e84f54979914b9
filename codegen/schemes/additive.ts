/**
 * Kernels of normalised, additive codes: sums of learned centroids, which are stored as levels,
 * with a size for each token and a mean for each page.
 */
import { raise } from "../../src/base/raise.ts";
import {
  BASE_WORKGROUP_BYTES,
  BLOCK_ROWS,
  MAX_SPAN,
  MIN_SPAN,
  STEP_ENTRIES,
  TABLE_LANE_ENTRIES,
  WORKGROUP_SIZE,
} from "../../src/kernels/constants.ts";
import type { KeyVariant } from "../../src/kernels/name.ts";
import { gridWords } from "../../src/schemes/normalisation.ts";
import { headCodebookWords } from "../../src/codebooks/device.ts";
import type { Scheme } from "../../src/schemes/scheme.ts";
import { anchoredScore } from "../kernels/anchored.ts";
import { AT_TILE, EXACT_KEYS, KEY_CHANNELS, pages, QUERIES } from "../kernels/attention.ts";
import { anchoredIntegerScore, INTEGER_KEY_CHANNELS, integerScore } from "../kernels/integers.ts";
import { type Context, kernel } from "../kernels/kernel_row.ts";
import { additiveCodecs } from "./additive_codecs.ts";
import { additiveRecord, stagesOf } from "./additive_records.ts";
import { chunksOf, codesContext, readerSizes, rowOfCodes, shiftedEach } from "./common.ts";
import type { SchemeKernels } from "./scheme_kernels.ts";

/** Most entries of a lookup table of q.centroid: a fourth of the base workgroup memory. */
const LUT_ENTRIES = BASE_WORKGROUP_BYTES / 4 / (4 * BLOCK_ROWS);

/** What pages' means are mixed with has workgroup memory of its own, and steps are loaded once. */
const SHARES: Context = {
  shares: "page_shares",
  sharesPartial: "shares",
  blockSharesPartial: "fill_shares",
  tileSharesPartial: "fill_shares_none",
};

/** It has memory that scoring uses, too, and steps are loaded for each tile. */
const SHARES_WITHIN: Context = {
  shares: "weights",
  sharesPartial: "shares_within",
  blockSharesPartial: "fill_shares_none",
  tileSharesPartial: "fill_shares",
};

/** Channels of a key that are read at once: those of a load of four words, where there are as many. */
const WIDE_CHANNELS = 16;

/** Most codes of a key that are looked up together. Compilers do not unroll a loop over more. */
const LOOKED_UP_CODES = 2;

/** How the codes of consecutive channels are read. */
function addedCodes(scheme: Scheme, numbers: number): Context {
  const { laneCodes, ...codes } = codesContext(scheme, numbers);
  return {
    ...codes,
    // Codes that fill words are found by them.
    laneCodes: "laneWords" in codes
      ? (laneCodes as Context[]).map(({ index: _, ...place }) => place)
      : laneCodes!,
  };
}

/** The codes of a lane's group, one for each stage, and where their centroids begin. */
function groupCodes(scheme: Scheme, group: number): Context[] {
  const stages = stagesOf(scheme);
  return Array.from({ length: stages }, (_, stage) => ({
    code: group * stages + stage,
    first: (group * stages + stage) * scheme.centroids,
    joint: stage + 1 < stages ? " + " : "",
  }));
}

/** How the levels of consecutive channels are read, and added, as vectors or as words. */
function added(scheme: Scheme, numbers: number, as: "levels" | "words" = "levels"): Context {
  const { channels } = scheme;
  const codes = {
    ...readerSizes(numbers),
    ...addedCodes(scheme, numbers),
    chunksPartial: "chunks_added",
  };
  if (channels === 2) {
    return {
      ...codes,
      levelsPartial: "added_levels_c2",
      columns: chunksOf(numbers, (index) => ({
        halves: [2 * index, 2 * index + 1].map((group) => ({ stages: groupCodes(scheme, group) })),
      })),
    };
  }
  /** Channels of one load. */
  const width = Math.min(channels, numbers, WIDE_CHANNELS);
  return {
    ...codes,
    levelsPartial: as === "levels" ? "added_levels" : "words_added",
    quads: channels / 4,
    loads: Array.from({ length: numbers / width }, (_, index) => ({
      index,
      width: ({ 4: "word", 8: "pair", 16: "quad" } as const)[width]!,
      // Pairs and quads are counted by themselves, from the first word.
      place: width === 4 ? " + " : ", ",
      factor: channels / width,
      stages: groupCodes(scheme, index),
    })),
    ...(as === "levels" ? { columns: chunksOf(numbers, (index) => ({ index })) } : {}),
    words: chunksOf(numbers, (index) => ({
      levels: `levels_${Math.floor((4 * index) / width)}${
        width === 4 ? "" : `.${"xyzw"[index % (width / 4)]!}`
      }`,
    })),
  };
}

/** The kernels of one scheme at one head dimension. */
export function additiveKernels(scheme: Scheme, headDim: number): SchemeKernels {
  const { id, channels, centroids, codebookSpec, layout } = scheme;
  if (!codebookSpec!.normalised) {
    raise(
      "scheme",
      `Cannot generate kernels for ${id}`,
      "centroids are added without a mean and a size, which only the reference does",
      "Use the scheme with an n in place of the c, or the reference",
    );
  }
  const { codes } = layout(headDim);
  const stages = stagesOf(scheme);
  const entries = codes * centroids;
  // With what large heads share, or a table of q.centroid in workgroup memory, fewer pages fit.
  const keySpan = (variant: KeyVariant) => variant === "lut" || headDim > 128 ? MIN_SPAN : MAX_SPAN;
  /** Channels of a key that are read at once. */
  const keyNumbers = (variant: KeyVariant, numbers: number) =>
    variant === "plain" ? Math.max(numbers, Math.min(channels, WIDE_CHANNELS)) : numbers;

  function keys(numbers: number, variant: KeyVariant): Context {
    const record = { ...additiveRecord("key", scheme, headDim), meansPartial: "mean_grids" };
    if (variant === "rope" || variant === "anchored" || variant === "plain") {
      const together = keyNumbers(variant, numbers);
      return {
        ...record,
        ...added(scheme, together),
        ...(variant === "plain" ? { chunks: chunksOf(together, (index) => ({ index })) } : {}),
      };
    }
    const together = codes % LOOKED_UP_CODES === 0 ? LOOKED_UP_CODES : 1;
    return {
      ...record,
      ...shiftedEach(rowOfCodes(scheme, together)),
      chunksPartial: "chunks_looked_up",
    };
  }

  function score(variant: Exclude<KeyVariant, "mrope">): Context {
    if (variant === "anchored") {
      return {
        ...anchoredScore(keySpan(variant), "coded_keys_added"),
        scorePartial: "score_added_anchored",
      };
    }
    const rows = { atQuery: QUERIES, exactly: EXACT_KEYS };
    const coded = { pages: pages("SPAN", keySpan(variant)).pages! };
    if (variant === "rope") {
      return {
        ...rows,
        headerPartial: "header_rope",
        scorePartial: "score_added_rope",
        coded,
        preparePartial: "prepare_rope",
        atTile: AT_TILE,
      };
    }
    const way = {
      plain: ["stepped_rows", "base_lows", "added_dot", "page_mean_loaded"],
      lut: ["lut_entries", "base_lut", "lut_added", "page_mean_loaded"],
      table: ["table_values", "base_means", "table_added", "page_mean_stepped"],
      table16: ["table_values", "base_means", "table16_added", "page_mean_stepped"],
    } as const;
    const [valuesPartial, basePartial, codedSumsPartial, pageMeanPartial] = way[variant];
    return {
      ...rows,
      headerPartial: `header_${variant}`,
      scorePartial: "score_added",
      valuesPartial,
      basePartial,
      codedSumsPartial,
      pageMeanPartial,
      ...(variant === "plain" ? { coded } : {}),
    };
  }

  return {
    codecs: (reason) => [
      ...additiveCodecs(scheme, headDim, reason),
      ...additiveCodecs(scheme, headDim, reason, "anchored"),
    ],
    keyVariants: ["rope", "anchored", "plain", entries <= LUT_ENTRIES ? "lut" : "table"],
    keySpan,
    keys,
    values: (numbers) => ({
      ...additiveRecord("value", scheme, headDim),
      meansPartial: "means_mixed",
      ...added(scheme, numbers),
    }),
    records: "records",
    codebook: channels >= 16 ? "quads" : channels === 8 ? "pairs" : "words",
    normalised: true,
    score,
    mix: {
      mixPartial: "mix_added",
      ...SHARES,
      mixPagePartial: "mix_page_none",
      unitPartial: "unit_sized",
      softenedPartial: "softened_added",
      prepareValuesPartial: "prepare_values",
      mixTilePartial: "mix_tile_added",
    },
    ...(channels === 2 ? {} : {
      integers: {
        values: (numbers) => ({
          ...additiveRecord("value", scheme, headDim),
          meansPartial: "means_mixed",
          ...added(scheme, numbers, "words"),
        }),
        mix: (variant) => ({
          unitPartial: "unit_sized",
          flushPartial: "flush_scaled",
          sumUnitsPartial: "sum_units_none",
          softenedPartial: "softened_added",
          prepareValuesPartial: "prepare_values",
          finishPartial: "finish_added",
          // With digits of anchored queries, workgroup memory is full.
          ...(variant === "anchored" ? SHARES_WITHIN : SHARES),
          mixTilePartial: "mix_tile_added_integers",
          quadsPartial: variant === "anchored" ? "quads_consecutive_added" : "quads_paged",
        }),
        score(variant, digits) {
          if (variant === "anchored") {
            return {
              key: keys(KEY_CHANNELS, variant),
              ...anchoredIntegerScore(
                digits,
                keySpan(variant),
                headDim,
                " + KEY_METADATA_WORDS",
              ),
              codedKeysPartial: "coded_keys_added",
              scorePartial: "score_added_anchored_integers",
              laneMeansPartial: "lane_means",
              prepareSizesPartial: "prepare_sizes",
            };
          }
          return variant !== "plain" ? undefined : {
            key: {
              ...additiveRecord("key", scheme, headDim),
              meansPartial: "mean_grids",
              ...added(scheme, INTEGER_KEY_CHANNELS, "words"),
            },
            ...integerScore(digits, keySpan(variant)),
            scorePartial: "score_added",
            valuesPartial: "digits",
            basePartial: "base_digits",
            codedSumsPartial: "digits_added",
            pageMeanPartial: "page_mean_loaded",
            keyStepsPartial: "key_steps_added",
          };
        },
      },
    }),
    table: (reason, variant) =>
      kernel(
        {
          family: "table",
          schemes: [id],
          size: headDim,
          ...(variant === undefined ? {} : { variant }),
        },
        "table",
        reason,
        ["step", "layer", "queries", "codebooks", `${variant ?? "table"}_written`],
        {
          headDim,
          rows: BLOCK_ROWS,
          workgroupSize: WORKGROUP_SIZE,
          stepEntries: STEP_ENTRIES,
          channels,
          centroids,
          codes,
          codebookWords: headCodebookWords(scheme, headDim),
          stagesPartial: "stages_added",
          stages,
          gridWords: gridWords(stages),
          laneEntries: TABLE_LANE_ENTRIES,
          wordLevels: Math.min(4, channels),
          staged: Math.max(1, (WORKGROUP_SIZE * TABLE_LANE_ENTRIES) / centroids) * channels,
          codeChannels: "CODES * CHANNELS",
          codeChannel: "code_channel",
          codeChannelPartial: "code_channel_added",
          codeGridPartial: "code_grid_added",
          firstCentroid: "centroids",
          firstCentroidPartial: "first_centroid_added",
          entryPartial: variant === undefined ? "entry_f32" : "entry_f16_low",
        },
      ),
  };
}
