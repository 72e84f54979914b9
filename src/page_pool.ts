import { CoupletError } from "./errors.ts";

/** Hands out the pages of a pool, lowest first. One page holds the same tokens in every layer. */
export class PagePool {
  readonly #free: number[];
  readonly #pages: number;

  /** @param pages Pages of the pool. */
  constructor(pages: number) {
    this.#pages = pages;
    this.#free = Array.from({ length: pages }, (_, i) => pages - 1 - i);
  }

  /** Pages not in use. */
  get free(): number {
    return this.#free.length;
  }

  /** Pages in all. */
  get pages(): number {
    return this.#pages;
  }

  /**
   * Takes `count` pages.
   *
   * @throws {CoupletError} `capacity` where fewer are free; none is taken then.
   */
  take(count: number): number[] {
    if (count > this.#free.length) {
      throw new CoupletError("capacity", {
        what: `Cannot take ${count} more pages`,
        why: `${this.#free.length} of ${this.#pages} are free`,
        remedy: "Free or truncate a sequence, or plan more tokens (capacity.tokens)",
      });
    }
    return Array.from({ length: count }, () => this.#free.pop()!);
  }

  /** Gives pages back. */
  give(pages: readonly number[]): void {
    for (const page of pages) this.#free.push(page);
  }
}
