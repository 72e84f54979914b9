/** The reference cache, with the arguments of its calls checked. */
import { checkOptions, having, type Kind, listOf, TEXT, whole } from "../base/check_options.ts";
import { FLOATS, NUMBER, NUMBERS, orNothing, record } from "../base/data_kinds.ts";
import { SIDE } from "../model/side.ts";
import {
  createReferenceCache as createCache,
  type ReferenceCache,
  type ReferenceSequence,
  type ReferenceSpan,
  type ReferenceStep,
  type ReferenceStepEntry,
} from "../reference/reference_cache.ts";
import type { ReferenceCacheOptions } from "../plan/reference_options.ts";

/**
 * Creates a cache on the CPU; see {@linkcode ReferenceCache}. It is slow, and computes the same
 * numbers everywhere.
 *
 * @throws {CoupletError} `scheme`, `shape` or `codebook` where the options do not fit together.
 */
export function createReferenceCache(options: ReferenceCacheOptions): ReferenceCache {
  const cache = createCache(options);
  const sequenceKind: Kind<ReferenceSequence> = having("what createSequence() gives", "id");
  const entries = listOf(
    record<ReferenceStepEntry>(
      "{ sequence, tokens }, and positions as a list where there are any",
      {
        sequence: sequenceKind,
        tokens: NUMBER,
        positions: orNothing(NUMBERS),
      },
    ),
  );
  const stepKind = record<{ readonly entries: readonly ReferenceStepEntry[] }>(
    "what beginStep() gives",
    { entries },
  );
  const spanKind: Kind<ReferenceSpan> = having("what addSpan() gives", "id", "name", "tokens");
  const check = <T>(kinds: { readonly [K in keyof T]: Kind<T[K]> }, given: T): void =>
    checkOptions("usage", "Cannot use the reference cache", kinds as never, given);
  const checkSequence = (sequence: ReferenceSequence) =>
    check({ sequence: sequenceKind }, { sequence });
  const checkStep = (step: ReferenceStep, layer: number, given: object, name: string) => {
    const vectors = Object(given)[name];
    const kinds = { step: stepKind, layer: NUMBER, [name]: FLOATS };
    checkOptions("usage", "Cannot use the step", kinds, { step, layer, [name]: vectors });
  };
  return {
    ...cache,
    forkSequence(sequence) {
      checkSequence(sequence);
      return cache.forkSequence(sequence);
    },
    freeSequence(sequence) {
      checkSequence(sequence);
      cache.freeSequence(sequence);
    },
    length(sequence) {
      checkSequence(sequence);
      return cache.length(sequence);
    },
    codedTokens(sequence) {
      checkSequence(sequence);
      return cache.codedTokens(sequence);
    },
    truncate(sequence, length) {
      check({ sequence: sequenceKind, length: NUMBER }, { sequence, length });
      cache.truncate(sequence, length);
    },
    rollback(sequence, length) {
      check({ sequence: sequenceKind, length: NUMBER }, { sequence, length });
      return cache.rollback(sequence, length);
    },
    dropTokens(sequence, range) {
      const { from, to } = Object(range);
      check({ sequence: sequenceKind, from: NUMBER, to: NUMBER }, { sequence, from, to });
      cache.dropTokens(sequence, range);
    },
    records(sequence, layer, side, tokens) {
      check(
        { sequence: sequenceKind, layer: NUMBER, side: SIDE, tokens: whole(0) },
        { sequence, layer, side, tokens },
      );
      return cache.records(sequence, layer, side, tokens);
    },
    addSpan(sequence, name, tokens) {
      check({ sequence: sequenceKind, name: TEXT, tokens: whole(1) }, { sequence, name, tokens });
      return cache.addSpan(sequence, name, tokens);
    },
    encodeSpan(span, layer, vectors) {
      const { keys, values, indices } = Object(vectors);
      const kinds = { span: spanKind, layer: NUMBER, keys: FLOATS, values: FLOATS };
      const given = { span, layer, keys, values };
      checkOptions(
        "usage",
        "Cannot hand over a span",
        indices === undefined ? kinds : { ...kinds, indices: listOf(NUMBER) } as never,
        indices === undefined ? given : { ...given, indices },
      );
      cache.encodeSpan(span, layer, vectors);
    },
    spanCodes(span, layer, side) {
      check({ span: spanKind, layer: NUMBER, side: SIDE }, { span, layer, side });
      return cache.spanCodes(span, layer, side);
    },
    beginStep(given) {
      check({ entries }, { entries: given });
      return cache.beginStep(given);
    },
    append(step, layer, vectors) {
      checkStep(step, layer, vectors, "keys");
      checkStep(step, layer, vectors, "values");
      cache.append(step, layer, vectors);
    },
    attend(step, layer, vectors) {
      checkStep(step, layer, vectors, "queries");
      return cache.attend(step, layer, vectors);
    },
  };
}
