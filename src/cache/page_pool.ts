import { raise } from "../base/raise.ts";

/** Pages of a pool. */
export interface PageStats {
  /** All pages. */
  readonly total: number;
  /** Pages no sequence uses. */
  readonly free: number;
  /** Pages several sequences use. */
  readonly shared: number;
  /** Pages no sequence uses, but one would use again if its last step were undone. */
  readonly retained: number;
}

/**
 * Hands out the pages of a pool and counts who uses each. One page holds the same tokens in every
 * layer.
 *
 * A page that a sequence replaced by its own copy can be *retained*: the sequence uses it again if
 * the step that made the copy is undone. Others may still write behind the retained tokens, but the
 * page is not handed out again.
 */
export class PagePool {
  readonly #free: number[];
  readonly #users: Uint32Array;
  /** By page: how many sequences retain it, and how many of its first tokens they need. */
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
   * Whether a page's only user may write its tokens from the given one on.
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
   * Removes a user from each of the pages. Pages without users that are not retained become free.
   */
  give(pages: readonly number[]): void {
    for (const page of pages) {
      if (--this.#users[page]! === 0 && !this.#retained.has(page)) this.#free.push(page);
    }
  }

  /** Removes a user from a page, and retains its first `tokens` tokens for that user. */
  retain(page: number, tokens: number): void {
    const kept = this.#retained.get(page) ?? { count: 0, tokens: 0 };
    this.#retained.set(page, {
      count: kept.count + 1,
      tokens: Math.max(kept.tokens, tokens),
    });
    this.give([page]);
  }

  /** Ends the retention of a page. */
  release(page: number): void {
    const kept = this.#retained.get(page)!;
    if (--kept.count > 0) return;
    this.#retained.delete(page);
    if (this.#users[page] === 0) this.#free.push(page);
  }

  /** Uses a retained page again. */
  reclaim(page: number): void {
    this.share([page]);
    this.release(page);
  }
}
