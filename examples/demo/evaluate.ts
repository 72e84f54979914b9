import type { Cache, Sequence } from "@couplet/kv";
import type { Engine } from "../llama/mod.ts";
import type { CacheSwitch } from "./cache_switch.ts";
import { type Quality, QualityTally, type ReferenceRow, referenceRow } from "./metrics.ts";

/** What {@linkcode evaluate} needs. */
export interface EvaluationOptions {
  readonly engine: Engine<Sequence>;
  /** The engine's cache. */
  readonly cacheSwitch: CacheSwitch;
  /** The caches to compare; the first is the uncompressed one that the others are measured against. */
  readonly caches: readonly Cache[];
  /** Texts of equal length, in tokens. */
  readonly contexts: readonly (readonly number[])[];
  /** Sequences that run together. */
  readonly batch: number;
  /** Tokens of each sequence that run together. */
  readonly chunk: number;
  readonly onProgress?: (fraction: number) => void;
  /** Told once, when the caches hold whole contexts: the sequences of each cache. */
  readonly onFull?: (held: readonly (readonly Sequence[])[]) => Promise<void>;
}

/**
 * Quality of each cache, over every position of every context that has a next token.
 *
 * All caches take a chunk of tokens before any takes the next one, so that the uncompressed model's
 * distributions are kept for a chunk only, whatever the size of the vocabulary.
 */
export async function evaluate(options: EvaluationOptions): Promise<readonly Quality[]> {
  const { engine, cacheSwitch, caches, contexts, batch, chunk } = options;
  const length = contexts[0]?.length ?? 0;
  const tallies = caches.map(() => new QualityTally());
  let done = 0;
  for (let first = 0; first < contexts.length; first += batch) {
    const group = contexts.slice(first, first + batch);
    const held = caches.map((cache) => group.map(() => cache.createSequence()));
    for (let at = 0; at < length; at += chunk) {
      let reference: ReferenceRow[][] | undefined;
      for (const [i, cache] of caches.entries()) {
        cacheSwitch.cache = cache;
        const entries = group.map((tokenIds, entry) => ({
          sequence: held[i]![entry]!,
          tokenIds: tokenIds.slice(at, at + chunk),
        }));
        const { logits } = await engine.forward(entries, { logits: "all" });
        const rows = logits!.map((all, entry) => splitRows(all, entries[entry]!.tokenIds.length));
        reference ??= rows.map((entry) => entry.map(referenceRow));
        rows.forEach((entry, e) =>
          entry.forEach((row, token) => {
            const next = group[e]![at + token + 1];
            if (next !== undefined) tallies[i]!.add(reference![e]![token]!, row, next);
          })
        );
        done += entries.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0);
        options.onProgress?.(done / (caches.length * contexts.length * length));
      }
    }
    if (first === 0) await options.onFull?.(held);
    for (const [i, cache] of caches.entries()) {
      for (const sequence of held[i]!) cache.freeSequence(sequence);
    }
  }
  return tallies.map((tally) => tally.quality());
}

/** `[count][length / count]` as views. */
function splitRows(all: Float32Array<ArrayBuffer>, count: number): Float32Array[] {
  const width = all.length / count;
  return Array.from({ length: count }, (_, i) => all.subarray(i * width, (i + 1) * width));
}
