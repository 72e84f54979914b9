import type { CalibrationSamples, Sequence, Side } from "@couplet/kv";
import type { Engine } from "../llama/mod.ts";

/** What {@linkcode captureSamples} needs. */
export interface CaptureOptions {
  /** With an uncompressed cache. */
  readonly engine: Engine<Sequence>;
  /** Texts, in tokens. */
  readonly contexts: readonly (readonly number[])[];
  /** Sequences that run together. */
  readonly batch: number;
  readonly onProgress?: (fraction: number) => void;
}

/** The keys, before their rotary embedding, and the values that a model computes for some texts. */
export async function captureSamples(
  { engine, contexts, batch, onProgress }: CaptureOptions,
): Promise<readonly CalibrationSamples[]> {
  const { layers, keyValueHeads, headDim } = engine.checkpoint.config;
  const tokens = contexts.reduce((sum, context) => sum + context.length, 0);
  const captured = Array.from(
    { length: layers },
    (_, layer) =>
      (["keys", "values"] as const).map((side: Side) => ({
        layer,
        side,
        keyValueHeads,
        headDim,
        values: new Float32Array(tokens * keyValueHeads * headDim),
      })),
  ).flat();
  let done = 0;
  for (let first = 0; first < contexts.length; first += batch) {
    const group = contexts.slice(first, first + batch);
    const entries = group.map((tokenIds) => ({ sequence: engine.createSequence(), tokenIds }));
    const result = await engine.forward(entries, { keys: true, values: true });
    for (const { layer, side, values } of captured) {
      values.set(result[side]![layer]!, done * keyValueHeads * headDim);
    }
    for (const { sequence } of entries) engine.freeSequence(sequence);
    done += group.reduce((sum, { length }) => sum + length, 0);
    onProgress?.(done / tokens);
  }
  return captured;
}
