/** Which tokens a read takes from which tier. */
import type { ReadRange } from "./cache.ts";
import type { ResolvedOptions } from "../plan/options.ts";
import { raise } from "../base/raise.ts";
import { PAGE_TOKENS } from "../kernels/constants.ts";
import { sideDim } from "../model/side.ts";
import { codedTokens, type Sequence, type SequenceState } from "./sequences.ts";
import type { StepEntryParameters } from "./uniforms.ts";

/** Entries of kernels that read, by tier. */
export type ReadEntries = Readonly<Record<"coded" | "exact", readonly StepEntryParameters[]>>;

/**
 * The entries that read a range of a sequence's tokens in one layer.
 *
 * @param mostGroups Workgroups that one dispatch may have in a dimension.
 * @throws {CoupletError} `usage` for a range that the layer does not hold, `shape` where it does
 * not fit the strides.
 */
export function readEntries(
  options: ResolvedOptions,
  sequence: Sequence,
  { slot, length, exactFrom, tables }: SequenceState,
  layer: number,
  { side, first, count }: ReadRange,
  mostGroups: number,
): ReadEntries {
  const { layers, tiers } = options;
  const own = layers[layer]!;
  const { pageTable, strides } = own;
  const refuse = (why: string, remedy: string): never => {
    raise(
      "usage",
      `Cannot read tokens ${first} to ${first + count} of sequence ${sequence.id}`,
      why,
      remedy,
    );
  };
  if (!Number.isInteger(first) || !Number.isInteger(count) || first < 0 || count < 1) {
    refuse("that is no range of tokens", "Give whole numbers, and a count of 1 or more");
  }
  if (first + count > length) refuse(`it has ${length} tokens`, "Read tokens it holds");
  const codedFrom = tiers.sinks + tables[pageTable]!.first * PAGE_TOKENS;
  const ringFrom = tiers.sinks + codedTokens(options, { length, exactFrom });
  const within = (from: number, to: number) => {
    const start = Math.max(first, from);
    const end = Math.min(first + count, to);
    return end > start ? [{ slot, start, count: end - start, first: start - first }] : [];
  };
  if (within(tiers.sinks, Math.min(codedFrom, ringFrom)).length > 0) {
    refuse(
      `layer ${layer} holds only sinks and tokens from ${codedFrom} on`,
      "Read tokens it holds",
    );
  }
  const { [side]: stride } = strides;
  const headMajor = stride.head > stride.token;
  const most = Math.min(
    mostGroups,
    headMajor ? Math.floor((stride.head - sideDim(own, side)) / stride.token) + 1 : Infinity,
  );
  if (count > most) {
    raise(
      "shape",
      `Cannot read ${count} tokens at once`,
      `with strides of ${stride.token} by token and ${stride.head} by head (io.${side}), ${most} fit`,
      `Read ${most} tokens at a time, or plan larger strides`,
    );
  }
  return {
    coded: within(codedFrom, ringFrom)
      .map((entry) => ({ ...entry, start: entry.start - tiers.sinks })),
    exact: [...within(0, tiers.sinks), ...within(ringFrom, length)],
  };
}
