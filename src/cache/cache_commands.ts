/**
 * Records what concerns several layers at once: page tables, copies of pages, forks, restored
 * sequences, parameters of steps.
 */
import { BoundKernel, NO_HOST } from "./bound_kernel.ts";
import type { ResolvedOptions } from "../plan/options.ts";
import { pageTableStart, sequencePages } from "../plan/pages.ts";
import { type AttentionWay, rowScores } from "../plan/steps.ts";
import { STEP_ENTRIES, WORKGROUP_SIZE } from "../kernels/constants.ts";
import type { EntryGrid, LayerCommands, StepGrid } from "./layer_commands.ts";
import type { CompiledKernel } from "./pipelines.ts";
import type { Recorder } from "./recorder.ts";
import type { RestoredContent } from "./restored_content.ts";
import type { Growth, PageRow, SequenceState } from "./sequences.ts";
import type { SharedBuffers } from "./shared_buffers.ts";
import { type ParameterPlace, StepPlaces } from "./step_places.ts";
import { type StepEntryParameters, stepParameters } from "./uniforms.ts";

/**
 * Entries of kernels that copy: `slot` and `start` are places, `count` their number. The rest is
 * not used.
 */
type Units = Pick<StepEntryParameters, "slot" | "start" | "count">;

/**
 * Pages that follow one another in the pool, `index` being the first one's place in the sequence.
 */
export interface PageRun {
  readonly page: number;
  readonly index: number;
  readonly count: number;
}

/** Runs of pages that follow one another. */
export function pageRuns(pages: readonly number[]): PageRun[] {
  const runs: { page: number; index: number; count: number }[] = [];
  pages.forEach((page, index) => {
    const last = runs.at(-1);
    if (last !== undefined && page === last.page + last.count) last.count++;
    else runs.push({ page, index, count: 1 });
  });
  return runs;
}

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
  readonly #options: ResolvedOptions;
  readonly #places: StepPlaces;
  readonly #pageTable: BoundKernel;

  constructor(
    device: GPUDevice,
    options: ResolvedOptions,
    layers: readonly LayerCommands[],
    pageTable: CompiledKernel,
    { pages, steps }: SharedBuffers,
  ) {
    this.#options = options;
    this.layers = layers;
    this.#places = new StepPlaces(device, steps);
    this.#pageTable = new BoundKernel(
      device,
      pageTable,
      (name) => name === "pages_written" ? pages : undefined,
    );
  }

  /** Writes parameters of one kind of entries. */
  entries(entries: readonly StepEntryParameters[]): EntryGrid {
    return {
      place: this.#write(entries, 1),
      entries: entries.length,
      most: Math.max(...entries.map(({ count }) => count)),
    };
  }

  /** Writes the parameters of a step of these sequences, one set for each kind of splits. */
  step(growths: readonly Growth[], firsts: readonly number[], { way, splits }: StepCut): StepGrid {
    const entries = growths.map(
      ({ state, start, tokens, codedBefore, exactFrom }, i): StepEntryParameters => ({
        slot: state.slot,
        start,
        count: tokens,
        first: firsts[i]!,
        encodeFrom: codedBefore,
        exactFrom,
      }),
    );
    const shares = splits.map((own) => ({ place: this.#write(entries, own), splits: own }));
    return {
      place: shares[0]!.place,
      entries: entries.length,
      most: Math.max(...growths.map(({ tokens }) => tokens)),
      coded: growths,
      way,
      shares,
    };
  }

  #write(entries: readonly StepEntryParameters[], splits: number): ParameterPlace {
    return this.#places.write(stepParameters(entries, splits, rowScores(this.#options)));
  }

  /** Any number of units, in batches that fit the parameters. */
  *#units(units: readonly Units[]): Generator<EntryGrid> {
    for (let at = 0; at < units.length; at += STEP_ENTRIES) {
      yield this.entries(units.slice(at, at + STEP_ENTRIES));
    }
  }

  /**
   * What a step needs before its first layer: pages in tables, copies of pages, restored sequences
   * in place.
   */
  prepare(recorder: Recorder, growths: readonly Growth[]): void {
    for (const { state, restored } of growths) {
      if (restored !== undefined) this.restore(recorder, state, restored, this.layers);
    }
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
      for (const grid of this.#units(copies)) {
        for (const layer of this.layers) {
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
    const start = pageTableStart(this.#options, table);
    const runs = rows.flatMap(({ state, row: { from, pages } }) => {
      const word = start + state.slot * sequencePages(this.#options) + from;
      return pageRuns(pages)
        .map(({ page, index, count }) => ({ slot: word + index, start: page, count }));
    });
    for (const { place, entries, most } of this.#units(runs)) {
      const groups = Math.ceil(most / WORKGROUP_SIZE);
      this.#pageTable.dispatch(recorder, place, NO_HOST, groups, entries, 1);
    }
  }

  /** Puts what was restored of a sequence in place, in some layers. */
  restore(
    recorder: Recorder,
    { slot, tables }: SequenceState,
    restored: RestoredContent,
    layers: readonly LayerCommands[],
  ): void {
    const exact = [{ slot: 0, start: slot, count: 1 }];
    for (const layer of layers) {
      const content = restored.layers[this.layers.indexOf(layer)]!;
      const { first, pages: held } = tables[layer.pageTable]!;
      // A step that was undone may have freed pages behind a sliding window.
      const passed = first - restored.first[layer.pageTable]!;
      const pages = pageRuns(held)
        .map(({ page, index, count }) => ({ slot: passed + index, start: page, count }));
      for (const grid of this.#units(pages)) {
        layer.restore(recorder, "keyRecords", grid, content);
        layer.restore(recorder, "valueRecords", grid, content);
      }
      for (const grid of this.#units(exact)) layer.restore(recorder, "exact", grid, content);
    }
  }

  /** Copies the exact tiers of sequences to their forks. */
  fork(
    recorder: Recorder,
    forks: readonly { readonly from: SequenceState; readonly to: SequenceState }[],
  ): void {
    for (const from of new Set(forks.map(({ from }) => from))) {
      // The forks share its pages, and get a copy of its exact tier.
      if (from.restored !== undefined) this.restore(recorder, from, from.restored, this.layers);
    }
    const units = forks.map(({ from, to }) => ({ slot: from.slot, start: to.slot, count: 1 }));
    for (const grid of this.#units(units)) {
      for (const layer of this.layers) layer.copy(recorder, "exact", grid);
    }
  }

  /** The buffer that parameters go into now. */
  get parameters(): GPUBuffer {
    return this.#places.buffer;
  }
}
