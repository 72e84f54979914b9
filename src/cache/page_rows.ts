/** Writes rows of page tables, and tokens' positions behind them. */
import { BoundKernel, NO_HOST } from "./bound_kernel.ts";
import { WORKGROUP_SIZE } from "../kernels/constants.ts";
import type { ResolvedOptions } from "../plan/options.ts";
import { pageTableStart, sequencePages } from "../plan/pages.ts";
import type { Parameters } from "./parameters.ts";
import type { CompiledKernel } from "./pipelines.ts";
import type { Recorder } from "./recorder.ts";

/** Entries of one slot's row of a page table. */
export interface PageRow {
  /** The place of the first one. */
  readonly from: number;
  /** The pages from there. */
  readonly pages: readonly number[];
}

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

/** Rows of the page tables of a cache, or of a kind of span. */
export class PageRows {
  readonly #options: ResolvedOptions;
  readonly #parameters: Parameters;
  readonly #kernel: BoundKernel;

  /** @param pages The buffer of the page tables. */
  constructor(
    device: GPUDevice,
    options: ResolvedOptions,
    kernel: CompiledKernel,
    pages: GPUBuffer,
    parameters: Parameters,
  ) {
    this.#options = options;
    this.#parameters = parameters;
    this.#kernel = new BoundKernel(
      device,
      kernel,
      (name) => name === "pages_written" ? pages : undefined,
    );
  }

  /** Writes rows of slots in a page table. */
  write(
    recorder: Recorder,
    table: number,
    rows: readonly { readonly slot: number; readonly row: PageRow }[],
  ): void {
    const start = pageTableStart(this.#options, table);
    this.put(
      recorder,
      rows.map(({ slot, row: { from, pages } }) => ({
        word: start + slot * sequencePages(this.#options) + from,
        numbers: pages,
      })),
    );
  }

  /** Writes numbers from some words on. */
  put(
    recorder: Recorder,
    rows: readonly { readonly word: number; readonly numbers: readonly number[] }[],
  ): void {
    const runs = rows.flatMap(({ word, numbers }) =>
      pageRuns(numbers)
        .map(({ page, index, count }) => ({ slot: word + index, start: page, count }))
    );
    for (const { place, entries, most } of this.#parameters.batches(runs)) {
      this.#kernel.dispatch(recorder, place, NO_HOST, Math.ceil(most / WORKGROUP_SIZE), entries, 1);
    }
  }
}
