/** How far a step has come in each layer. */

/** The step was begun, */
const BEGUN = 0;
/** appended, so that it may attend, */
const APPENDED = 1;
/**
 * or passed: a later step of one of its sequences was appended, whose tokens attention would find.
 */
const PASSED = 2;

/**
 * How far a step has come in each layer: begun, then appended, then passed by a later step of one
 * of its sequences.
 */
export class StepProgress {
  readonly #layers: Uint8Array;
  #missing: number;

  /**
   * @param layers Layers of the model.
   * @param own Those that have keys and values of their own, and are given tokens.
   */
  constructor(layers: number, own: number = layers) {
    this.#layers = new Uint8Array(layers);
    this.#missing = own;
  }

  /** Whether every layer was given the step's tokens. */
  get isComplete(): boolean {
    return this.#missing === 0;
  }

  /** Whether a layer was given the step's tokens. */
  isAppended(layer: number): boolean {
    return this.#layers[layer] !== BEGUN;
  }

  /** Whether a layer was given a later step's tokens, too. */
  isPassed(layer: number): boolean {
    return this.#layers[layer] === PASSED;
  }

  /** A layer is given the step's tokens. */
  append(layer: number): void {
    this.#layers[layer] = APPENDED;
    this.#missing--;
  }

  /** A layer is given a later step's tokens. */
  pass(layer: number): void {
    this.#layers[layer] = PASSED;
  }
}
