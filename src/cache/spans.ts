/** The spans of a cache: what hosts may do with them. */
import { describeValue } from "../base/describe_value.ts";
import { raise } from "../base/raise.ts";
import type { Growth, Sequence, SequenceState } from "./sequences.ts";
import type { RestoredSpanLayer, Span, SpanRoom, SpanState } from "./span_room.ts";

/** One layer's keys and values of a span. */
export interface SpanTensors {
  /** `[tokens][keyValueHeads][headDim]`, in the plan's element type and strides. */
  readonly keys: GPUBufferBinding;
  /** The same of the values. */
  readonly values: GPUBufferBinding;
  /**
   * The tokens of the tensors that the span has, in ascending order. Defaults to the first ones, as
   * many as the span has.
   */
  readonly indices?: readonly number[];
}

/**
 * The rows of the host's tensors that a span's tokens have.
 *
 * @throws {CoupletError} `usage` where the indices are not as many as its tokens, or not ascending.
 */
export function spanRows({ tokens }: Span, indices?: readonly number[]): readonly number[] {
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
export function refuseUncoded(what: string, { span: { id, name } }: SpanState, layer: number) {
  raise(
    "usage",
    what,
    `its span ${id} ("${name}") was not handed over to layer ${layer}`,
    "Hand it over to every layer (encodeSpan), or drop it: truncate the sequence to before it",
  );
}

/**
 * Checks that a layer has all spans that a step's queries see.
 *
 * @throws {CoupletError} `usage` where it lacks one.
 */
export function checkSpans(live: readonly Growth[], layer: number): void {
  for (const { sequence, spans } of live) {
    const missing = spans.find(({ coded }) => !coded.has(layer));
    if (missing !== undefined) {
      refuseUncoded(`Cannot attend to sequence ${sequence.id} in layer ${layer}`, missing, layer);
    }
  }
}

/** A span of a snapshot. */
export interface RestoredSpan {
  /** The kind. */
  readonly name: string;
  readonly tokens: number;
  /** Tokens of the sequence when it was added. */
  readonly place: number;
  /** Its content, by layer. */
  readonly restored: readonly RestoredSpanLayer[];
}

/** The spans of a cache. */
export class Spans {
  /** One for each kind. */
  readonly rooms: readonly SpanRoom[];
  readonly #states = new WeakMap<Span, { state: SpanState; sequence: Sequence }>();
  #nextId = 0;

  constructor(rooms: readonly SpanRoom[]) {
    this.rooms = rooms;
  }

  /**
   * Adds a span to a sequence, whose later steps see it.
   *
   * @throws {CoupletError} `usage` where the plan has no such kind of span, `capacity` where it
   * does not fit. Nothing has changed then.
   */
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

  /**
   * Takes places for restored spans, and gives them to the sequence that `create` creates: all or
   * nothing.
   *
   * @throws {CoupletError} `capacity` where they do not fit.
   */
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

  /**
   * A span that is to be handed over to a layer, and the sequence it was added to.
   *
   * @throws {CoupletError} `usage` where it was dropped, is of another cache, or was handed over
   * before.
   */
  find(span: Span, layer: number): { readonly state: SpanState; readonly sequence: Sequence } {
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
    if (found.state.coded.has(layer)) {
      raise(
        "usage",
        what,
        `span ${span.id} was handed over to it before`,
        "Hand over each span to each layer once",
      );
    }
    return found;
  }
}
