import type { ResolvedOptions } from "./cache_options.ts";
import { firstKeptPage, poolPages, ringSlots, sequencePages } from "./cache_sizes.ts";
import { CoupletError } from "./errors.ts";
import { PAGE_TOKENS, STEP_ENTRIES } from "./kernel_constants.ts";
import { PagePool } from "./page_pool.ts";

/** One sequence of a cache; opaque. */
export interface Sequence {
  /** Distinguishes the sequences of one cache, for people. */
  readonly id: number;
}

/** Pages of a sequence in one page table: those of its coded tokens but for the oldest ones, where a sliding window has passed. */
export interface SequencePages {
  /** Pages that came before and were given up. */
  readonly first: number;
  /** The pages from there, in order, by their place in the pool. */
  readonly pages: readonly number[];
}

/** What the host side knows of one sequence. */
export interface SequenceState {
  /** Its place in the page tables and exact tiers. */
  readonly slot: number;
  /** Tokens it holds, those of a step begun included. */
  length: number;
  /** First position, sinks apart, that is held exactly; 0 but after a rollback beyond the ring. */
  exactFrom: number;
  /** How often tokens were taken back. */
  rollbacks: number;
  /** Its pages in each page table. */
  readonly tables: { first: number; pages: number[] }[];
}

/** One sequence's share of a step. */
export interface Growing {
  /** The sequence that grows. */
  readonly sequence: Sequence;
  /** Tokens it grows by. */
  readonly tokens: number;
}

/** A page whose content another is to take over. */
export interface PageCopy {
  /** The page table of both. */
  readonly pageTable: number;
  /** The page with the content. */
  readonly from: number;
  /** The page that gets it. */
  readonly to: number;
}

/** What a step does to one sequence. */
export interface Growth {
  /** The sequence, grown. */
  readonly state: SequenceState;
  /** Tokens before. */
  readonly start: number;
  /** Tokens the step adds. */
  readonly tokens: number;
  /** Coded tokens before. */
  readonly codedBefore: number;
  /** Coded tokens after. */
  readonly codedAfter: number;
  /** The page tables that changed. */
  readonly changed: readonly number[];
  /** The copies that must come before its tokens are encoded. */
  readonly copies: readonly PageCopy[];
}

/** Tokens of a sequence that are coded, counted behind the sinks: those no query at its end sees exactly. */
export function codedTokens(
  { tiers, block }: Pick<ResolvedOptions, "tiers" | "block">,
  { length, exactFrom }: Pick<SequenceState, "length" | "exactFrom">,
): number {
  const aged = Math.max(0, length - tiers.sinks - tiers.window);
  const lost = Math.min(exactFrom, length) - tiers.sinks;
  return Math.max(aged - aged % block, lost);
}

/** The pages a sequence needs for `coded` coded tokens. */
export function pagesFor(coded: number): number {
  return Math.ceil(coded / PAGE_TOKENS);
}

/** The sequences of a cache, by handle, and the pages they use. Knows nothing of the GPU. */
export class Sequences {
  /** The pool of each page table. */
  readonly pools: readonly PagePool[];
  readonly #options: ResolvedOptions;
  readonly #states = new Map<Sequence, SequenceState>();
  readonly #freeSlots: number[];
  #nextId = 0;

  constructor(options: ResolvedOptions) {
    this.#options = options;
    this.pools = options.pageTables.map((_, table) => new PagePool(poolPages(options, table)));
    const slots = options.capacity.sequences;
    this.#freeSlots = Array.from({ length: slots }, (_, i) => slots - 1 - i);
  }

  /** Sequences alive. */
  get count(): number {
    return this.#states.size;
  }

  /** Tokens of all sequences. */
  get tokens(): number {
    return [...this.#states.values()].reduce((sum, { length }) => sum + length, 0);
  }

  create(): Sequence {
    return this.adopt(0, 0, this.pools.map(() => 0));
  }

  /**
   * A sequence that already holds tokens, and its pages; all of it or nothing.
   *
   * @param firstPages For each page table the first page it is to hold.
   * @throws {CoupletError} `capacity` where it does not fit.
   */
  adopt(length: number, exactFrom: number, firstPages: readonly number[]): Sequence {
    if (length > this.#options.capacity.sequenceTokens) {
      throw new CoupletError("capacity", {
        what: `Cannot hold a sequence of ${length} tokens`,
        why: `${this.#options.capacity.sequenceTokens} are planned`,
        remedy: "Plan more (capacity.sequenceTokens)",
      });
    }
    const pages = pagesFor(codedTokens(this.#options, { length, exactFrom }));
    const counts = firstPages.map((first) => pages - first);
    this.#requirePages(counts);
    const slot = this.#takeSlot();
    const tables = firstPages.map((first, table) => ({
      first,
      pages: this.pools[table]!.take(counts[table]!),
    }));
    return this.#add({ slot, length, exactFrom, rollbacks: 0, tables });
  }

  /** Whether a sequence is this cache's and alive. */
  isAlive(sequence: Sequence): boolean {
    return this.#states.has(sequence);
  }

  /** @throws {CoupletError} `usage` where the sequence was freed or is another cache's. */
  state(sequence: Sequence): SequenceState {
    const state = this.#states.get(sequence);
    if (state === undefined) {
      throw new CoupletError("usage", {
        what: "Cannot use a sequence",
        why: `sequence ${sequence.id} was freed, or belongs to another cache`,
        remedy: "Use sequences of this cache's createSequence() until they are freed",
      });
    }
    return state;
  }

  /** Coded tokens of a sequence, counted behind the sinks. */
  coded(sequence: Sequence): number {
    return codedTokens(this.#options, this.state(sequence));
  }

  free(sequence: Sequence): void {
    const state = this.state(sequence);
    state.tables.forEach(({ pages }, table) => this.pools[table]!.give(pages));
    this.#freeSlots.push(state.slot);
    this.#states.delete(sequence);
  }

  truncate(sequence: Sequence, length: number): void {
    const state = this.state(sequence);
    if (!Number.isInteger(length) || length < 0 || length > state.length) {
      throw new CoupletError("usage", {
        what: `Cannot truncate to ${length} tokens`,
        why: `sequence ${sequence.id} holds ${state.length}`,
        remedy: "Keep from 0 to as many tokens as the sequence holds",
      });
    }
    if (length === state.length) return;
    const oldest = state.length - ringSlots(this.#options);
    const exactFrom = Math.min(length, Math.max(state.exactFrom, oldest));
    const coded = codedTokens(this.#options, { length, exactFrom });
    this.#checkRollback(sequence, length, coded);
    state.exactFrom = exactFrom;
    state.length = length;
    state.rollbacks++;
    state.tables.forEach((held, table) => {
      if (coded === 0) held.first = 0;
      this.pools[table]!.give(held.pages.splice(pagesFor(coded) - held.first));
    });
  }

  /** Checks that what a query at the new end sees is still there, whole blocks and pages behind a sliding window. */
  #checkRollback(sequence: Sequence, length: number, coded: number): void {
    const { block, tiers, pageTables } = this.#options;
    const what = `Cannot truncate sequence ${sequence.id} to ${length} tokens`;
    if (coded % block !== 0) {
      throw new CoupletError("usage", {
        what,
        why: `its last ${
          coded % block
        } coded tokens would be part of a block of ${block}, whose exact tokens are gone`,
        remedy: `Keep ${length - coded % block} tokens, or take back no more than a step may add`,
      });
    }
    this.state(sequence).tables.forEach(({ first }, table) => {
      if (coded === 0 || first === 0) return;
      const { slidingWindow } = pageTables[table]!;
      const seen = Math.max(0, length + 1 - slidingWindow - tiers.sinks);
      if (Math.min(seen, coded) < first * PAGE_TOKENS) {
        throw new CoupletError("usage", {
          what,
          why:
            `layers with a sliding window of ${slidingWindow} have given up what its last query would see`,
          remedy:
            "Take back no more tokens than a step may add (capacity.appendTokens), or all; or keep a fork or a snapshot",
        });
      }
    });
  }

  /**
   * A sequence that holds the same tokens and shares all pages.
   *
   * @throws {CoupletError} `capacity` where all planned sequences are alive.
   */
  fork(sequence: Sequence): Sequence {
    const { length, exactFrom, tables } = this.state(sequence);
    const slot = this.#takeSlot();
    tables.forEach(({ pages }, table) => this.pools[table]!.share(pages));
    const copies = tables.map(({ first, pages }) => ({ first, pages: [...pages] }));
    return this.#add({ slot, length, exactFrom, rollbacks: 0, tables: copies });
  }

  /**
   * Checks a step and takes the pages it needs; all of it or nothing. A page that the step writes to and another sequence uses is
   * replaced by a fresh one, to which its content is yet to be copied; pages that no query can see any more are given up.
   *
   * @returns For each entry its state before the step; lengths have advanced.
   */
  grow(entries: readonly Growing[]): Growth[] {
    this.#check(entries);
    const growing = entries.map(({ sequence, tokens }) => {
      const state = this.state(sequence);
      const { length, exactFrom } = state;
      const codedBefore = codedTokens(this.#options, state);
      const codedAfter = codedTokens(this.#options, { length: length + tokens, exactFrom });
      // Whether tokens are added to a page that has some.
      const fillsPage = codedAfter > codedBefore && codedBefore % PAGE_TOKENS !== 0;
      return { state, tokens, start: length, codedBefore, codedAfter, fillsPage };
    });
    this.#requirePages(
      this.pools.map((pool, table) =>
        growing.reduce((sum, { state, codedAfter, fillsPage }) => {
          const { first, pages } = state.tables[table]!;
          const copied = fillsPage && pool.isShared(pages.at(-1)!) ? 1 : 0;
          return sum + pagesFor(codedAfter) - first - pages.length + copied;
        }, 0)
      ),
    );
    return growing.map(({ fillsPage, ...growth }) => {
      const { state, tokens, codedAfter } = growth;
      state.length += tokens;
      const copies: PageCopy[] = [];
      const changed = this.pools.flatMap((pool, table) => {
        const held = state.tables[table]!;
        const copy = fillsPage ? replaceShared(pool, held.pages) : undefined;
        if (copy !== undefined) copies.push({ pageTable: table, ...copy });
        const added = pool.take(pagesFor(codedAfter) - held.first - held.pages.length);
        held.pages.push(...added);
        this.#recycle(state, table);
        return copy !== undefined || added.length > 0 ? [table] : [];
      });
      return { ...growth, changed, copies };
    });
  }

  /** Gives up the pages that lie behind a sliding window. */
  #recycle({ length, tables }: SequenceState, table: number): void {
    const held = tables[table]!;
    const unseen = firstKeptPage(this.#options, table, length) - held.first;
    if (unseen <= 0) return;
    this.pools[table]!.give(held.pages.splice(0, unseen));
    held.first += unseen;
  }

  /** @throws {CoupletError} `capacity` where a pool has fewer free pages than are to be taken from it. */
  #requirePages(counts: readonly number[]): void {
    counts.forEach((count, table) => this.pools[table]!.require(count));
  }

  /** @throws {CoupletError} `capacity` where fewer than `count` more sequences fit. */
  requireSlots(count: number): void {
    if (count <= this.#freeSlots.length) return;
    const { sequences } = this.#options.capacity;
    throw new CoupletError("capacity", {
      what: count === 1 ? "Cannot create a sequence" : `Cannot create ${count} sequences`,
      why: `${this.#states.size} of ${sequences} planned sequences are alive`,
      remedy: "Free one, or plan more (capacity.sequences)",
    });
  }

  #takeSlot(): number {
    this.requireSlots(1);
    return this.#freeSlots.pop()!;
  }

  #add(state: SequenceState): Sequence {
    const sequence = { id: this.#nextId++ };
    this.#states.set(sequence, state);
    return sequence;
  }

  #check(entries: readonly Growing[]): void {
    const { capacity } = this.#options;
    const refuse = (code: "capacity" | "usage", why: string, remedy: string): never => {
      throw new CoupletError(code, { what: "Cannot begin a step", why, remedy });
    };
    if (entries.length === 0) refuse("usage", "it has no entry", "Give it at least one sequence");
    if (entries.length > STEP_ENTRIES) {
      refuse(
        "capacity",
        `it has ${entries.length} entries and a step holds ${STEP_ENTRIES}`,
        "Split the sequences over several steps",
      );
    }
    const total = entries.reduce((sum, { tokens }) => sum + tokens, 0);
    if (total > capacity.stepTokens) {
      refuse(
        "capacity",
        `it has ${total} tokens and ${capacity.stepTokens} are planned`,
        "Split the tokens over several steps, or plan more (capacity.stepTokens)",
      );
    }
    if (new Set(entries.map(({ sequence }) => sequence)).size < entries.length) {
      refuse("usage", "a sequence has two entries", "Give each sequence one entry");
    }
    for (const { sequence, tokens } of entries) {
      const { length } = this.state(sequence);
      if (!Number.isInteger(tokens) || tokens < 1 || tokens > capacity.appendTokens) {
        refuse(
          "capacity",
          `sequence ${sequence.id} would grow by ${tokens} tokens, and 1 to ${capacity.appendTokens} are planned`,
          "Split the tokens over several steps, or plan more (capacity.appendTokens)",
        );
      }
      if (length + tokens > capacity.sequenceTokens) {
        refuse(
          "capacity",
          `sequence ${sequence.id} would hold ${
            length + tokens
          } tokens, and ${capacity.sequenceTokens} are planned`,
          "Truncate it, or plan more (capacity.sequenceTokens)",
        );
      }
    }
  }

  /** A sequence's row of one page table; behind a sliding window its first entries mean nothing. */
  pageRow({ tables }: SequenceState, table: number): Uint32Array<ArrayBuffer> {
    const { first, pages } = tables[table]!;
    const row = new Uint32Array(sequencePages(this.#options));
    row.set(pages, first);
    return row;
  }

  /** Tokens whose codes lie in the pool of a page table, each page counted once whoever shares it. */
  codedInPool(table: number): number {
    const tokens = new Map<number, number>();
    for (const state of this.#states.values()) {
      const coded = codedTokens(this.#options, state);
      const { first, pages } = state.tables[table]!;
      pages.forEach((page, i) => {
        const held = Math.min(PAGE_TOKENS, coded - (first + i) * PAGE_TOKENS);
        tokens.set(page, Math.max(held, tokens.get(page) ?? 0));
      });
    }
    return [...tokens.values()].reduce((sum, count) => sum + count, 0);
  }
}

/** Gives a sequence a fresh last page where others use it as well. */
function replaceShared(
  pool: PagePool,
  pages: number[],
): { readonly from: number; readonly to: number } | undefined {
  const from = pages.at(-1)!;
  // Where the others have left it in this very step, it is this sequence's own.
  if (!pool.isShared(from)) return undefined;
  const [to] = pool.take(1);
  pool.give([from]);
  pages[pages.length - 1] = to!;
  return { from, to: to! };
}
