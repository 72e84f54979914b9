/**
 * Checks the types of the arguments of a cache's calls. The ranges of numbers are checked by what
 * is called.
 *
 * @module
 */
import type { ReadRange } from "./cache.ts";
import type { StepEntry } from "./sequences.ts";
import {
  checkOptions,
  type Fields,
  FINITE,
  having,
  type Kind,
  kind,
  listOf,
  oneOf,
  TEXT,
  whole,
} from "../base/check_options.ts";
import type { Sequence } from "./sequences.ts";

/** A sequence, of whichever cache. */
const SEQUENCE: Kind<Sequence> = having("what createSequence() gives", "id");

const ENTRY: Kind<StepEntry> = kind(
  "{ sequence, tokens }",
  (value) => SEQUENCE[1](Object(value).sequence) && FINITE[1](Object(value).tokens),
);

/** What a range to read may be; its binding is checked with its size. */
export const READ_FIELDS: Fields<ReadRange> = {
  side: oneOf("keys", "values"),
  first: FINITE,
  count: FINITE,
  output: having("{ buffer } with a GPUBuffer", "buffer"),
};

/**
 * Checks the entries of `beginStep()`.
 *
 * @throws {CoupletError} `usage` where they are no list of sequences and numbers of tokens.
 */
export function checkStepEntries(entries: readonly StepEntry[]): void {
  checkOptions("usage", "Cannot begin a step", { entries: listOf(ENTRY) }, { entries });
}

/**
 * Checks the arguments of `addSpan()`.
 *
 * @throws {CoupletError} `usage` where they are not a text and a number of tokens.
 */
export function checkSpan(name: string, tokens: number): void {
  checkOptions("usage", "Cannot add a span", { name: TEXT, tokens: whole(1) }, { name, tokens });
}

/**
 * Checks the range of `encodeRead()`.
 *
 * @throws {CoupletError} `usage` where it is none.
 */
export function checkReadRange(range: ReadRange): void {
  checkOptions("usage", "Cannot read tokens", READ_FIELDS, range);
}

/**
 * Checks the arguments of `encodeReorder()`.
 *
 * @throws {CoupletError} `usage` where they are no lists of sequences and of numbers.
 */
export function checkBeams(beams: readonly Sequence[], parents: readonly number[]): void {
  checkOptions("usage", "Cannot reorder the beams", {
    beams: listOf(SEQUENCE),
    parents: listOf(FINITE),
  }, { beams, parents });
}
