import { type KeySpace, type Side, SIDES } from "@couplet/kv";
import type { Inspection } from "../demo/evaluate.ts";
import type { ForwardResult, ModelConfig } from "../engine/mod.ts";
import { rotateHeads } from "../engine/rotate_heads.ts";
import type { CodedContexts } from "./coded_contexts.ts";
import { joinFloats } from "../../src/base/join_floats.ts";
import { LogitErrors } from "./logit_error.ts";
import type { CodingErrorFigures, LogitErrorFigures } from "./figures/results.ts";

/** What is kept of a context: its keys and values as a cache got them, and the queries it was asked. */
type Kept = Side | "queries";

/** The vectors of one context, `[layer][heads * headDim * token]` in pieces. */
type Pieces = Record<Kept, Float32Array<ArrayBuffer>[][]>;

/** What codes lose, by layer and head. */
export interface CodingErrorsOfRun {
  readonly codingError: readonly CodingErrorFigures[];
  readonly logitError: readonly LogitErrorFigures[];
}

/** Keeps the queries, keys and values of a model's runs, to compare them with what is decoded of the codes. */
export class CodingErrors implements Inspection {
  readonly read = { queries: true, keys: true, values: true } as const;
  readonly #config: ModelConfig;
  readonly #contexts: number;
  readonly #firstRun: number;
  readonly #kept = new Map<number, Pieces[]>();

  /**
   * @param contexts How many of the first contexts are compared.
   * @param firstRun The first run that is compared.
   */
  constructor(config: ModelConfig, contexts: number, firstRun: number) {
    this.#config = config;
    this.#contexts = contexts;
    this.#firstRun = firstRun;
  }

  onStep(run: number, tokens: number, result: ForwardResult): void {
    if (run < this.#firstRun) return;
    const { layers, queryHeads, keyValueHeads, headDim } = this.#config;
    let kept = this.#kept.get(run);
    if (kept === undefined) {
      const none = () => Array.from({ length: layers }, () => []);
      kept = Array.from(
        { length: this.#contexts },
        () => ({ queries: none(), keys: none(), values: none() }),
      );
      this.#kept.set(run, kept);
    }
    for (const [context, pieces] of kept.entries()) {
      for (const kind of ["queries", ...SIDES] as const) {
        const size = tokens * (kind === "queries" ? queryHeads : keyValueHeads) * headDim;
        result[kind]!.forEach((rows, layer) =>
          pieces[kind][layer]!.push(rows.slice(context * size, (context + 1) * size))
        );
      }
    }
  }

  /**
   * Squared errors of the coded vectors over their energies around their mean, by layer, side and KV head, and what
   * the keys' errors change of the logits; nothing where no token is coded.
   */
  async measure(run: number, coded: CodedContexts): Promise<CodingErrorsOfRun> {
    const { layers, keyValueHeads, headDim } = this.#config;
    const codingError: CodingErrorFigures[] = [];
    const logitError: LogitErrorFigures[] = [];
    for (let layer = 0; layer < layers; layer++) {
      const logits = new LogitErrors(this.#config);
      for (const side of SIDES) {
        const errors = new Float64Array(keyValueHeads);
        const measured: Float32Array<ArrayBuffer>[] = [];
        for (const [context, pieces] of this.#kept.get(run)!.entries()) {
          const found = await coded.decode(context, layer, side);
          if (found === undefined) continue;
          const { first, vectors: decoded } = found;
          const plain = joinFloats(pieces[side][layer]!);
          const given = this.#asCoded(plain, side, coded.keySpace);
          const start = first * keyValueHeads * headDim;
          // Before the rotary embedding in any space: it leaves lengths alone, and turns what vectors have in common.
          measured.push(plain.subarray(start, start + decoded.length));
          const differences = new Float32Array(plain.length);
          for (let i = 0; i < decoded.length; i++) {
            const difference = decoded[i]! - given[start + i]!;
            differences[start + i] = difference;
            errors[Math.floor(i / headDim) % keyValueHeads]! += difference ** 2;
          }
          if (side === "keys") {
            logits.add(joinFloats(pieces.queries[layer]!), differences, coded);
          }
        }
        const energies = energiesAroundMean(joinFloats(measured), keyValueHeads, headDim);
        errors.forEach((error, head) => {
          if (energies[head]! > 0) {
            codingError.push({ layer, side, head, error: error / energies[head]! });
          }
        });
      }
      logits.errors().forEach((error, head) => logitError.push({ layer, head, error }));
    }
    this.#kept.delete(run);
    return { codingError, logitError };
  }

  /** A context's vectors in the space the codes are of. */
  #asCoded(
    vectors: Float32Array<ArrayBuffer>,
    side: Side,
    space: KeySpace,
  ): Float32Array<ArrayBuffer> {
    const { keyValueHeads, headDim } = this.#config;
    if (side === "values" || space !== "as-scored") return vectors;
    const tokens = vectors.length / (keyValueHeads * headDim);
    return rotateHeads(vectors, [tokens], keyValueHeads, this.#config);
  }
}

/**
 * Energies of vectors without what they have in common, by KV head: a constant of the model, such as a bias of some hundreds,
 * would make any error small beside it.
 *
 * @param vectors `[tokens][keyValueHeads][headDim]`.
 */
export function energiesAroundMean(
  vectors: Float32Array,
  keyValueHeads: number,
  headDim: number,
): Float64Array {
  const channels = keyValueHeads * headDim;
  const tokens = vectors.length / channels;
  const energies = new Float64Array(keyValueHeads);
  for (let channel = 0; channel < channels; channel++) {
    let sum = 0;
    for (let token = 0; token < tokens; token++) sum += vectors[token * channels + channel]!;
    const mean = sum / tokens;
    for (let token = 0; token < tokens; token++) {
      energies[Math.floor(channel / headDim)]! += (vectors[token * channels + channel]! - mean) **
        2;
    }
  }
  return energies;
}
