/** What the workgroups of dispatches are counted by. */
import type { HostBindings } from "./bound_kernel.ts";
import type { AttentionWay } from "../plan/steps.ts";
import type { Recorder } from "./recorder.ts";
import type { ParameterPlace } from "./step_places.ts";

/** Entries of a kernel's parameters: where they lie, and how many there are. */
export interface EntryGrid {
  readonly place: ParameterPlace;
  readonly entries: number;
  /** Most of what an entry counts: tokens, pages or units. */
  readonly most: number;
}

/** What attention depends on. */
export interface AttentionGrid extends EntryGrid {
  /** Workgroups for each block of query rows. */
  readonly splits: number;
}

/** What dispatches depend on in a step. */
export interface StepGrid extends EntryGrid {
  /** Coded tokens before and after, by entry. */
  readonly coded: readonly { readonly codedBefore: number; readonly codedAfter: number }[];
  /** Decode or prefill, */
  readonly way: AttentionWay;
  /** how layers divide attention among workgroups, by kind of layer, */
  readonly shares: readonly StepShare[];
  /** and attention to spans. */
  readonly spans: readonly SpanShare[];
}

/** How one layer divides a step's attention among workgroups. */
export interface StepShare {
  /** Where its parameters lie. */
  readonly place: ParameterPlace;
  /** Workgroups for each block of query rows. */
  readonly splits: number;
}

/** Attention of some of a step's sequences to one span each, all of a kind. */
export interface SpanShare extends AttentionGrid {
  /** What records it, by layer. */
  readonly layers: readonly SpanAttention[];
}

/** Attention to spans of a kind in one layer. */
export interface SpanAttention {
  /** Records it, up to the partial results. */
  attend(recorder: Recorder, grid: AttentionGrid, way: AttentionWay, host: HostBindings): void;
}
