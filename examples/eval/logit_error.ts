import type { ModelConfig } from "../engine/mod.ts";
import { rotateHeads } from "../engine/rotate_heads.ts";
import { seesExactly } from "../../src/reference/attention.ts";
import type { CodedContexts } from "./coded_contexts.ts";

/** Queries of a context whose logits are compared, at most, spread evenly. */
const MOST_QUERIES = 64;

/**
 * What errors of the keys of one layer change of the logits of its own queries, by KV head: the root mean square over
 * queries and the tokens they see. The mean of a query's differences is removed, because softmax does not feel a
 * constant; a token that a query sees exactly differs by nothing.
 */
export class LogitErrors {
  readonly #config: ModelConfig;
  readonly #squares: Float64Array;
  #pairs = 0;

  constructor(config: ModelConfig) {
    this.#config = config;
    this.#squares = new Float64Array(config.keyValueHeads);
  }

  /**
   * Adds a context.
   *
   * @param queries `[tokens][queryHeads][headDim]`, before the rotary embedding.
   * @param differences `[tokens][keyValueHeads][headDim]`, decoded keys without the given ones, in the space they are coded
   * in; zeros where a key is not coded.
   */
  add(
    queries: Float32Array<ArrayBuffer>,
    differences: Float32Array<ArrayBuffer>,
    { keySpace, tiers, block }: Pick<CodedContexts, "keySpace" | "tiers" | "block">,
  ): void {
    const { queryHeads, keyValueHeads, headDim } = this.#config;
    const tokens = queries.length / (queryHeads * headDim);
    const asked = rotateHeads(queries, [tokens], queryHeads, this.#config);
    const changed = keySpace === "as-scored"
      ? differences
      : rotateHeads(differences, [tokens], keyValueHeads, this.#config);
    const sharing = queryHeads / keyValueHeads;
    const count = Math.min(MOST_QUERIES, tokens);
    for (let i = 1; i <= count; i++) {
      const position = Math.floor((i * tokens) / count) - 1;
      const coded = Array.from({ length: position + 1 }, (_, token) => token)
        .filter((token) => !seesExactly(tiers, position, token, 0, block));
      for (let head = 0; head < queryHeads; head++) {
        const keyHead = Math.floor(head / sharing);
        const query = (position * queryHeads + head) * headDim;
        let sum = 0;
        let squares = 0;
        for (const token of coded) {
          const key = (token * keyValueHeads + keyHead) * headDim;
          let dot = 0;
          for (let c = 0; c < headDim; c++) dot += asked[query + c]! * changed[key + c]!;
          sum += dot;
          squares += dot ** 2;
        }
        this.#squares[keyHead]! += (squares - sum ** 2 / (position + 1)) / headDim;
      }
      this.#pairs += sharing * (position + 1);
    }
  }

  /** The errors of all contexts so far, by KV head; none without contexts. */
  errors(): readonly number[] {
    return this.#pairs === 0
      ? []
      : Array.from(this.#squares, (squares) => Math.sqrt(Math.max(0, squares) / this.#pairs));
  }
}
