/** Lets long work on the CPU be aborted, and yields to other work. */

/** Milliseconds of work between two pauses. */
const STRETCH = 30;

/** Pauses long work at intervals. */
export class Pace {
  readonly #signal: AbortSignal | undefined;
  #last = performance.now();

  /** @param signal Aborts the work. */
  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
  }

  /**
   * Call it often: it yields to other work when it is time, and throws the signal's reason after an
   * abort.
   */
  async pause(): Promise<void> {
    if (performance.now() - this.#last > STRETCH) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      this.#last = performance.now();
    }
    this.#signal?.throwIfAborted();
  }
}
