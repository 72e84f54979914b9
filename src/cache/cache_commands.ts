/**
 * Records what concerns several layers at once: page tables, copies of pages, forks, restored
 * sequences, parameters of steps.
 */
import { isOwn, type ResolvedOptions } from "../plan/options.ts";
import { positionStart } from "../plan/pages.ts";
import { EXACT_UNIT_BYTES, exactSequenceBytes } from "../plan/sizes.ts";
import { type AttentionWay, rowScores } from "../plan/steps.ts";
import type { StepGrid } from "./grids.ts";
import type { LayerCommands } from "./layer_commands.ts";
import { type PageRow, type PageRows, pageRuns } from "./page_rows.ts";
import type { Parameters } from "./parameters.ts";
import type { Recorder } from "./recorder.ts";
import type { RestoredContent } from "./restored_content.ts";
import type { Growth, SequenceState } from "./sequences.ts";
import type { CacheSpans } from "./spans.ts";
import type { StepEntryParameters } from "./uniforms.ts";

/** How a step is cut: its phase, and its splits by kind of layer. */
export interface StepCut {
  readonly way: AttentionWay;
  readonly splits: readonly number[];
}

/**
 * The commands of all layers together. All of them run in the host's encoder.
 */
export class CacheCommands {
  readonly layers: readonly LayerCommands[];
  /** Those with keys and values of their own. */
  readonly own: readonly LayerCommands[];
  readonly parameters: Parameters;
  readonly #options: ResolvedOptions;
  readonly #pageRows: PageRows;
  readonly #spans: CacheSpans;

  constructor(
    options: ResolvedOptions,
    layers: readonly LayerCommands[],
    parameters: Parameters,
    pageRows: PageRows,
    spans: CacheSpans,
  ) {
    this.#options = options;
    this.layers = layers;
    this.own = layers.filter((_, layer) => isOwn(options.layers[layer]!, layer));
    this.parameters = parameters;
    this.#pageRows = pageRows;
    this.#spans = spans;
  }

  /**
   * Writes the parameters of a step of these sequences, one set for each kind of splits, and those
   * of their spans.
   */
  step(growths: readonly Growth[], firsts: readonly number[], { way, splits }: StepCut): StepGrid {
    const most = Math.max(...growths.map(({ tokens }) => tokens));
    const rows = growths.map(({ tokens, spans }, i) => ({ tokens, first: firsts[i]!, spans }));
    const { shares: spans, partials, partialStride } = this.#spans
      .share(this.parameters, rows, way, splits);
    const scoreStride = rowScores(this.#options);
    const shares = splits.map((own) => {
      const entries = growths.map(
        ({ state, start, tokens, codedBefore, exactFrom }, i): StepEntryParameters => ({
          slot: state.slot,
          start,
          count: tokens,
          first: firsts[i]!,
          encodeFrom: codedBefore,
          exactFrom,
          firstPartial: partials[i]!,
          partials: partials[i]! + own,
        }),
      );
      // Spans' results lie beside those of all layers alike.
      const place = this.parameters
        .write(entries, { splits: own, scoreStride, partialStride: partialStride ?? own });
      return { place, splits: own };
    });
    return {
      place: shares[0]!.place,
      entries: growths.length,
      most,
      coded: growths,
      way,
      shares,
      spans,
    };
  }

  /**
   * What a step needs before its first layer: pages in tables, copies of pages, restored sequences
   * in place.
   */
  prepare(recorder: Recorder, growths: readonly Growth[]): void {
    for (const { state, restored, restoredSpans } of growths) {
      if (restored !== undefined) this.restore(recorder, state, restored, this.own);
      for (const { state: span, content } of restoredSpans) {
        span.room.restore(recorder, span, content);
      }
    }
    const each = this.#options.positions;
    this.#pageRows.put(
      recorder,
      growths.flatMap(({ state: { slot, positions }, placed, start, tokens }) =>
        Array.from({ length: each }, (_, i) => ({
          word: positionStart(this.#options, slot, i) + placed,
          numbers: positions.slice(each * placed, each * (start + tokens))
            .filter((_, at) => at % each === i),
        }))
      ),
    );
    this.#options.pageTables.forEach((_, table) => {
      const rows = growths.flatMap(({ state, tables }) => {
        const { row } = tables[table]!;
        return row === undefined ? [] : [{ state, row }];
      });
      this.rows(recorder, table, rows);
      const copies = growths.flatMap(({ tables }) => {
        const { copied } = tables[table]!;
        return copied === undefined ? [] : [{ slot: copied.from, start: copied.to, count: 1 }];
      });
      for (const grid of this.parameters.batches(copies)) {
        for (const layer of this.own) {
          if (layer.pageTable !== table) continue;
          layer.copy(recorder, "keyRecords", grid);
          layer.copy(recorder, "valueRecords", grid);
        }
      }
    });
  }

  /** Writes rows of a page table. */
  rows(
    recorder: Recorder,
    table: number,
    rows: readonly { readonly state: SequenceState; readonly row: PageRow }[],
  ): void {
    this.#pageRows.write(recorder, table, rows.map(({ state: { slot }, row }) => ({ slot, row })));
  }

  /** Writes what may be out of date of a sequence's row of a page table, for commands between steps. */
  staleRow(recorder: Recorder, state: SequenceState, table: number): void {
    const { first, pages, staleFrom } = state.tables[table]!;
    if (staleFrom >= first + pages.length) return;
    const from = Math.max(staleFrom, first);
    this.rows(recorder, table, [{ state, row: { from, pages: pages.slice(from - first) } }]);
  }

  /** Puts what was restored of a sequence in place, in some layers. */
  restore(
    recorder: Recorder,
    { slot, tables }: SequenceState,
    restored: RestoredContent,
    layers: readonly LayerCommands[],
  ): void {
    for (const layer of layers) {
      const index = this.layers.indexOf(layer);
      const content = restored.layers[index]!;
      const { first, pages: held } = tables[layer.pageTable]!;
      // A step that was undone may have freed pages behind a sliding window.
      const passed = first - restored.first[layer.pageTable]!;
      const pages = pageRuns(held)
        .map(({ page, index, count }) => ({ slot: passed + index, start: page, count }));
      for (const grid of this.parameters.batches(pages)) {
        layer.restore(recorder, "keyRecords", grid, content);
        layer.restore(recorder, "valueRecords", grid, content);
      }
      const own = this.#options.layers[index]!;
      const count = exactSequenceBytes(this.#options, own, 1) / EXACT_UNIT_BYTES;
      for (const grid of this.parameters.batches([{ slot: 0, start: slot * count, count }])) {
        layer.restore(recorder, "exact", grid, content);
      }
    }
  }

  /** Copies the exact tiers of sequences to their forks. */
  fork(
    recorder: Recorder,
    forks: readonly { readonly from: SequenceState; readonly to: SequenceState }[],
  ): void {
    for (const from of new Set(forks.map(({ from }) => from))) {
      // The forks share its pages, and get a copy of its exact tier.
      if (from.restored !== undefined) this.restore(recorder, from, from.restored, this.own);
      for (const span of from.spans) {
        if (span.restored !== undefined) span.room.restore(recorder, span, span.restored);
      }
    }
    const units = forks.map(({ from, to }) => ({ slot: from.slot, start: to.slot, count: 1 }));
    for (const grid of this.parameters.batches(units)) {
      for (const layer of this.own) layer.copy(recorder, "exact", grid);
    }
  }
}
