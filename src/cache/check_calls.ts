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
} from "../base/check_options.ts";
import type { CommandTarget } from "./command_target.ts";
import type { Sequence } from "./sequences.ts";

/** A sequence, of whichever cache. */
const SEQUENCE: Kind<Sequence> = having("what createSequence() gives", "id");

/** Where commands go. */
const TARGET: Kind<CommandTarget> = kind(
  "a GPUCommandEncoder or a GPUComputePassEncoder",
  (value) => "beginComputePass" in Object(value) || "dispatchWorkgroups" in Object(value),
);

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

/**
 * Checks where commands are to be recorded.
 *
 * @throws {CoupletError} `usage` where it is neither an encoder nor a pass.
 */
export function checkTarget(target: CommandTarget): void {
  checkOptions("usage", "Cannot record commands", { target: TARGET }, { target });
}
