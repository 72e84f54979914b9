/** Lets long work on the CPU be aborted and leaves time to everything else. */

/** Milliseconds of work between two pauses. */
const STRETCH = 30;

/** Pauses long work now and then. */
export class Pace {
  readonly #signal: AbortSignal | undefined;
  #last = performance.now();

  /** @param signal Aborts the work. */
  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
  }

  /**
   * To be called often: gives way where it is time to, and throws the signal's reason where it was
   * aborted.
   */
  async pause(): Promise<void> {
    if (performance.now() - this.#last > STRETCH) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      this.#last = performance.now();
    }
    this.#signal?.throwIfAborted();
  }
}
