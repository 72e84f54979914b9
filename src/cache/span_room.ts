/** The spans of one kind: their places, pages and commands. */
import type { HostBindings } from "./bound_kernel.ts";
import type { EntryGrid } from "./grids.ts";
import type { SpanLayer } from "./span_layer.ts";
import { PAGE_TOKENS } from "../kernels/constants.ts";
import { SIDES } from "../model/side.ts";
import { PagePool, type PageStats } from "./page_pool.ts";
import { type PageRows, pageRuns } from "./page_rows.ts";
import type { Parameters } from "./parameters.ts";
import { poolPages } from "../plan/pages.ts";
import type { SpanPlan } from "../plan/spans.ts";
import { raise } from "../base/raise.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { Recorder } from "./recorder.ts";

/**
 * A run of tokens of a sequence that was handed over at once, or is to be; opaque.
 */
export interface Span {
  /** Distinguishes the spans of one cache, for display. */
  readonly id: number;
  /** The kind of span, as the plan names it. */
  readonly name: string;
  /** Its tokens. */
  readonly tokens: number;
}

/** One layer's content of a restored span, in buffers of its own. */
export interface RestoredSpanLayer {
  /** Records of whole pages, `[pages][heads][words]`. */
  readonly keys: GPUBuffer;
  readonly values: GPUBuffer;
  /** Its levels, where there are some. */
  readonly levels: GPUBuffer | undefined;
}

/** What the host side knows of one span. */
export interface SpanState {
  readonly span: Span;
  readonly room: SpanRoom;
  /** Its place in page tables and levels. */
  readonly slot: number;
  /** Its pages, in order. */
  readonly pages: readonly number[];
  /** Tokens of the sequence when it was added. A rollback to fewer drops it. */
  readonly place: number;
  /** Layers that it was handed over to. */
  readonly coded: Set<number>;
  /** Sequences that have it. */
  users: number;
  /** Whether its row of the page table was recorded. */
  hasRow: boolean;
  /** Its content from a snapshot, until a step puts it in place. */
  restored: readonly RestoredSpanLayer[] | undefined;
}

/** The spans of one kind. */
export class SpanRoom {
  readonly plan: SpanPlan;
  readonly layers: readonly SpanLayer[];
  readonly #parameters: Parameters;
  readonly #pageRows: PageRows;
  readonly #pool: PagePool;
  readonly #freeSlots: number[];
  /** Tokens that are coded together. */
  readonly #block: number;
  #tokens = 0;

  constructor(
    plan: SpanPlan,
    layers: readonly SpanLayer[],
    parameters: Parameters,
    pageRows: PageRows,
  ) {
    this.plan = plan;
    this.layers = layers;
    this.#parameters = parameters;
    this.#pageRows = pageRows;
    this.#pool = new PagePool(poolPages(plan.options, 0));
    const schemes = plan.layers.flatMap(({ keys, values }) => [keys.scheme, values.scheme]);
    this.#block = Math.max(...schemes.map((id) => parseScheme(id).block));
    const { sequences: slots } = plan.options.capacity;
    this.#freeSlots = Array.from({ length: slots }, (_, i) => slots - 1 - i);
  }

  /** Living spans. */
  get count(): number {
    return this.plan.options.capacity.sequences - this.#freeSlots.length;
  }

  /** Tokens of living spans. */
  get tokens(): number {
    return this.#tokens;
  }

  /** Its pages, counted. */
  get pages(): PageStats {
    return this.#pool.stats;
  }

  /**
   * Reserves what a span needs.
   *
   * @throws {CoupletError} `capacity` where it does not fit.
   */
  take(id: number, tokens: number, place: number): SpanState {
    const { name, options: { capacity } } = this.plan;
    const what = `Cannot add a span "${name}" of ${tokens} tokens`;
    if (this.#freeSlots.length === 0) {
      raise(
        "capacity",
        what,
        `${capacity.sequences} of ${capacity.sequences} planned spans are alive`,
        `Free a sequence that has one, or plan more (spans.${name}.count)`,
      );
    }
    if (this.#tokens + tokens > capacity.tokens) {
      raise(
        "capacity",
        what,
        `${this.#tokens} of ${capacity.tokens} planned tokens are in use`,
        `Free a sequence that has spans, or plan more (spans.${name}.tokens)`,
      );
    }
    const pages = this.#pool.take(Math.ceil(tokens / PAGE_TOKENS));
    this.#tokens += tokens;
    return {
      span: { id, name, tokens },
      room: this,
      slot: this.#freeSlots.pop()!,
      pages,
      place,
      coded: new Set(),
      users: 1,
      hasRow: false,
      restored: undefined,
    };
  }

  /** A sequence no longer has a span. */
  release(state: SpanState): void {
    if (--state.users > 0) return;
    this.#pool.give(state.pages);
    this.#freeSlots.push(state.slot);
    this.#tokens -= state.span.tokens;
  }

  /** Parameters of kernels that code the whole span. */
  #whole({ slot, span: { tokens } }: SpanState): EntryGrid {
    return this.#parameters.entries([{ slot, start: 0, count: tokens, exactFrom: tokens }]);
  }

  #row(recorder: Recorder, { slot, pages }: SpanState): void {
    this.#pageRows.write(recorder, 0, [{ slot, row: { from: 0, pages } }]);
  }

  /**
   * Records the coding of a span in one layer.
   *
   * @param rows Rows of the host's tensors, ascending, one for each token.
   */
  encode(
    recorder: Recorder,
    state: SpanState,
    layer: number,
    rows: readonly number[],
    host: HostBindings,
  ): void {
    if (!state.hasRow) this.#row(recorder, state);
    const { slot, span: { tokens } } = state;
    const runs = pageRuns(rows)
      .map(({ page: first, index: start, count }) => ({ slot, start, count, first }));
    // The last token stands in for those that a block lacks, where another span's tokens may lie.
    for (let start = tokens; start % this.#block !== 0; start++) {
      runs.push({ slot, start, count: 1, first: rows.at(-1)! });
    }
    const own = this.layers[layer]!;
    for (const grid of this.#parameters.batches(runs)) own.store(recorder, grid, host);
    own.encode(recorder, this.#whole(state));
  }

  /** Records what puts a restored span in place. */
  restore(recorder: Recorder, state: SpanState, content: readonly RestoredSpanLayer[]): void {
    this.#row(recorder, state);
    const pages = pageRuns(state.pages)
      .map(({ page, index, count }) => ({ slot: index, start: page, count }));
    const levels = this.#parameters.entries([{ slot: 0, start: state.slot, count: 1 }]);
    for (const grid of this.#parameters.batches(pages)) {
      this.layers.forEach((layer, i) => {
        for (const side of SIDES) layer.restorePages(recorder, side, grid, content[i]![side]);
      });
    }
    this.layers.forEach((layer, i) => {
      const own = content[i]!.levels;
      if (own !== undefined) layer.restoreLevels(recorder, levels, own);
    });
  }
}
