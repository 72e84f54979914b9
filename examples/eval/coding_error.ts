import { type Cache, type KeySpace, type Sequence, type Side, SIDES } from "@couplet/kv";
import type { Inspection } from "../demo/evaluate.ts";
import type { ForwardResult, LlamaConfig } from "../llama/mod.ts";
import { rotateHeads } from "../llama/rotate_heads.ts";
import { heldTokens } from "./held_tokens.ts";
import { readBuffer } from "../../tools/read_buffer.ts";
import type { CodingErrorFigures } from "./figures/results.ts";

/** Keys and values of one context as a cache got them, `[layer][keyValueHeads * headDim * token]` in pieces. */
type Pieces = Record<Side, Float32Array<ArrayBuffer>[][]>;

/** Keeps the keys and values that caches get, to compare them with what the caches decode. */
export class CodingErrors implements Inspection {
  readonly read = { keys: true, values: true } as const;
  readonly #config: LlamaConfig;
  readonly #contexts: number;
  readonly #firstRun: number;
  readonly #kept = new Map<number, Pieces[]>();

  /**
   * @param contexts How many of the first contexts are compared.
   * @param firstRun The first run that is compared.
   */
  constructor(config: LlamaConfig, contexts: number, firstRun: number) {
    this.#config = config;
    this.#contexts = contexts;
    this.#firstRun = firstRun;
  }

  onStep(run: number, tokens: number, result: ForwardResult): void {
    if (run < this.#firstRun) return;
    const { layers, keyValueHeads, headDim } = this.#config;
    let kept = this.#kept.get(run);
    if (kept === undefined) {
      const none = () => Array.from({ length: layers }, () => []);
      kept = Array.from({ length: this.#contexts }, () => ({ keys: none(), values: none() }));
      this.#kept.set(run, kept);
    }
    const size = tokens * keyValueHeads * headDim;
    for (const [context, pieces] of kept.entries()) {
      for (const side of SIDES) {
        result[side]!.forEach((rows, layer) =>
          pieces[side][layer]!.push(rows.slice(context * size, (context + 1) * size))
        );
      }
    }
  }

  /**
   * Squared errors of the coded vectors over their energies around their mean, by layer, side and KV head; nothing where
   * no token is coded.
   *
   * @param sequences The cache's, the first contexts' first.
   */
  async measure(
    device: GPUDevice,
    run: number,
    cache: Cache,
    sequences: readonly Sequence[],
  ): Promise<readonly CodingErrorFigures[]> {
    const { layers, keyValueHeads, headDim } = this.#config;
    const { keys: { space }, tiers: { sinks } } = cache.plan.options;
    const figures: CodingErrorFigures[] = [];
    for (let layer = 0; layer < layers; layer++) {
      for (const side of SIDES) {
        const errors = new Float64Array(keyValueHeads);
        const energies = new Float64Array(keyValueHeads);
        for (const [context, pieces] of this.#kept.get(run)!.entries()) {
          const sequence = sequences[context]!;
          const { first, count } = heldTokens(cache, sequence, layer);
          if (count === 0) continue;
          const coded = (sinks + first) * keyValueHeads * headDim;
          const plain = joined(pieces[side][layer]!);
          const given = this.#asCoded(plain, side, space).subarray(coded);
          // Before the rotary embedding in any space: it leaves lengths alone, and turns what vectors have in common.
          energiesAroundMean(plain.subarray(coded), count, keyValueHeads, headDim)
            .forEach((energy, head) => energies[head]! += energy);
          const decoded = await decode(device, cache, sequence, layer, side);
          decoded.forEach((value, i) => {
            const head = Math.floor(i / headDim) % keyValueHeads;
            errors[head]! += (value - given[i]!) ** 2;
          });
        }
        errors.forEach((error, head) => {
          if (energies[head]! > 0) {
            figures.push({ layer, side, head, error: error / energies[head]! });
          }
        });
      }
    }
    this.#kept.delete(run);
    return figures;
  }

  /** A context's vectors in the space the cache codes them in. */
  #asCoded(
    vectors: Float32Array<ArrayBuffer>,
    side: Side,
    space: KeySpace,
  ): Float32Array<ArrayBuffer> {
    const { keyValueHeads, headDim } = this.#config;
    if (side === "values" || space === "pre-rope") return vectors;
    const tokens = vectors.length / (keyValueHeads * headDim);
    return rotateHeads(vectors, [tokens], keyValueHeads, this.#config);
  }
}

/** Pieces in one. */
function joined(pieces: readonly Float32Array<ArrayBuffer>[]): Float32Array<ArrayBuffer> {
  const vectors = new Float32Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    vectors.set(piece, at);
    at += piece.length;
  }
  return vectors;
}

/**
 * Energies of vectors without what they have in common, by KV head: a constant of the model, such as a bias of some hundreds,
 * would make any error small beside it.
 *
 * @param vectors At least `[tokens][keyValueHeads][headDim]`.
 */
export function energiesAroundMean(
  vectors: Float32Array,
  tokens: number,
  keyValueHeads: number,
  headDim: number,
): Float64Array {
  const channels = keyValueHeads * headDim;
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

/** The coded tokens of a sequence that a layer holds, `[tokens][keyValueHeads][headDim]`, decoded. */
async function decode(
  device: GPUDevice,
  cache: Cache,
  sequence: Sequence,
  layer: number,
  side: Side,
): Promise<Float32Array> {
  const { shape: { headDim }, layers, tiers } = cache.plan.options;
  const { first, count } = heldTokens(cache, sequence, layer);
  const output = device.createBuffer({
    size: count * layers[layer]!.keyValueHeads * headDim * 4,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC,
  });
  const encoder = device.createCommandEncoder();
  cache.encodeRead(encoder, sequence, layer, {
    side,
    first: tiers.sinks + first,
    count,
    output: { buffer: output },
  });
  device.queue.submit([encoder.finish()]);
  const decoded = new Float32Array(await readBuffer(device, output));
  output.destroy();
  return decoded;
}
