/**
 * Attention in integers: weights and levels of values, levels of keys and queries are bytes, and
 * four products are one instruction (`dot4U8Packed`, `dot4I8Packed`).
 */
import { BLOCK_ROWS } from "../../src/kernels/constants.ts";
import type { KernelFeature } from "../../src/kernels/name.ts";
import { EXACT_KEYS, pages, QUERIES, VALUE_CHANNELS } from "./attention.ts";
import type { Context } from "./kernel_row.ts";

/** Channels of a key that a lane scores at once in integers. */
export const INTEGER_KEY_CHANNELS = 16;

/** How a family's levels are read and used as integers. */
export interface IntegerKernels {
  /** How `numbers` consecutive channels' levels are read, of keys or of values, as words. */
  words(side: "key" | "value", numbers: number): Context;
  /** The partials that mix values, and finish them. */
  readonly mix: Context;
  /** The partials that score coded keys as they are. */
  readonly score: Context;
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

/** How queries become integers, and what sums their products with levels are. */
export function integerScore(digits: number, span: number): Context {
  const query = (chunk: number, digit: number) => `query_${chunk}_${digit}`;
  const sum = (page: number) => (digit: number) => `sum_${page}_${digit}`;
  const chunks = Array.from({ length: INTEGER_KEY_CHANNELS / 4 }, (_, chunk) => chunk);
  return {
    atQuery: QUERIES,
    exactly: EXACT_KEYS,
    headerPartial: "header_plain",
    queryDigits: digitsFrom(digits).map(({ digit }) => ({
      digit,
      bytes: digits === 1
        ? "whole"
        : digit === 0
        ? "(whole + 128) >> vec4<u32>(8u)"
        : "whole - (((whole + 128) >> vec4<u32>(8u)) << vec4<u32>(8u))",
    })),
    // Its bytes are signed, and the high one is rounded to the nearest.
    queryWhole: `${127 * 256 ** (digits - 1)}.0`,
    digitChunks: chunks.map((chunk) => ({
      chunk,
      queries: digitsFrom(digits).map(({ digit }) => ({ digit, name: query(chunk, digit) })),
    })),
    digitSums: (pages("SPAN", span).pages as readonly { index: number; place: string }[])
      .map(({ index: page, place }) => ({
        page,
        place,
        terms: terms(digits, sum(page)).map(({ digit: _, ...term }) => term),
        products: chunks.map((chunk) => ({
          chunk,
          sums: digitsFrom(digits).map(({ digit }) => ({
            name: sum(page)(digit),
            query: query(chunk, digit),
          })),
        })),
      })),
  };
}
