import { CoupletError } from "./errors.ts";

/** Hands out the pages of a pool and counts who uses each. One page holds the same tokens in every layer. */
export class PagePool {
  readonly #free: number[];
  readonly #users: Uint16Array;

  /** @param pages Pages of the pool. */
  constructor(pages: number) {
    this.#users = new Uint16Array(pages);
    this.#free = Array.from({ length: pages }, (_, i) => pages - 1 - i);
  }

  /** Pages not in use. */
  get free(): number {
    return this.#free.length;
  }

  /** Pages in all. */
  get pages(): number {
    return this.#users.length;
  }

  /** Pages that several sequences use. */
  get shared(): number {
    return this.#users.reduce((count, users) => count + (users > 1 ? 1 : 0), 0);
  }

  /** Whether several sequences use a page. */
  isShared(page: number): boolean {
    return this.#users[page]! > 1;
  }

  /** @throws {CoupletError} `capacity` where fewer than `count` pages are free. */
  require(count: number): void {
    if (count <= this.#free.length) return;
    throw new CoupletError("capacity", {
      what: `Cannot take ${count} more pages`,
      why: `${this.#free.length} of ${this.pages} are free`,
      remedy: "Free or truncate a sequence, or plan more tokens (capacity.tokens)",
    });
  }

  /**
   * Takes `count` pages, each for one user.
   *
   * @throws {CoupletError} `capacity` where fewer are free; none is taken then.
   */
  take(count: number): number[] {
    this.require(count);
    const pages = Array.from({ length: count }, () => this.#free.pop()!);
    this.share(pages);
    return pages;
  }

  /** Adds a user to each of the pages. */
  share(pages: readonly number[]): void {
    for (const page of pages) this.#users[page]!++;
  }

  /** Takes a user from each of the pages; those that have none left are free again. */
  give(pages: readonly number[]): void {
    for (const page of pages) {
      if (--this.#users[page]! === 0) this.#free.push(page);
    }
  }
}
