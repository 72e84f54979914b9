/**
 * Attention in integers: weights and levels of values, levels of keys and queries are bytes, and
 * four products are one instruction (`dot4U8Packed`, `dot4I8Packed`).
 */
import { BLOCK_ROWS } from "../../src/kernels/constants.ts";
import type { KernelFeature, KeyVariant } from "../../src/kernels/name.ts";
import { anchoredScore } from "./anchored.ts";
import { EXACT_KEYS, pages, QUERIES, VALUE_CHANNELS } from "./attention.ts";
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
    packsPartial: "packs_tile",
    unitPartial: "unit_tile",
    softenedPartial: "kept_weight",
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

/** The text that makes a byte of a query's whole numbers. */
function queryByte(digits: number, digit: number, whole: string): string {
  if (digits === 1) return whole;
  const high = `(${whole} + 128) >> vec4<u32>(8u)`;
  return digit === 0 ? high : `${whole} - ((${high}) << vec4<u32>(8u))`;
}

/** A page of a tile, and what its sums are. */
interface DigitSum {
  readonly [name: string]: TemplateValue;
  readonly products: readonly Context[];
}

/** The largest whole number of a query: its bytes are signed, and the high one is rounded. */
function queryWhole(digits: number): string {
  return `${127 * 256 ** (digits - 1)}.0`;
}

const query = (chunk: number, digit: number) => `query_${chunk}_${digit}`;

/** Sums of the products of queries with the levels of a lane's tokens, one in each page of a tile. */
function digitSums(digits: number, span: number): DigitSum[] {
  const sum = (page: number) => (digit: number) => `sum_${page}_${digit}`;
  return (pages("SPAN", span).pages as readonly { index: number; place: string }[])
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
    queryDigits: digitsFrom(digits).map(({ digit }) => ({
      digit,
      bytes: queryByte(digits, digit, "whole"),
    })),
    queryWhole: queryWhole(digits),
    digitChunks: KEY_CHUNKS.map((chunk) => ({ chunk, queries: chunkQueries(digits, chunk) })),
    digitSums: digitSums(digits, span),
  };
}

/**
 * The same for keys with anchors: bands whose anchors are whole pages are scored in integers, with
 * queries that are turned for each page.
 *
 * @param codesOffset What is added to a record's first word to find its codes. Defaults to nothing.
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
    // A tile has as many anchors as pages at most; weights take 16 entries of a page.
    packsPartial: "packs_paged",
    packs: digits * span * Math.max(16, headDim / 4),
    queryWhole: queryWhole(digits),
    pageDigits: digitsFrom(digits).map(({ digit }) => ({
      digit,
      first: queryByte(digits, digit, "wholes[0]"),
      second: queryByte(digits, digit, "wholes[1]"),
    })),
    digitChunks: KEY_CHUNKS.map((chunk) => ({
      half: half(chunk),
      part: chunk % 2,
      queries: chunkQueries(digits, chunk),
    })),
    digitSums: digitSums(digits, span).map(({ products, ...page }) => ({
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
