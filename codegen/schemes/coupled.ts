/**
 * Kernels of coupled quantisation: codes of learned centroids, which are stored as levels on grids.
 */
import {
  BASE_WORKGROUP_BYTES,
  BLOCK_ROWS,
  ENCODE_TOKENS,
  MAX_SPAN,
  MIN_SPAN,
  STEP_ENTRIES,
  TABLE_LANE_ENTRIES,
  WORKGROUP_SIZE,
} from "../../src/kernels/constants.ts";
import type { KeyVariant } from "../../src/kernels/name.ts";
import { headCodebookWords } from "../../src/codebooks/device.ts";
import type { Scheme } from "../../src/schemes/scheme.ts";
import { anchoredGroup, anchoredLoad, anchoredScore } from "../kernels/anchored.ts";
import { KEY_CHANNELS, plainMix, plainScore, tableScore } from "../kernels/attention.ts";
import { anchoredIntegerScore, INTEGER_KEY_CHANNELS, integerScore } from "../kernels/integers.ts";
import { codecKernel, type Context, kernel } from "../kernels/kernel_row.ts";
import {
  chunksOf,
  codedSizes,
  codePartial,
  codesContext,
  decodeRow,
  encoderSizes,
  readerSizes,
  recordSizes,
  searchSizes,
  shiftedEach,
} from "./common.ts";
import { encoderBindings, type SchemeKernels } from "./scheme_kernels.ts";

/** Most entries of a lookup table of q.centroid: half of the base workgroup memory. */
const LUT_ENTRIES = BASE_WORKGROUP_BYTES / 2 / (4 * BLOCK_ROWS);

/**
 * Most channels of a key whose codes are looked up together. Every head dimension is a multiple of
 * it.
 */
const LOOKED_UP_CHANNELS = 16;

/**
 * Codes of a key that are looked up together in a table of q.centroid in a buffer. Compilers do not
 * unroll a loop over more.
 */
const TABLE_CODES = 2;

/** Levels that a kernel loads at once: four words. */
const ROW_LEVELS = 16;

/** How consecutive channels are read by their centroids, as vectors or as words of levels. */
function gathered(scheme: Scheme, numbers: number, as: "chunks" | "words" = "chunks"): Context {
  const { channels } = scheme;
  const sizes = { ...readerSizes(numbers), ...codesContext(scheme, numbers) };
  if (channels === 1) return { ...sizes, chunksPartial: "chunks_c1" };
  const codes = { ...sizes, centroidsIn: "codebook" };
  if (channels === 2) {
    return {
      ...codes,
      chunksPartial: "chunks_c2",
      chunks: chunksOf(numbers, (index) => ({ code: 2 * index, next: 2 * index + 1 })),
    };
  }
  const columns = as === "chunks" ? { columns: chunksOf(numbers, (index) => ({ index })) } : {};
  if (channels === 4) return { ...codes, ...columns, chunksPartial: `${as}_c4` };
  return {
    ...codes,
    ...columns,
    chunksPartial: `${as}_wide`,
    pairs: Array.from({ length: numbers / 8 }, (_, index) => ({
      index,
      code: Math.floor((index * 8) / channels),
      pair: ((index * 8) % channels) / 8,
    })),
  };
}

/**
 * How codes are searched by rows of a codebook: each row's centroids are loaded at once, and
 * compared with up to `rowTokens` tokens.
 */
function searchedRows({ channels }: Scheme): Context {
  const rowCentroids = ROW_LEVELS / channels;
  // A driver may not unroll a loop over 16 channels. It unrolls one over fewer, and that is as
  // fast.
  const rowTokens = channels === 16 ? ENCODE_TOKENS : 1;
  const component = (index: number) => "xyzw"[index & 3]!;
  return {
    rowCentroids,
    rowTokens,
    searched: Array.from({ length: rowCentroids }, (_, index) => {
      const code = `code_of_${index}`;
      const centroid = (channel: number) => `c_${index}_${channel}`;
      const words = Array.from({ length: channels / 4 }, (_, word) => ({
        levels: `levels_${index}_${word}`,
        word: component((index * channels) / 4 + word),
      }));
      const indices = Array.from({ length: channels }, (_, channel) => channel);
      return {
        index,
        code,
        words,
        channels: indices.map((channel) => ({
          channel,
          centroid: centroid(channel),
          level: `levels_${index}_${channel >> 2}.${component(channel)}`,
        })),
        batch: Array.from({ length: rowTokens }, (_, token) => ({
          token,
          code,
          distance: `distance_${index}_${token}`,
          channels: indices.map((channel) => ({
            place: token * channels + channel,
            centroid: centroid(channel),
            distance: `distance_${index}_${token}`,
            difference: `difference_${index}_${token}_${channel}`,
          })),
        })),
      };
    }),
  };
}

/** The ways to read keys that gather their centroids. */
const GATHERED: readonly KeyVariant[] = ["rope", "anchored", "mrope", "plain"];

/** The kernels of one coupled scheme at one head dimension. */
export function coupledKernels(scheme: Scheme, headDim: number): SchemeKernels {
  const { id, channels, centroids, layout } = scheme;
  const { codes } = layout(headDim);
  const codebookWords = headCodebookWords(scheme, headDim);
  const record = (side: string): Context => ({
    ...recordSizes(side, scheme, headDim),
    constantsPartial: "coded_constants",
    ...codedSizes(scheme, headDim),
  });
  const wide = channels >= 4;
  // A group's centroids must be whole rows.
  const rows = wide && channels * centroids >= ROW_LEVELS;
  // With a table of q.centroid in workgroup memory, fewer pages fit.
  const keySpan = (variant: KeyVariant) => variant === "lut" ? MIN_SPAN : MAX_SPAN;
  const groupPartial = wide ? "group_wide" : `group_c${channels}`;
  const loadPartial = channels <= 2 ? `load_c${channels}` : "load_wide";
  const decoded = { ...record("coded"), codePartial: codePartial(scheme), loadPartial };
  const codecs = (reason: string, variant: "anchored" | undefined) => [
    codecKernel(
      "encode",
      scheme,
      headDim,
      "encode_coupled",
      reason,
      [
        ...(wide ? encoderBindings("codebooks", "codebook_quads") : encoderBindings("codebooks")),
        ...(variant === undefined ? [] : ["rope" as const]),
      ],
      {
        ...encoderSizes(scheme, headDim),
        ...searchSizes(scheme, headDim),
        codebookWords,
        tokens: ENCODE_TOKENS,
        ...(variant === undefined
          ? { headerPartial: "header_no_angle", groupPartial, loadedPartial: "loaded_plain" }
          : anchoredGroup(groupPartial, channels)),
        rowsPartial: rows ? "search_rows" : "search_no_rows",
        rowConstantsPartial: rows ? "row_constants" : "row_constants_none",
        ...(rows ? searchedRows(scheme) : {}),
      },
      variant,
    ),
    decodeRow(
      scheme,
      headDim,
      reason,
      ["codebooks"],
      variant === undefined ? decoded : anchoredLoad(decoded),
      "codebook_words",
      "centroid_grid",
      variant,
    ),
  ];
  return {
    codecs: (reason) => [...codecs(reason, undefined), ...codecs(reason, "anchored")],
    keyVariants: [
      "rope",
      "anchored",
      "mrope",
      "plain",
      codes * centroids <= LUT_ENTRIES ? "lut" : "table",
    ],
    keySpan,
    keys(numbers, variant) {
      if (GATHERED.includes(variant)) {
        return { ...record("key"), ...gathered(scheme, numbers) };
      }
      // Tables of q.centroid need only the codes, not the centroids behind them.
      const together = variant === "lut"
        ? LOOKED_UP_CHANNELS
        : Math.min(LOOKED_UP_CHANNELS, TABLE_CODES * channels);
      return {
        ...record("key"),
        ...shiftedEach(codesContext(scheme, together)),
        chunksPartial: "chunks_none",
      };
    },
    values: (numbers) => ({ ...record("value"), ...gathered(scheme, numbers) }),
    records: "records",
    codebook: channels >= 8 ? "pairs" : "words",
    score: (variant) =>
      variant === "anchored"
        ? anchoredScore(keySpan(variant), "coded_keys_levels")
        : GATHERED.includes(variant)
        ? plainScore(variant, keySpan(variant), "coded_keys_levels")
        : tableScore(variant),
    mix: plainMix("mix_grid"),
    ...(channels === 1 ? {} : { staged: { words: headDim * centroids / 4 } }),
    ...(channels < 4 ? {} : {
      integers: {
        values: (numbers) => ({
          ...record("value"),
          ...shiftedEach(gathered(scheme, numbers, "words")),
        }),
        mix: (variant) => ({
          finishPartial: "finish_grid",
          mixTilePartial: "pack_weights_plain",
          quadsPartial: variant === "anchored" ? "quads_consecutive" : "quads_apart",
        }),
        score(variant, digits) {
          if (variant === "anchored") {
            return {
              key: { ...record("key"), ...shiftedEach(gathered(scheme, KEY_CHANNELS)) },
              ...anchoredIntegerScore(digits, keySpan(variant), headDim),
            };
          }
          return variant !== "plain" ? undefined : {
            key: {
              ...record("key"),
              ...shiftedEach(gathered(scheme, INTEGER_KEY_CHANNELS, "words")),
            },
            ...integerScore(digits, keySpan(variant)),
            scorePartial: "score_integers",
            keyStepsPartial: "key_steps_grid",
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
          codebookWords,
          laneEntries: TABLE_LANE_ENTRIES,
          wordLevels: Math.min(4, channels),
          staged: Math.max(1, WORKGROUP_SIZE * TABLE_LANE_ENTRIES / centroids) * channels,
          codeChannels: "HEAD_DIM",
          codeChannel: "channel",
          firstCentroid: "codebook + HEAD_DIM",
          stagesPartial: "stages_none",
          codeChannelPartial: "code_channel_none",
          codeGridPartial: "code_grid",
          firstCentroidPartial: "first_centroid_none",
          entryPartial: variant === undefined ? "entry_f32" : "entry_f16",
        },
      ),
  };
}
