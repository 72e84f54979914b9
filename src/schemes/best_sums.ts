/**
 * The best extensions of some sums by one more centroid each, as a beam search keeps them: those of
 * the largest gains, largest first. Of equal ones the first that was offered stays first.
 */
export class BestSums {
  /** `[width]`, of which `kept` are in use, as of the others. */
  readonly gains: Float64Array;
  /** The sum that each extends. */
  readonly parents: Uint16Array;
  /** The code that it adds. */
  readonly codes: Uint16Array;
  /** How many there are. */
  kept = 0;

  /** @param width The most that are kept. */
  constructor(width: number) {
    this.gains = new Float64Array(width);
    this.parents = new Uint16Array(width);
    this.codes = new Uint16Array(width);
  }

  /** Keeps an extension where it is among the best. */
  offer(gain: number, parent: number, code: number): void {
    const { gains, parents, codes } = this;
    const width = gains.length;
    if (this.kept === width && gain <= gains[width - 1]!) return;
    let place = this.kept === width ? width - 1 : this.kept++;
    for (; place > 0 && gain > gains[place - 1]!; place--) {
      gains[place] = gains[place - 1]!;
      parents[place] = parents[place - 1]!;
      codes[place] = codes[place - 1]!;
    }
    gains[place] = gain;
    parents[place] = parent;
    codes[place] = code;
  }
}
