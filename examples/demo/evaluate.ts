import type { Cache, Sequence } from "@couplet/kv";
import type { ForwardEntry, ForwardResult, ReadOptions } from "../engine/mod.ts";
import { type Quality, QualityTally, type ReferenceRow, referenceRow } from "./metrics.ts";

/** A model that holds sequences in some way. */
export interface ModelRun {
  readonly cache: Pick<Cache, "createSequence" | "freeSequence">;
  /** As `Engine.forward`. */
  forward(entries: readonly ForwardEntry<Sequence>[], read: ReadOptions): Promise<ForwardResult>;
}

/** A cache, and the way tokens of its sequences run through the model. */
export interface CacheRun extends ModelRun {
  readonly cache: Cache;
}

/** What is looked at beside the logits while the caches take the first contexts. */
export interface Inspection {
  /** What the engine reads back for it. */
  readonly read: ReadOptions;
  /** Told after every step: the run's index, and what came back. */
  onStep(run: number, tokens: number, result: ForwardResult): void;
}

/** What {@linkcode evaluate} needs. */
export interface EvaluationOptions {
  /** The caches to compare; the first is the uncompressed one that the others are measured against. */
  readonly runs: readonly ModelRun[];
  /** Texts of equal length, in tokens. */
  readonly contexts: readonly (readonly number[])[];
  /** Sequences that run together. */
  readonly batch: number;
  /** Tokens of each sequence that run together. */
  readonly chunk: number;
  /** Told how many tokens a cache has taken since it was last told. */
  readonly onTokens?: (tokens: number) => void;
  readonly inspection?: Inspection;
  /** Told once, when the caches hold whole contexts: the sequences of each cache. */
  readonly onFull?: (held: readonly (readonly Sequence[])[]) => Promise<void>;
}

/**
 * Quality of each cache in each context, `[runs][contexts]`, over every position that has a next token.
 *
 * All caches take a chunk of tokens before any takes the next one, so that the uncompressed model's
 * distributions are kept for a chunk only, whatever the size of the vocabulary.
 */
export async function evaluate(
  options: EvaluationOptions,
): Promise<readonly (readonly Quality[])[]> {
  const { runs, contexts, batch, chunk } = options;
  const length = contexts[0]?.length ?? 0;
  const tallies = runs.map(() => contexts.map(() => new QualityTally()));
  for (let first = 0; first < contexts.length; first += batch) {
    const group = contexts.slice(first, first + batch);
    const inspection = first === 0 ? options.inspection : undefined;
    const held = runs.map(({ cache }) => group.map(() => cache.createSequence()));
    for (let at = 0; at < length; at += chunk) {
      let reference: ReferenceRow[][] | undefined;
      for (const [i, run] of runs.entries()) {
        const entries = group.map((tokenIds, entry) => ({
          sequence: held[i]![entry]!,
          tokenIds: tokenIds.slice(at, at + chunk),
        }));
        const result = await run.forward(entries, { ...inspection?.read, logits: "all" });
        const rows = result.logits!.map((all, entry) =>
          splitRows(all, entries[entry]!.tokenIds.length)
        );
        reference ??= rows.map((entry) => entry.map(referenceRow));
        rows.forEach((entry, e) =>
          entry.forEach((row, token) => {
            const next = group[e]![at + token + 1];
            if (next !== undefined) tallies[i]![first + e]!.add(reference![e]![token]!, row, next);
          })
        );
        inspection?.onStep(i, entries[0]!.tokenIds.length, result);
        options.onTokens?.(entries.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0));
      }
    }
    if (first === 0) await options.onFull?.(held);
    for (const [i, { cache }] of runs.entries()) {
      for (const sequence of held[i]!) cache.freeSequence(sequence);
    }
  }
  return tallies.map((contexts) => contexts.map((tally) => tally.quality()));
}

/** `[count][length / count]` as views. */
function splitRows(all: Float32Array<ArrayBuffer>, count: number): Float32Array[] {
  const width = all.length / count;
  return Array.from({ length: count }, (_, i) => all.subarray(i * width, (i + 1) * width));
}
