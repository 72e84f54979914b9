/** Parameters of kernels, written into places of their own. */
import { STEP_ENTRIES } from "../kernels/constants.ts";
import type { EntryGrid } from "./grids.ts";
import type { ParameterPlace, StepPlaces } from "./step_places.ts";
import { type StepEntryParameters, stepParameters, type StepRows } from "./uniforms.ts";

/**
 * Entries of kernels that copy: `slot` and `start` are places, `count` their number. The rest is
 * not used.
 */
export type Units = Pick<StepEntryParameters, "slot" | "start" | "count">;

/** How rows lie where kernels have none. */
const NO_ROWS: StepRows = { splits: 1, scoreStride: 0, partialStride: 0 };

/** Writes the parameters of kernels. */
export class Parameters {
  readonly #places: StepPlaces;

  constructor(places: StepPlaces) {
    this.#places = places;
  }

  /** Writes parameters of kernels that attend. */
  write(entries: readonly StepEntryParameters[], rows: StepRows): ParameterPlace {
    return this.#places.write(stepParameters(entries, rows));
  }

  /** Writes parameters of one kind of entries. */
  entries(entries: readonly StepEntryParameters[]): EntryGrid {
    return {
      place: this.write(entries, NO_ROWS),
      entries: entries.length,
      most: Math.max(...entries.map(({ count }) => count)),
    };
  }

  /** Any number of entries, in batches that fit the parameters. */
  *batches(entries: readonly StepEntryParameters[]): Generator<EntryGrid> {
    for (let at = 0; at < entries.length; at += STEP_ENTRIES) {
      yield this.entries(entries.slice(at, at + STEP_ENTRIES));
    }
  }

  /** The buffer that parameters go into now. */
  get buffer(): GPUBuffer {
    return this.#places.buffer;
  }
}
