/**
 * Which encoders a sequence's commands went into, to refuse an order in which they cannot run.
 */
import { raise } from "../base/raise.ts";
import { type CommandTarget, isPass } from "./command_target.ts";
import type { Sequence } from "./sequences.ts";

/** One sequence's encoders. */
interface Encoders {
  readonly last: CommandTarget;
  /** Those that came before. */
  readonly left: WeakSet<CommandTarget>;
}

/**
 * A sequence's commands must run in the order they were recorded in. An encoder runs as a whole:
 * once commands of a sequence went into another, no more may go into the first. Passes are not
 * checked, because a pass does not say which encoder it belongs to.
 */
export class EncoderOrder {
  readonly #encoders = new WeakMap<Sequence, Encoders>();

  /**
   * @throws {CoupletError} `usage` where a sequence's commands would go back into an encoder that
   * they have left for another.
   */
  check(target: CommandTarget, sequences: readonly Sequence[]): void {
    const left = sequences.find((sequence) => this.#encoders.get(sequence)?.left.has(target));
    if (left === undefined) return;
    raise(
      "usage",
      `Cannot record commands of sequence ${left.id} into this encoder`,
      "later ones were recorded into another, and each encoder runs as a whole",
      "Finish one encoder of a sequence before the next, and submit in that order",
    );
  }

  /** Commands of these sequences went into an encoder. */
  note(target: CommandTarget, sequences: readonly Sequence[]): void {
    if (isPass(target)) return;
    for (const sequence of sequences) {
      const known = this.#encoders.get(sequence);
      if (known?.last === target) continue;
      const left = known?.left ?? new WeakSet();
      if (known !== undefined) left.add(known.last);
      this.#encoders.set(sequence, { last: target, left });
    }
  }
}
