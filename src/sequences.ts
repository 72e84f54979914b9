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
    const slot = this.#freeSlots.at(-1);
    if (slot === undefined) {
      throw new CoupletError("capacity", {
        what: "Cannot create a sequence",
        why: `all ${this.#options.capacity.sequences} planned sequences are alive`,
        remedy: "Free one, or plan more (capacity.sequences)",
      });
    }
    const coded = codedTokens(this.#options, { length, exactFrom });
    const pages = this.#pool.take(pagesFor(coded));
    this.#freeSlots.pop();
    const sequence = { id: this.#nextId++ };
    this.#states.set(sequence, { slot, length, exactFrom, pages });
    return sequence;
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
   * Checks a step and takes the pages it needs; all of it or nothing.
   *
   * @returns For each entry its state before the step; lengths have advanced.
   */
  grow(entries: readonly { readonly sequence: Sequence; readonly tokens: number }[]): {
    readonly state: SequenceState;
    readonly start: number;
    readonly codedBefore: number;
    readonly codedAfter: number;
    readonly newPages: boolean;
  }[] {
    this.#check(entries);
    const growth = entries.map(({ sequence, tokens }) => {
      const state = this.state(sequence);
      const codedAfter = codedTokens(this.#options, {
        length: state.length + tokens,
        exactFrom: state.exactFrom,
      });
      return {
        state,
        tokens,
        start: state.length,
        codedBefore: codedTokens(this.#options, state),
        codedAfter,
        pages: pagesFor(codedAfter) - state.pages.length,
      };
    });
    const pages = this.#pool.take(growth.reduce((sum, entry) => sum + entry.pages, 0));
    return growth.map(({ pages: wanted, tokens, ...entry }) => {
      entry.state.pages.push(...pages.splice(0, wanted));
      entry.state.length += tokens;
      return { ...entry, newPages: wanted > 0 };
    });
  }

  #check(entries: readonly { readonly sequence: Sequence; readonly tokens: number }[]): void {
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
