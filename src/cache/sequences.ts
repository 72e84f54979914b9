/**
 * The sequences of a cache on the host's side: their lengths, pages and steps. Knows nothing of the
 * GPU.
 */
import { isOwn, type ResolvedOptions } from "../plan/options.ts";
import { firstKeptPage, poolPages, ringSlots } from "../plan/pages.ts";
import { describeValue } from "../base/describe_value.ts";
import { raise } from "../base/raise.ts";
import { PAGE_TOKENS, STEP_ENTRIES } from "../kernels/constants.ts";
import { PagePool } from "./page_pool.ts";
import type { PageRow } from "./page_rows.ts";
import type { RestoredContent } from "./restored_content.ts";
import type { SpanState } from "./span_room.ts";
import { StepProgress } from "./step_progress.ts";
import { checkPositions, newPositions, nextPosition } from "./token_positions.ts";

/** One sequence of a cache; opaque. */
export interface Sequence {
  /** Distinguishes the sequences of one cache, for display. */
  readonly id: number;
}

/**
 * Pages of a sequence in one page table: those of its coded tokens, without the oldest ones that a
 * sliding window has passed.
 */
export interface SequencePages {
  /** Number of earlier pages, which were freed. */
  readonly first: number;
  /** The pages from there on, in order, by their place in the pool. */
  readonly pages: readonly number[];
}

/** A sequence's pages in one page table, and what the device knows of them. */
interface PageTable {
  first: number;
  readonly pages: number[];
  /**
   * The first place in the sequence at which the device's page table may be out of date. Infinite
   * where it is up to date, or will be once the recorded steps run.
   */
  staleFrom: number;
}

/** What the host side knows of one sequence. */
export interface SequenceState {
  /** Its place in the page tables and exact tiers. */
  readonly slot: number;
  /** Tokens it holds, including those of steps that have begun. */
  length: number;
  /**
   * First position after the sinks that is held exactly. Above 0 only after a rollback beyond the
   * ring.
   */
  exactFrom: number;
  /**
   * One past the last position given to any layer. What lies a ring before it is overwritten there.
   */
  stored: number;
  /** Its pages in each page table. */
  readonly tables: readonly PageTable[];
  /** Its last step that every layer was given, and the steps begun since. */
  readonly steps: Growth[];
  /** Its content from a snapshot, until a step puts it in place. */
  restored: RestoredContent | undefined;
  /** Its spans, in the order they were added. */
  spans: readonly SpanState[];
  /** `[tokens][3]`: time, height and width of its tokens, where they have these. */
  readonly positions: number[];
  /** The number behind the largest of these, kept because every step of text asks for it. */
  nextPosition: number;
  /** The first token whose positions the device may not have. */
  placed: number;
}

/** One sequence's share of a step. */
export interface StepEntry {
  /** The sequence that grows. */
  readonly sequence: Sequence;
  /** Tokens it grows by, 1 to `capacity.appendTokens`. */
  readonly tokens: number;
  /**
   * `[3][tokens]`, where the rotary embedding has sections: their positions in time, height and
   * width, each below `capacity.sequenceTokens`. Defaults to what text has: the numbers that follow
   * the largest position of the sequence, the same three times.
   */
  readonly positions?: ArrayLike<number>;
}

/** What a step does to a sequence's pages in one page table. */
interface TableGrowth {
  /** Pages before, those given up included. */
  readonly end: number;
  /** A page that others use, and the one that takes its place and its content. */
  copied?: { readonly from: number; readonly to: number };
  /**
   * What the device's table must say before the step's tokens are encoded; absent where it does.
   */
  row?: PageRow;
}

/** A restored span's content, on its way to its place. */
export interface RestoredSpanContent {
  readonly state: SpanState;
  readonly content: NonNullable<SpanState["restored"]>;
}

/** What a step does to one sequence. */
export interface Growth {
  /** The sequence. */
  readonly sequence: Sequence;
  /** Its state. */
  readonly state: SequenceState;
  /** Tokens before. */
  readonly start: number;
  /** Tokens the step adds. */
  readonly tokens: number;
  /** First position after the sinks that is held exactly. */
  readonly exactFrom: number;
  /** Coded tokens before. */
  readonly codedBefore: number;
  /** Coded tokens after. */
  readonly codedAfter: number;
  /** What it does to each page table. */
  readonly tables: readonly TableGrowth[];
  /** The first token whose positions the step puts in place. */
  readonly placed: number;
  /** Restored content that the step puts in place first. */
  restored: RestoredContent | undefined;
  /** The spans that its queries see. */
  readonly spans: readonly SpanState[];
  /** Those of them that the step puts in place first, and their content. */
  restoredSpans: readonly RestoredSpanContent[];
  /** How far the step has come, shared by all its sequences. */
  readonly progress: StepProgress;
  /** Whether some of the step's tokens were removed, or the sequence was freed. */
  isVoid: boolean;
}

/**
 * Number of coded tokens of a sequence, sinks not counted: those a query at its end does not see
 * exactly.
 */
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

/** Where the first step began that some layer was not given; undefined where there is none. */
export function unfinishedFrom({ steps }: SequenceState): number | undefined {
  return steps.find(({ progress }) => !progress.isComplete)?.start;
}

/**
 * @throws {CoupletError} `usage`: something waits for a step of a sequence, from `start` on, to be
 * appended.
 */
export function refuseUnfinished(what: string, start: number, where: string): never {
  raise(
    "usage",
    what,
    `its step from ${start} on was not appended to ${where}`,
    `Append it first, or give it up: truncate the sequence to ${start} tokens`,
  );
}

/** The sequences of a cache, by handle, and the pages they use. */
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
   * Creates a sequence that already holds tokens, and takes its pages: all or nothing.
   *
   * @param firstPages For each page table the first page it is to hold.
   * @param restored What it holds.
   * @param spans Its spans.
   * @param positions `[tokens][3]`, where tokens have several.
   * @throws {CoupletError} `capacity` where it does not fit.
   */
  adopt(
    length: number,
    exactFrom: number,
    firstPages: readonly number[],
    restored?: RestoredContent,
    spans: readonly SpanState[] = [],
    positions: number[] = [],
  ): Sequence {
    const what = "Cannot hold a sequence";
    this.#checkPlanned(what, "it has", length, "sequenceTokens");
    checkPositions(what, this.#options, length, positions);
    this.requireSlots(1);
    const end = pagesFor(codedTokens(this.#options, { length, exactFrom }));
    const tables: PageTable[] = [];
    try {
      firstPages.forEach((first, table) => {
        tables.push({ first, pages: this.pools[table]!.take(end - first), staleFrom: 0 });
      });
    } catch (error) {
      this.#givePages(tables);
      throw error;
    }
    return this.#add({
      length,
      exactFrom,
      stored: length,
      tables,
      restored,
      spans,
      positions,
      nextPosition: nextPosition(positions),
      placed: 0,
    });
  }

  /** Whether a sequence is this cache's and alive. */
  isAlive(sequence: Sequence): boolean {
    return this.#states.has(sequence);
  }

  /** @throws {CoupletError} `usage` where the sequence was freed or is another cache's. */
  state(sequence: Sequence): SequenceState {
    const state = this.#states.get(sequence);
    if (state === undefined) {
      raise(
        "usage",
        "Cannot use a sequence",
        `sequence ${sequence?.id} was freed, or belongs to another cache`,
        "Use sequences of this cache until they are freed",
      );
    }
    return state;
  }

  /** Coded tokens of a sequence, counted behind the sinks. */
  coded(sequence: Sequence): number {
    return codedTokens(this.#options, this.state(sequence));
  }

  free(sequence: Sequence): void {
    const state = this.state(sequence);
    for (const growth of state.steps) {
      this.#settle(growth);
      growth.isVoid = true;
    }
    this.#givePages(state.tables);
    dropSpans(state, -1);
    this.#freeSlots.push(state.slot);
    this.#states.delete(sequence);
  }

  #givePages(tables: readonly PageTable[]): void {
    tables.forEach(({ pages }, table) => this.pools[table]!.give(pages));
  }

  /**
   * Removes the tokens from a length on.
   *
   * @param decodes Whether the tokens of a block that is cut are put into the exact tier.
   */
  truncate(sequence: Sequence, length: number, decodes = false): void {
    const state = this.checkRollback(sequence, length, decodes);
    if (length === state.length) return;
    const exactFrom = this.exactAfter(state, length, decodes);
    const coded = codedTokens(this.#options, { length, exactFrom });
    this.takeBack(state, length, coded);
    this.#shorten(state, length);
    state.exactFrom = exactFrom;
    state.stored = Math.min(state.stored, length);
    dropSpans(state, length);
    for (const growth of state.steps) growth.isVoid ||= growth.start + growth.tokens > length;
    state.tables.forEach((held, table) => {
      if (coded === 0) held.first = 0;
      this.pools[table]!.give(held.pages.splice(pagesFor(coded) - held.first));
    });
  }

  /** Takes the last tokens of a sequence off its end. */
  #shorten(state: SequenceState, length: number): void {
    state.length = length;
    state.placed = Math.min(state.placed, length);
    state.positions.length = length * this.#options.positions;
    state.nextPosition = nextPosition(state.positions);
  }

  /** Checks that a sequence can be rolled back to a length, and returns its state. */
  checkRollback(sequence: Sequence, length: number, decodes: boolean): SequenceState {
    const state = this.state(sequence);
    if (!Number.isInteger(length) || length < 0 || length > state.length) {
      raise(
        "usage",
        `Cannot truncate to ${describeValue(length)} tokens`,
        `sequence ${sequence.id} holds ${state.length}`,
        "Keep as many tokens as it holds, or fewer",
      );
    }
    const why = this.#rollbackObstacle(state, length, decodes);
    if (why !== undefined) {
      const kept = [length, length];
      const isRefused = (length: number) =>
        this.#rollbackObstacle(state, length, decodes) !== undefined;
      while (isRefused(kept[0]!)) kept[0]!--;
      while (isRefused(kept[1]!)) kept[1]!++;
      raise(
        "usage",
        `Cannot truncate sequence ${sequence.id} to ${length} tokens`,
        why,
        `Keep ${kept.join(" tokens, or ")}; a fork or a snapshot keeps what is to come back`,
      );
    }
    return state;
  }

  /**
   * The first position, sinks apart, that would be held exactly after a rollback.
   *
   * @param decodes Whether the tokens of a block that is cut are put into the exact tier.
   */
  exactAfter({ exactFrom, stored }: SequenceState, length: number, decodes = false): number {
    const first = Math.min(length, Math.max(exactFrom, stored - ringSlots(this.#options)));
    const coded = codedTokens(this.#options, { length, exactFrom: first });
    return decodes ? first - coded % this.#options.block : first;
  }

  /** Why a sequence cannot be rolled back to a length; undefined where it can. */
  #rollbackObstacle(state: SequenceState, length: number, decodes: boolean): string | undefined {
    if (length === state.length) return undefined;
    const { block, tiers, pageTables } = this.#options;
    const inside = state.steps.find(({ start, tokens, progress }) =>
      !progress.isComplete && start < length && length < start + tokens
    );
    if (inside !== undefined) {
      return `the step from ${inside.start} on was not appended to every layer`;
    }
    const exactFrom = this.exactAfter(state, length);
    const known = codedTokens(this.#options, { length, exactFrom });
    const cut = known % block;
    // What a query at the new end sees must not have been freed, and what is to be decoded.
    for (const [table, { first }] of state.tables.entries()) {
      const { slidingWindow } = pageTables[table]!;
      const seen = Math.max(0, length + 1 - slidingWindow - tiers.sinks);
      if (known > 0 && Math.min(seen, known - cut) < first * PAGE_TOKENS) {
        return `layers with a sliding window of ${slidingWindow} have given up what its end would see`;
      }
    }
    return cut === 0 || decodes
      ? undefined
      : `it cuts a block of ${block} tokens that is not held exactly, which takes encodeRollback()`;
  }

  /**
   * Undoes the steps that began at a length or later, as if they had never begun. The sequence
   * keeps its length.
   *
   * @param coded Coded tokens that are to stay. Those of a step that every layer was given are
   * needed where a later one has overwritten what is held exactly; no unfinished step has such
   * tokens.
   */
  takeBack(state: SequenceState, length: number, coded = 0): void {
    while ((state.steps.at(-1)?.start ?? -1) >= length) {
      const growth = state.steps.pop()!;
      growth.isVoid = true;
      state.placed = Math.min(state.placed, growth.placed);
      if (coded > growth.codedBefore) {
        this.#settle(growth);
        continue;
      }
      growth.tables.forEach(({ end, copied, row }, table) => {
        const held = state.tables[table]!;
        const pool = this.pools[table]!;
        pool.give(held.pages.splice(end - held.first));
        if (copied !== undefined) {
          held.pages[held.pages.length - 1] = copied.from;
          pool.reclaim(copied.from);
          pool.give([copied.to]);
        }
        if (row !== undefined) held.staleFrom = Math.min(held.staleFrom, row.from);
      });
      state.restored ??= growth.restored;
      for (const { state: span, content } of growth.restoredSpans) span.restored ??= content;
    }
  }

  /**
   * Creates a sequence that holds the same tokens and shares all pages.
   *
   * @throws {CoupletError} `capacity` where all planned sequences are alive.
   */
  fork(sequence: Sequence): Sequence {
    this.requireSlots(1);
    const state = this.state(sequence);
    for (const span of state.spans) span.users++;
    const tables = state.tables.map(({ first, pages }, table): PageTable => {
      this.pools[table]!.share(pages);
      return { first, pages: [...pages], staleFrom: 0 };
    });
    const positions = [...state.positions];
    return this.#add({ ...state, tables, positions, placed: 0, restored: undefined });
  }

  /**
   * Checks a step and takes the pages it needs: all or nothing. A page that the step writes to and
   * another sequence uses is replaced by a fresh one. Its content is copied later.
   *
   * @returns What the step does to each entry's sequence. Lengths have advanced.
   */
  grow(entries: readonly StepEntry[]): Growth[] {
    this.#check(entries);
    const progress = new StepProgress(
      this.#options.layers.length,
      this.#options.layers.filter(isOwn).length,
    );
    const growths: Growth[] = [];
    try {
      for (const { sequence, tokens, positions } of entries) {
        const state = this.state(sequence);
        const { length: start, exactFrom, placed } = state;
        const added = newPositions(this.#options, state.nextPosition, tokens, positions);
        const growth: Growth & { readonly tables: TableGrowth[] } = {
          sequence,
          state,
          start,
          tokens,
          exactFrom,
          codedBefore: codedTokens(this.#options, state),
          codedAfter: codedTokens(this.#options, { length: start + tokens, exactFrom }),
          tables: [],
          placed,
          restored: state.restored,
          spans: state.spans,
          restoredSpans: takeRestored(state.spans),
          progress,
          isVoid: false,
        };
        growths.push(growth);
        state.steps.push(growth);
        state.restored = undefined;
        state.length += tokens;
        for (const position of added) state.positions.push(position);
        state.nextPosition = Math.max(state.nextPosition, nextPosition(added));
        state.placed = state.length;
        this.pools.forEach((pool, table) => {
          const held = state.tables[table]!;
          const own: TableGrowth = { end: held.first + held.pages.length };
          growth.tables.push(own);
          growTable(pool, held, own, growth);
        });
      }
    } catch (error) {
      for (const { state, start } of growths.reverse()) {
        this.takeBack(state, start);
        this.#shorten(state, start);
      }
      throw error;
    }
    return growths;
  }

  /** A step was given to a layer: what lies a ring before its tokens is overwritten. */
  store({ state, start, tokens }: Growth): void {
    state.stored = Math.max(state.stored, start + tokens);
  }

  /**
   * A step was given to every layer: the step before is final, and pages behind sliding windows are
   * freed.
   */
  complete(growth: Growth): void {
    const { state, start, tokens } = growth;
    for (const before of state.steps.splice(0, state.steps.indexOf(growth))) this.#settle(before);
    state.tables.forEach((held, table) => {
      const unseen = firstKeptPage(this.#options, table, start + tokens) - held.first;
      if (unseen <= 0) return;
      this.pools[table]!.give(held.pages.splice(0, unseen));
      held.first += unseen;
    });
  }

  /** A sequence's steps become final, because later commands depend on them. */
  settle(sequence: Sequence): void {
    this.state(sequence).steps.forEach((growth) => this.#settle(growth));
  }

  /** Frees what is needed to undo a step. */
  #settle(growth: Growth): void {
    growth.restored = undefined;
    growth.restoredSpans = [];
    growth.tables.forEach((own, table) => {
      if (own.copied !== undefined) this.pools[table]!.release(own.copied.from);
      delete own.copied;
    });
  }

  /** @throws {CoupletError} `capacity` where fewer than `count` more sequences fit. */
  requireSlots(count: number): void {
    if (count <= this.#freeSlots.length) return;
    const { sequences } = this.#options.capacity;
    raise(
      "capacity",
      count === 1 ? "Cannot create a sequence" : `Cannot create ${count} sequences`,
      `${this.#states.size} of ${sequences} planned sequences are alive`,
      "Free one, or plan more (capacity.sequences)",
    );
  }

  #add(state: Omit<SequenceState, "slot" | "steps">): Sequence {
    const sequence = { id: this.#nextId++ };
    this.#states.set(sequence, { ...state, slot: this.#freeSlots.pop()!, steps: [] });
    return sequence;
  }

  #check(entries: readonly StepEntry[]): void {
    const what = "Cannot begin a step";
    if (entries.length === 0) raise("usage", what, "it has no entry", "Give it a sequence");
    if (entries.length > STEP_ENTRIES) {
      raise(
        "capacity",
        what,
        `it has ${entries.length} entries and a step holds ${STEP_ENTRIES}`,
        "Split the sequences over several steps",
      );
    }
    const total = entries.reduce((sum, { tokens }) => sum + tokens, 0);
    this.#checkPlanned(what, "it has", total, "stepTokens");
    if (new Set(entries.map(({ sequence }) => sequence)).size < entries.length) {
      raise("usage", what, "a sequence has two entries", "Give each sequence one entry");
    }
    for (const { sequence, tokens } of entries) {
      const { length } = this.state(sequence);
      const will = `sequence ${sequence.id} would`;
      if (!Number.isInteger(tokens) || tokens < 1) {
        raise(
          "capacity",
          what,
          `${will} grow by ${tokens} tokens`,
          "Let it grow by a whole number of 1 or more",
        );
      }
      this.#checkPlanned(what, `${will} grow by`, tokens, "appendTokens");
      this.#checkPlanned(what, `${will} hold`, length + tokens, "sequenceTokens");
    }
  }

  /** Checks a number of tokens against the plan's capacity. */
  #checkPlanned(
    what: string,
    has: string,
    tokens: number,
    name: "sequenceTokens" | "stepTokens" | "appendTokens",
  ): void {
    const planned = this.#options.capacity[name];
    if (tokens <= planned) return;
    raise(
      "capacity",
      what,
      `${has} ${tokens} tokens and ${planned} are planned`,
      `${
        name === "sequenceTokens" ? "Hold fewer" : "Split them over several steps"
      }, or plan more (capacity.${name})`,
    );
  }

  /**
   * Tokens whose codes lie in the pool of a page table. Shared pages count once.
   */
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

/** Takes the content of spans that are not in place. */
function takeRestored(spans: readonly SpanState[]): RestoredSpanContent[] {
  return spans.flatMap((state) => {
    const content = state.restored;
    state.restored = undefined;
    return content === undefined ? [] : [{ state, content }];
  });
}

/** Drops the spans of a sequence that were added when it had more than `length` tokens. */
function dropSpans(state: SequenceState, length: number): void {
  for (const span of state.spans) if (span.place > length) span.room.release(span);
  state.spans = state.spans.filter(({ place }) => place <= length);
}

/**
 * Takes the pages that a step needs in one page table, and notes in `own` what must be recorded for
 * them.
 */
function growTable(
  pool: PagePool,
  held: PageTable,
  own: TableGrowth,
  { codedBefore, codedAfter }: Growth,
): void {
  const { first, pages } = held;
  const written = codedBefore % PAGE_TOKENS;
  let from = Math.min(held.staleFrom, own.end);
  if (codedAfter > codedBefore && written > 0) {
    const last = pages.at(-1)!;
    if (!pool.mayWrite(last, written)) {
      const [to] = pool.take(1);
      pool.retain(last, written);
      pages[pages.length - 1] = to!;
      own.copied = { from: last, to: to! };
      from = Math.min(from, own.end - 1);
    }
  }
  pages.push(...pool.take(pagesFor(codedAfter) - own.end));
  from = Math.max(from, first);
  if (from < first + pages.length) own.row = { from, pages: pages.slice(from - first) };
  held.staleFrom = Infinity;
}
