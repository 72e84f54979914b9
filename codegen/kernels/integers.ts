/**
 * Attention in integers: weights and levels of values, levels of keys and queries are bytes, and
 * four products are one instruction (`dot4U8Packed`, `dot4I8Packed`).
 */
import { BLOCK_ROWS } from "../../src/kernels/constants.ts";
import type { KernelFeature, KeyVariant } from "../../src/kernels/name.ts";
import { anchoredScore, consecutivePlace } from "./anchored.ts";
import { AT_TILE, EXACT_KEYS, pages, QUERIES, VALUE_CHANNELS } from "./attention.ts";
import type { Context, TemplateValue } from "./kernel_row.ts";

/** Channels of a key that a lane scores at once in integers. */
export const INTEGER_KEY_CHANNELS = 16;

/** Chunks of such a key. */
const KEY_CHUNKS = Array.from({ length: INTEGER_KEY_CHANNELS / 4 }, (_, chunk) => chunk);

/** How a family's levels are read and used as integers. */
export interface IntegerKernels {
  /** How the levels of `numbers` consecutive channels of values are read, as words. */
  values(numbers: number): Context;
  /** The partials that mix values, and finish them, where keys are read in a way. */
  mix(variant: KeyVariant): Context;
  /** How coded keys are read and scored, or undefined where they are as without integers. */
  score(variant: KeyVariant, digits: number): Context | undefined;
}

/** Bytes of weights and of queries. */
const DIGITS: Readonly<Partial<Record<KernelFeature, number>>> = { int16: 2, int8: 1 };

/** The bytes of a kernel's integers, or undefined where it computes with none. */
export function digitsOf(feature: KernelFeature | undefined): number | undefined {
  return feature && DIGITS[feature];
}

interface Digit {
  readonly [name: string]: number;
  readonly digit: number;
  readonly shift: number;
}

function digitsFrom(count: number): Digit[] {
  return Array.from({ length: count }, (_, digit) => ({ digit, shift: 8 * (count - 1 - digit) }));
}

/** Terms of a sum over digits. */
function terms(count: number, name: (digit: number) => string): Context[] {
  return digitsFrom(count).map(({ digit, shift }) => ({
    digit,
    shift,
    name: name(digit),
    joint: digit + 1 < count ? " + " : "",
  }));
}

/** How weights are packed, and what sums they are mixed into. */
export function integerMix(digits: number): Context {
  const component = (index: number) => "xyzw"[index]!;
  const chunks = Array.from({ length: VALUE_CHANNELS / 4 }, (_, chunk) => chunk);
  const rows = Array.from({ length: BLOCK_ROWS }, (_, row) => row);
  const name = (chunk: number, row: number, digit: number) => `sum_${chunk}_${row}_${digit}`;
  return {
    mixPartial: "mix_integers",
    weightsPartial: "weights_integers",
    weightPartial: "weight_fused",
    packsPartial: "packs_tile",
    packedAt: "half * WORKGROUP + lane",
    unitPartial: "unit_tile",
    flushPartial: "flush_sums",
    sumUnitsPartial: "sum_units",
    softenedPartial: "kept_weight",
    prepareValuesPartial: "prepare_values_none",
    mixPagesPartial: "mix_quads",
    digits: digitsFrom(digits),
    whole: `${256 ** digits - 1}.0`,
    quadTokens: rows.map((token) => ({ token: component(token) })),
    sums: chunks.flatMap((chunk) =>
      rows.flatMap((row) =>
        digitsFrom(digits).map(({ digit }) => ({ name: name(chunk, row, digit) }))
      )
    ),
    mixedSums: chunks.map((chunk) => ({
      chunk,
      rows: rows.map((row) => ({
        row: component(row),
        terms: terms(digits, (digit) => name(chunk, row, digit)),
      })),
    })),
  };
}

/** How whole numbers become bytes, of which all but the highest are counted from 128 on the way. */
function queryBytes(digits: number): Context {
  return {
    queryWhole: `${127 * 256 ** (digits - 1)}.0`,
    queryOrigin: `${1.5 * 2 ** 23 + (digits === 1 ? 0 : 128)}.0`,
    queryDigits: digitsFrom(digits).map(({ digit, shift }) => ({
      digit,
      bytes: shift > 0
        ? `pack4xI8(bits >> vec4<u32>(${shift}u))`
        : digits > 1
        ? "pack4xI8(bits) ^ 0x80808080u"
        : "pack4xI8(bits)",
    })),
  };
}

/** A page of a tile, and what its sums are. */
interface DigitSum {
  readonly [name: string]: TemplateValue;
  readonly products: readonly Context[];
}

const query = (chunk: number, digit: number) => `query_${chunk}_${digit}`;

/** Sums of the products of queries with the levels of a lane's tokens, one in each page of a tile. */
function digitSums(
  digits: number,
  span: number,
  placeOf?: (index: number) => string,
): DigitSum[] {
  const sum = (page: number) => (digit: number) => `sum_${page}_${digit}`;
  return (pages("SPAN", span, placeOf).pages as readonly { index: number; place: string }[])
    .map(({ index: page, place }) => ({
      page,
      place,
      terms: terms(digits, sum(page)).map(({ digit: _, ...term }) => term),
      products: KEY_CHUNKS.map((chunk) => ({
        chunk,
        sums: digitsFrom(digits).map(({ digit }) => ({
          name: sum(page)(digit),
          query: query(chunk, digit),
        })),
      })),
    }));
}

/** The digits of the queries of a chunk, by name. */
function chunkQueries(digits: number, chunk: number): Context[] {
  return digitsFrom(digits).map(({ digit }) => ({ digit, name: query(chunk, digit) }));
}

/** How queries become integers, and what sums their products with levels are. */
export function integerScore(digits: number, span: number): Context {
  return {
    atQuery: QUERIES,
    exactly: EXACT_KEYS,
    headerPartial: "header_plain",
    ...queryBytes(digits),
    digitChunks: KEY_CHUNKS.map((chunk) => ({ chunk, queries: chunkQueries(digits, chunk) })),
    digitSums: digitSums(digits, span),
  };
}

/**
 * The same for keys with anchors: bands that have some are scored in integers, with queries that
 * are turned for each anchor.
 *
 * @param codesOffset What is added to a record's first word to find its codes. Defaults to nothing.
 * @param laneMeansPartial What a lane's tokens share beside the lowest levels. Defaults to nothing.
 */
export function anchoredIntegerScore(
  digits: number,
  span: number,
  headDim: number,
  codesOffset = "",
): Context {
  // A band of eight pairs lies in two chunks, and in two others.
  const half = (chunk: number) => chunk < 2 ? "first" : "second";
  const { preparePartial: _, ...shared } = anchoredScore(span, "coded_keys_levels");
  return {
    ...shared,
    scorePartial: "score_anchored_integers",
    atTile: { ...AT_TILE, loadRow: "row_factor(tile, tile_row, pair) * query_load4" },
    // A tile has as many anchors as pages at most; weights take 16 entries of a page.
    packsPartial: "packs_paged",
    packedAt: "lane * (SPAN / 4u) + half",
    packs: span * Math.max(16, headDim / 4),
    ...queryBytes(digits),
    laneMeansPartial: "lane_means_none",
    prepareSizesPartial: "prepare_sizes_none",
    digitChunks: KEY_CHUNKS.map((chunk) => ({
      chunk,
      half: half(chunk),
      part: chunk % 2,
      queries: chunkQueries(digits, chunk),
    })),
    digitSums: digitSums(digits, span, consecutivePlace).map(({ products, ...page }) => ({
      ...page,
      codes: `${page.place}.word${codesOffset}`,
      products: products.map((product, chunk) => ({
        ...product,
        half: half(chunk),
        part: chunk % 2,
      })),
    })),
  };
}
