import type { Checkpoint } from "./checkpoint.ts";
import type { HeadRow, StepPlan } from "./step_plan.ts";
import type { ForwardEntry, ReadOptions } from "./forward_entry.ts";

/** What a forward pass read back. */
export interface ForwardResult {
  /** Per entry `[tokens][vocabularySize]`, or `[vocabularySize]` with `last`. */
  readonly logits?: readonly Float32Array<ArrayBuffer>[];
  /** Per entry, natural logarithm: element i is the loss of predicting token i + 1 (or `nextTokenId`). */
  readonly losses?: readonly Float32Array<ArrayBuffer>[];
  /** Per entry `[tokens]`: log-sum-exp of each token's logits. */
  readonly logSumExps?: readonly Float32Array<ArrayBuffer>[];
  /** Per layer `[tokens of all entries][queryHeads][headDim]`. */
  readonly queries?: readonly Float32Array<ArrayBuffer>[];
  /** Per layer `[tokens of all entries][keyValueHeads][headDim]`. */
  readonly keys?: readonly Float32Array<ArrayBuffer>[];
  /** Per layer `[tokens of all entries][keyValueHeads][headDim]`. */
  readonly values?: readonly Float32Array<ArrayBuffer>[];
}

type HeadKind = "queries" | "keys" | "values";

/** Puts what the steps read back where the result wants it. */
export class ResultBuilder<Sequence> {
  /** What is asked for. */
  readonly read: ReadOptions;
  readonly #checkpoint: Checkpoint;
  readonly #entries: readonly ForwardEntry<Sequence>[];
  /** Tokens of the entries before each. */
  readonly #offsets: readonly number[];
  readonly #logits: Float32Array<ArrayBuffer>[];
  readonly #losses: Float32Array<ArrayBuffer>[];
  readonly #logSumExps: Float32Array<ArrayBuffer>[];
  readonly #heads: Record<HeadKind, Float32Array<ArrayBuffer>[]>;

  constructor(
    checkpoint: Checkpoint,
    entries: readonly ForwardEntry<Sequence>[],
    read: ReadOptions,
  ) {
    this.read = read;
    this.#checkpoint = checkpoint;
    this.#entries = entries;
    const { vocabularySize, layers } = checkpoint.config;
    let tokens = 0;
    this.#offsets = entries.map(({ tokenIds }) => (tokens += tokenIds.length) - tokenIds.length);
    const perEntry = (wanted: unknown, length: (entry: ForwardEntry<Sequence>) => number) =>
      wanted ? entries.map((entry) => new Float32Array(length(entry))) : [];
    this.#logits = perEntry(
      read.logits,
      ({ tokenIds }) => (read.logits === "all" ? tokenIds.length : 1) * vocabularySize,
    );
    this.#losses = perEntry(
      read.losses,
      ({ tokenIds, nextTokenId }) => tokenIds.length - (nextTokenId === undefined ? 1 : 0),
    );
    this.#logSumExps = perEntry(read.losses, ({ tokenIds }) => tokenIds.length);
    const perLayer = (kind: HeadKind) =>
      read[kind]
        ? Array.from({ length: layers }, () => new Float32Array(tokens * this.width(kind)))
        : [];
    this.#heads = {
      queries: perLayer("queries"),
      keys: perLayer("keys"),
      values: perLayer("values"),
    };
  }

  /** Channels per token of a kind of heads. */
  width(kind: HeadKind): number {
    const { queryHeads, keyValueHeads, headDim } = this.#checkpoint.config;
    return (kind === "queries" ? queryHeads : keyValueHeads) * headDim;
  }

  /** Takes one layer's queries, keys or values of a step. */
  addHeads(kind: HeadKind, layer: number, { segments }: StepPlan, rows: Float32Array): void {
    const width = this.width(kind);
    for (const { entry, start, count, row } of segments) {
      this.#heads[kind][layer]!.set(
        rows.subarray(row * width, (row + count) * width),
        (this.#offsets[entry]! + start) * width,
      );
    }
  }

  /** Takes the logits of some rows. */
  addLogits(rows: readonly HeadRow[], logits: Float32Array): void {
    const width = this.#checkpoint.config.vocabularySize;
    rows.forEach(({ entry, token }, i) => {
      const all = this.read.logits === "all";
      if (!all && token !== this.#entries[entry]!.tokenIds.length - 1) return;
      const row = logits.subarray(i * width, (i + 1) * width);
      this.#logits[entry]!.set(row, all ? token * width : 0);
    });
  }

  /** Takes pairs of loss and log-sum-exp of some rows. */
  addLosses(rows: readonly HeadRow[], pairs: Float32Array): void {
    rows.forEach(({ entry, token, target }, i) => {
      if (target !== undefined) this.#losses[entry]![token] = pairs[2 * i]!;
      this.#logSumExps[entry]![token] = pairs[2 * i + 1]!;
    });
  }

  /** What was asked for. */
  finish(): ForwardResult {
    const { read } = this;
    return {
      ...(read.logits ? { logits: this.#logits } : {}),
      ...(read.losses ? { losses: this.#losses, logSumExps: this.#logSumExps } : {}),
      ...(read.queries ? { queries: this.#heads.queries } : {}),
      ...(read.keys ? { keys: this.#heads.keys } : {}),
      ...(read.values ? { values: this.#heads.values } : {}),
    };
  }
}
