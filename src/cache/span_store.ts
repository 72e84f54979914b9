/** The spans of a cache: what hosts may do with them. */
import { describeValue } from "../base/describe_value.ts";
import { raise } from "../base/raise.ts";
import type { SpanStats } from "./cache_stats.ts";
import type { Growth, Sequence, SequenceState } from "./sequences.ts";
import { shareSpans } from "./share_spans.ts";
import type { Span, SpanRoom, SpanState } from "./span_room.ts";
import type { CacheSpans, GivenSpan, RestoredSpan } from "./spans.ts";

/**
 * The rows of the host's tensors that a span's tokens have.
 *
 * @throws {CoupletError} `usage` where the indices are not as many as its tokens, or not ascending.
 */
function spanRows({ tokens }: Span, indices?: readonly number[]): readonly number[] {
  if (indices === undefined) return Array.from({ length: tokens }, (_, token) => token);
  const refuse = (why: string) =>
    raise(
      "usage",
      "Cannot take a span's tokens",
      why,
      `Give ${tokens} indices of tokens, each greater than the one before`,
    );
  if (!Array.isArray(indices)) refuse(`its indices are ${describeValue(indices)}`);
  if (indices.length !== tokens) refuse(`${indices.length} indices are given for ${tokens} tokens`);
  const wrong = indices.findIndex((index, i) =>
    !Number.isSafeInteger(index) || index <= (indices[i - 1] ?? -1)
  );
  if (wrong >= 0) refuse(`index ${wrong} is ${describeValue(indices[wrong])}`);
  return [...indices];
}

/** @throws {CoupletError} `usage`: a span was not handed over to a layer. */
function refuseUncoded(what: string, { span: { id, name } }: SpanState, layer: number) {
  raise(
    "usage",
    what,
    `its span ${id} ("${name}") was not handed over to layer ${layer}`,
    "Hand it over to every layer (encodeSpan), or drop it: truncate the sequence to before it",
  );
}

/** The spans of a cache that has some. */
export class SpanStore implements CacheSpans {
  /** One for each kind. */
  readonly rooms: readonly SpanRoom[];
  readonly #states = new WeakMap<Span, { state: SpanState; sequence: Sequence }>();
  #nextId = 0;

  constructor(rooms: readonly SpanRoom[]) {
    this.rooms = rooms;
  }

  add(owner: SequenceState, sequence: Sequence, name: string, tokens: number): Span {
    const room = this.rooms.find(({ plan }) => plan.name === name);
    if (room === undefined) {
      const known = this.rooms.map(({ plan }) => plan.name);
      raise(
        "usage",
        `Cannot add a span ${describeValue(name)}`,
        known.length === 0
          ? "the cache was planned without spans"
          : `the plan has the spans ${known.join(", ")}`,
        "Plan it (spans)",
      );
    }
    const state = room.take(this.#nextId++, tokens, owner.length);
    owner.spans = [...owner.spans, state];
    this.#states.set(state.span, { state, sequence });
    return state.span;
  }

  adopt(
    spans: readonly RestoredSpan[],
    create: (states: readonly SpanState[]) => Sequence,
  ): Sequence {
    const states: SpanState[] = [];
    try {
      for (const { name, tokens, place, restored } of spans) {
        // A plan of the same fingerprint has the same kinds.
        const room = this.rooms.find(({ plan }) => plan.name === name)!;
        const state = room.take(this.#nextId++, tokens, place);
        room.layers.forEach((_, layer) => state.coded.add(layer));
        state.restored = restored;
        states.push(state);
      }
      return create(states);
    } catch (error) {
      for (const state of states) state.room.release(state);
      throw error;
    }
  }

  give(span: Span, layer: number, indices: readonly number[] | undefined): GivenSpan {
    const found = this.#states.get(Object(span));
    const what = `Cannot hand over a span to layer ${layer}`;
    if (found === undefined || found.state.users === 0) {
      raise(
        "usage",
        what,
        found === undefined
          ? `${describeValue(span)} is no span of this cache`
          : `span ${span.id} was dropped: its sequence was freed, or truncated to before it`,
        "Add a span (addSpan), and hand that over",
      );
    }
    const { state, sequence } = found;
    if (state.coded.has(layer)) {
      raise(
        "usage",
        what,
        `span ${span.id} was handed over to it before`,
        "Hand over each span to each layer once",
      );
    }
    const rows = spanRows(span, indices);
    return {
      sequence,
      rows,
      encode(recorder, host) {
        state.room.encode(recorder, state, layer, rows, host);
        state.hasRow = true;
        state.coded.add(layer);
      },
    };
  }

  requireCoded(what: string, { spans }: SequenceState): void {
    for (const span of spans) {
      const layer = span.room.layers.findIndex((_, layer) => !span.coded.has(layer));
      if (layer >= 0) refuseUncoded(what, span, layer);
    }
  }

  checkAttend(live: readonly Growth[], layer: number): void {
    for (const { sequence, spans } of live) {
      const missing = spans.find(({ coded }) => !coded.has(layer));
      if (missing !== undefined) {
        refuseUncoded(`Cannot attend to sequence ${sequence.id} in layer ${layer}`, missing, layer);
      }
    }
  }

  share = shareSpans;

  stats(): SpanStats[] {
    return this.rooms.map(({ plan: { name }, count, tokens, pages }) => (
      { name, count, tokens, pages }
    ));
  }
}
