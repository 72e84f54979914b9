import type { ResolvedOptions } from "./cache_options.ts";
import { sequencePages } from "./cache_sizes.ts";
import { CoupletError } from "./errors.ts";
import { PAGE_TOKENS, STEP_ENTRIES } from "./kernel_constants.ts";
import type { PagePool } from "./page_pool.ts";

/** One sequence of a cache; opaque. */
export interface Sequence {
  /** Distinguishes the sequences of one cache, for people. */
  readonly id: number;
}

/** What the host side knows of one sequence. */
export interface SequenceState {
  /** Its place in the page tables and exact tiers. */
  readonly slot: number;
  /** Tokens it holds, those of a step begun included. */
  length: number;
  /** First position, sinks apart, that is held exactly; 0 but after a rollback beyond the ring. */
  exactFrom: number;
  /** Its pages in order. */
  readonly pages: number[];
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
  /** Coded tokens before. */
  readonly codedBefore: number;
  /** Coded tokens after. */
  readonly codedAfter: number;
  /** Whether its page table changed. */
  readonly newPages: boolean;
  /** The copy that must come before its tokens are encoded. */
  readonly copy?: PageCopy;
}

/** Tokens of a sequence that are coded, counted behind the sinks: those no query at its end sees exactly. */
export function codedTokens(
  { tiers }: ResolvedOptions,
  { length, exactFrom }: Pick<SequenceState, "length" | "exactFrom">,
): number {
  const aged = length - tiers.sinks - tiers.window;
  const lost = Math.min(exactFrom, length) - tiers.sinks;
  return Math.max(0, aged, lost);
}

/** The pages a sequence needs for `coded` coded tokens. */
export function pagesFor(coded: number): number {
  return Math.ceil(coded / PAGE_TOKENS);
}

/** The sequences of a cache, by handle. Knows nothing of the GPU. */
export class Sequences {
  readonly #options: ResolvedOptions;
  readonly #pool: PagePool;
  readonly #states = new Map<Sequence, SequenceState>();
  readonly #freeSlots: number[];
  #nextId = 0;

  constructor(options: ResolvedOptions, pool: PagePool) {
    this.#options = options;
    this.#pool = pool;
    const slots = options.capacity.sequences;
    this.#freeSlots = Array.from({ length: slots }, (_, i) => slots - 1 - i);
  }

  /** Sequences alive. */
  get count(): number {
    return this.#states.size;
  }

  create(): Sequence {
    return this.adopt(0, 0);
  }

  /**
   * A sequence that already holds tokens, and its pages; all of it or nothing.
   *
   * @throws {CoupletError} `capacity` where it does not fit.
   */
  adopt(length: number, exactFrom: number): Sequence {
    if (length > this.#options.capacity.sequenceTokens) {
      throw new CoupletError("capacity", {
        what: `Cannot hold a sequence of ${length} tokens`,
        why: `${this.#options.capacity.sequenceTokens} are planned`,
        remedy: "Plan more (capacity.sequenceTokens)",
      });
    }
    const slot = this.#takeSlot();
    try {
      const pages = this.#pool.take(pagesFor(codedTokens(this.#options, { length, exactFrom })));
      return this.#add({ slot, length, exactFrom, pages });
    } catch (error) {
      this.#freeSlots.push(slot);
      throw error;
    }
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
    this.#pool.give(state.pages);
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
    const { tiers, capacity } = this.#options;
    const oldest = state.length - tiers.window - capacity.appendTokens;
    state.exactFrom = Math.min(length, Math.max(state.exactFrom, oldest));
    state.length = length;
    this.#pool.give(state.pages.splice(pagesFor(codedTokens(this.#options, state))));
  }

  /**
   * A sequence that holds the same tokens and shares all pages.
   *
   * @throws {CoupletError} `capacity` where all planned sequences are alive.
   */
  fork(sequence: Sequence): Sequence {
    const { length, exactFrom, pages } = this.state(sequence);
    const slot = this.#takeSlot();
    this.#pool.share(pages);
    return this.#add({ slot, length, exactFrom, pages: [...pages] });
  }

  /**
   * Checks a step and takes the pages it needs; all of it or nothing. A page that the step writes to and
   * another sequence uses is replaced by a fresh one, to which its content is yet to be copied.
   *
   * @returns For each entry its state before the step; lengths have advanced.
   */
  grow(entries: readonly Growing[]): Growth[] {
    this.#check(entries);
    const growth = entries.map(({ sequence, tokens }) => {
      const state = this.state(sequence);
      const { length, exactFrom } = state;
      const codedBefore = codedTokens(this.#options, state);
      const codedAfter = codedTokens(this.#options, { length: length + tokens, exactFrom });
      const writesPart = codedAfter > codedBefore && codedBefore % PAGE_TOKENS !== 0;
      return {
        state,
        tokens,
        start: length,
        codedBefore,
        codedAfter,
        part: writesPart ? state.pages.length - 1 : -1,
        pages: pagesFor(codedAfter) - state.pages.length,
      };
    });
    const added = this.#pool.take(growth.reduce((sum, { pages }) => sum + pages, 0));
    const copies = this.#replaceShared(growth, added);
    return growth.map(({ pages, tokens, part: _, ...entry }, i) => {
      entry.state.pages.push(...added.splice(0, pages));
      entry.state.length += tokens;
      const copy = copies[i];
      return {
        ...entry,
        newPages: pages > 0 || copy !== undefined,
        ...(copy === undefined ? {} : { copy }),
      };
    });
  }

  /** Replaces the shared ones of the pages a step writes to; on failure gives `added` back. */
  #replaceShared(
    growth: readonly { readonly state: SequenceState; readonly part: number }[],
    added: readonly number[],
  ): (PageCopy | undefined)[] {
    const shared = growth.filter(({ state, part }) =>
      part >= 0 && this.#pool.isShared(state.pages[part]!)
    );
    let fresh: number[];
    try {
      fresh = this.#pool.take(shared.length);
    } catch (error) {
      this.#pool.give(added);
      throw error;
    }
    return growth.map((entry) => {
      if (!shared.includes(entry)) return undefined;
      const { state, part } = entry;
      const from = state.pages[part]!;
      const to = fresh.pop()!;
      if (!this.#pool.isShared(from)) {
        // The others have left it in this very step, so that it is this sequence's own.
        this.#pool.give([to]);
        return undefined;
      }
      this.#pool.give([from]);
      state.pages[part] = to;
      return { from, to };
    });
  }

  #takeSlot(): number {
    const slot = this.#freeSlots.pop();
    if (slot === undefined) {
      throw new CoupletError("capacity", {
        what: "Cannot create a sequence",
        why: `all ${this.#options.capacity.sequences} planned sequences are alive`,
        remedy: "Free one, or plan more (capacity.sequences)",
      });
    }
    return slot;
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

  /** The page table row of a sequence. */
  pageRow(state: SequenceState): Uint32Array<ArrayBuffer> {
    const row = new Uint32Array(sequencePages(this.#options));
    row.set(state.pages);
    return row;
  }
}
