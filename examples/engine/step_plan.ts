import type { LayerRope } from "./config.ts";
import type { ForwardEntry, ReadOptions } from "./forward_entry.ts";

/** Part of an entry that runs in one step. */
export interface Segment {
  /** Index of the entry. */
  readonly entry: number;
  /** Its first token within the entry. */
  readonly start: number;
  /** Tokens. */
  readonly count: number;
  /** Position of its first token in the sequence. */
  readonly position: number;
  /** Row of its first token in the step. */
  readonly row: number;
}

/** Tokens of several sequences that run together. */
export interface StepPlan {
  readonly segments: readonly Segment[];
  readonly tokens: number;
}

/** A row whose logits are wanted. */
export interface HeadRow {
  readonly entry: number;
  /** The token within the entry. */
  readonly token: number;
  /** Its row in the step. */
  readonly row: number;
  /** The token it should predict. */
  readonly target: number | undefined;
}

/** The rows of a step whose logits are needed for what is to be read back. */
export function selectRows<Sequence>(
  entries: readonly ForwardEntry<Sequence>[],
  plan: StepPlan,
  read: ReadOptions,
): HeadRow[] {
  const every = read.losses === true || read.logits === "all";
  if (!every && read.logits === undefined) return [];
  return plan.segments.flatMap(({ entry, start, count, row }) => {
    const { tokenIds, nextTokenId } = entries[entry]!;
    return Array.from({ length: count }, (_, i): HeadRow => ({
      entry,
      token: start + i,
      row: row + i,
      target: tokenIds[start + i + 1] ?? nextTokenId,
    })).filter(({ token }) => every || token === tokenIds.length - 1);
  });
}

/** Neighbouring rows together, so that each run is one copy. */
export function runsOf(rows: readonly HeadRow[]): { first: number; row: number; count: number }[] {
  const runs: { first: number; row: number; count: number }[] = [];
  rows.forEach(({ row }, first) => {
    const run = runs.at(-1);
    if (run !== undefined && run.row + run.count === row) run.count++;
    else runs.push({ first, row, count: 1 });
  });
  return runs;
}

/** Deals the entries' tokens to steps within the limits, in order. */
export function planSteps(
  entries: readonly { readonly tokens: number; readonly position: number }[],
  maxTokens: number,
  appendTokens: number,
): StepPlan[] {
  const done = entries.map(() => 0);
  const steps: StepPlan[] = [];
  while (entries.some(({ tokens }, entry) => done[entry]! < tokens)) {
    const segments: Segment[] = [];
    let row = 0;
    entries.forEach(({ tokens, position }, entry) => {
      const start = done[entry]!;
      const count = Math.min(tokens - start, appendTokens, maxTokens - row);
      if (count <= 0) return;
      segments.push({ entry, start, count, position: position + start, row });
      done[entry] = start + count;
      row += count;
    });
    steps.push({ segments, tokens: row });
  }
  return steps;
}

/**
 * Cosine and sine of every token's rotary angles times the attention factor, `[tokens][headDim / 2][2]`,
 * from float64 angles.
 */
export function turns(
  { segments, tokens }: StepPlan,
  { frequencies, attentionFactor }: LayerRope,
): Float32Array<ArrayBuffer> {
  const table = new Float32Array(tokens * frequencies.length * 2);
  let at = 0;
  for (const { position, count } of segments) {
    for (let i = 0; i < count; i++) {
      for (const frequency of frequencies) {
        table[at++] = attentionFactor * Math.cos((position + i) * frequency);
        table[at++] = attentionFactor * Math.sin((position + i) * frequency);
      }
    }
  }
  return table;
}
