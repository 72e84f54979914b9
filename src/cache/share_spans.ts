/** Divides a step's attention to spans among workgroups. */
import type { Parameters } from "./parameters.ts";
import { type AttentionWay, rowScores, stepSplits } from "../plan/steps.ts";
import type { SpanRoom } from "./span_room.ts";
import type { SharedSpans, SpanRows } from "./spans.ts";
import type { StepEntryParameters } from "./uniforms.ts";

/** Dispatches for spans: each attends to one span of every sequence that has so many. */
interface Dispatch {
  readonly room: SpanRoom;
  readonly entries: StepEntryParameters[];
}

/**
 * Writes the parameters of a step's attention to spans.
 *
 * Kernels write scores and tables by query row, so a dispatch has at most one span of a sequence.
 * A row's partial results lie one after the other: those of its spans first, then those of the
 * sequence's other tokens.
 *
 * @param splits Workgroups of the other tokens, by kind of layer.
 */
export function shareSpans(
  parameters: Parameters,
  rows: readonly SpanRows[],
  way: AttentionWay,
  splits: readonly number[],
): SharedSpans {
  const dispatches: Dispatch[] = [];
  const tokens = rows.reduce((sum, row) => sum + row.tokens, 0);
  const maxTokens = Math.max(...rows.map((row) => row.tokens));
  const splitsOf = (room: SpanRoom) => {
    const { options, layers } = room.plan;
    const own = rows.flatMap(({ spans }) => spans.filter((state) => state.room === room));
    const context = Math.max(...own.map(({ span }) => span.tokens));
    const size = { tokens, entries: rows.length, maxTokens, context };
    return stepSplits(options, layers[0]![way].splits, size);
  };
  const partials = rows.map(({ tokens: count, first, spans }) => {
    const taken = new Set<Dispatch>();
    let firstPartial = 0;
    for (const { room, slot, span: { tokens } } of spans) {
      let dispatch = dispatches.find((one) => one.room === room && !taken.has(one));
      if (dispatch === undefined) dispatches.push(dispatch = { room, entries: [] });
      taken.add(dispatch);
      // Whatever the row's position, it sees all tokens, and only those.
      const start = tokens - 1;
      dispatch.entries.push({ slot, start, count, first, exactFrom: tokens, firstPartial });
      firstPartial += splitsOf(room);
    }
    return firstPartial;
  });
  const partialStride = Math.max(...partials) + Math.max(...splits);
  const shares = dispatches.map(({ room, entries }) => {
    const own = splitsOf(room);
    const scoreStride = rowScores(room.plan.options);
    return {
      layers: room.layers,
      place: parameters.write(entries, { splits: own, scoreStride, partialStride }),
      entries: entries.length,
      most: Math.max(...entries.map(({ count }) => count)),
      splits: own,
    };
  });
  return { shares, partials, partialStride: shares.length > 0 ? partialStride : undefined };
}
