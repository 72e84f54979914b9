import { raise } from "../base/raise.ts";

/** Pages of a pool. */
export interface PageStats {
  /** All of them. */
  readonly total: number;
  /** Those no sequence uses. */
  readonly free: number;
  /** Those several sequences use. */
  readonly shared: number;
  /** Those no sequence uses, but one would come back to, should its last step be taken back. */
  readonly retained: number;
}

/**
 * Hands out the pages of a pool and counts who uses each. One page holds the same tokens in every
 * layer.
 *
 * A page that a sequence left for a copy of its own can be *retained*: the sequence may come back
 * to it, should the step that made the copy be taken back. Others may go on writing to it behind
 * what is retained, but it is not handed out again.
 */
export class PagePool {
  readonly #free: number[];
  readonly #users: Uint32Array;
  /** By page: how many may come back, and how many of its first tokens they need. */
  readonly #retained = new Map<number, { count: number; tokens: number }>();

  /** @param pages Pages of the pool. */
  constructor(pages: number) {
    this.#users = new Uint32Array(pages);
    this.#free = Array.from({ length: pages }, (_, i) => pages - 1 - i);
  }

  /** Its pages, counted. */
  get stats(): PageStats {
    const users = [...this.#users];
    return {
      total: users.length,
      free: this.#free.length,
      shared: users.filter((count) => count > 1).length,
      retained: [...this.#retained.keys()].filter((page) => users[page] === 0).length,
    };
  }

  /**
   * Whether the one user of a page may write its tokens from the given one on: nobody else needs
   * them.
   */
  mayWrite(page: number, from: number): boolean {
    return this.#users[page] === 1 && from >= (this.#retained.get(page)?.tokens ?? 0);
  }

  /**
   * Takes `count` pages, each for one user.
   *
   * @throws {CoupletError} `capacity` where fewer are free; none is taken then.
   */
  take(count: number): number[] {
    if (count > this.#free.length) {
      const { total, free, retained } = this.stats;
      raise(
        "capacity",
        `Cannot take ${count} more pages`,
        `${free} of ${total} are free` +
          (retained > 0 ? `, and ${retained} kept until steps are followed by others` : ""),
        "Free or truncate a sequence, or plan more tokens (capacity.tokens)",
      );
    }
    const pages = Array.from({ length: count }, () => this.#free.pop()!);
    this.share(pages);
    return pages;
  }

  /** Adds a user to each of the pages. */
  share(pages: readonly number[]): void {
    for (const page of pages) this.#users[page]!++;
  }

  /**
   * Takes a user from each of the pages; those that have none left, and are not retained, are free
   * again.
   */
  give(pages: readonly number[]): void {
    for (const page of pages) {
      if (--this.#users[page]! === 0 && !this.#retained.has(page)) this.#free.push(page);
    }
  }

  /** Takes a user from a page, who may come back for its first `tokens` tokens. */
  retain(page: number, tokens: number): void {
    const kept = this.#retained.get(page) ?? { count: 0, tokens: 0 };
    this.#retained.set(page, {
      count: kept.count + 1,
      tokens: Math.max(kept.tokens, tokens),
    });
    this.give([page]);
  }

  /** Gives up coming back to a page. */
  release(page: number): void {
    const kept = this.#retained.get(page)!;
    if (--kept.count > 0) return;
    this.#retained.delete(page);
    if (this.#users[page] === 0) this.#free.push(page);
  }

  /** Comes back to a page. */
  reclaim(page: number): void {
    this.share([page]);
    this.release(page);
  }
}
