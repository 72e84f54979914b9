/**
 * Files of vectors with their records, by an independent float64 implementation: `tests/schemes/fixtures/*.safetensors`.
 */
import assert from "node:assert/strict";
import { readSafetensors, type Scheme, schemeCodec } from "../../mod.ts";
import { fromFloat16Array } from "../../src/base/float16.ts";
import { recordWords } from "../../src/records/layout.ts";

/** A tensor's numbers, and its sizes. */
export interface OracleTensor {
  readonly shape: readonly number[];
  readonly numbers: ArrayLike<number>;
}

/** Reads the tensors of a file by name. */
export async function readOracle(name: string): Promise<(tensor: string) => OracleTensor> {
  const url = new URL(`../schemes/fixtures/${name}.safetensors`, import.meta.url);
  const { tensors } = readSafetensors(await Deno.readFile(url));
  return (tensor) => {
    const { dtype, shape, data } = tensors.get(tensor)!;
    const { buffer } = data.slice();
    switch (dtype) {
      case "F16":
        return { shape, numbers: fromFloat16Array(new Uint16Array(buffer)) };
      case "U16":
        return { shape, numbers: new Uint16Array(buffer) };
      case "U32":
        return { shape, numbers: new Uint32Array(buffer) };
      case "F32":
        return { shape, numbers: new Float32Array(buffer) };
      case "F64":
        return { shape, numbers: new Float64Array(buffer) };
      default:
        throw new Error(`${tensor} is ${dtype}`);
    }
  };
}

/** The rows of a tensor `[..., columns]`. */
export function rowsOf({ shape, numbers }: OracleTensor): Float64Array<ArrayBuffer>[] {
  const columns = shape.at(-1)!;
  return Array.from(
    { length: numbers.length / columns },
    (_, row) => Float64Array.from({ length: columns }, (_, i) => numbers[row * columns + i]!),
  );
}

/** Encodes consecutive vectors of one KV head, whole blocks, into their records. */
export function encodeRecords(
  scheme: Scheme,
  vectors: readonly Float64Array<ArrayBuffer>[],
): Uint32Array<ArrayBuffer> {
  const layout = scheme.layout(vectors[0]!.length);
  const words = new Uint32Array(recordWords(layout, vectors.length));
  for (let first = 0; first < vectors.length; first += scheme.block) {
    const record = words.subarray(Math.floor(first / layout.tokens) * layout.words);
    schemeCodec(scheme).encode(
      vectors.slice(first, first + scheme.block),
      record,
      first % layout.tokens,
      { centroids: [] },
    );
  }
  return words;
}

/** Decodes what {@linkcode encodeRecords} encoded. */
export function decodeRecords(
  scheme: Scheme,
  words: Uint32Array<ArrayBuffer>,
  tokens: number,
  headDim: number,
): Float64Array<ArrayBuffer>[] {
  const layout = scheme.layout(headDim);
  return Array.from({ length: tokens }, (_, token) => {
    const record = words.subarray(Math.floor(token / layout.tokens) * layout.words);
    return schemeCodec(scheme).decode(record, token % layout.tokens, headDim, { centroids: [] });
  });
}

/**
 * Checks the scores and outputs of attention to decoded vectors, over all tokens of a file, without a mask and at the
 * usual scale.
 */
export function checkAttention(
  oracle: (tensor: string) => OracleTensor,
  keys: readonly Float64Array<ArrayBuffer>[],
  values: readonly Float64Array<ArrayBuffer>[],
): void {
  const product = (a: Float64Array, b: Float64Array) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
  const [scores, outputs] = ["scores", "output"].map((name) => rowsOf(oracle(name)));
  rowsOf(oracle("queries")).forEach((query, row) => {
    const found = keys.map((key) => product(query, key) / Math.sqrt(query.length));
    const top = Math.max(...found);
    const weights = found.map((score) => Math.exp(score - top));
    const sum = weights.reduce((a, b) => a + b);
    const output = query.map((_, channel) =>
      weights.reduce((mixed, weight, token) => mixed + weight / sum * values[token]![channel]!, 0)
    );
    for (const [found_, wanted] of [[found, scores![row]!], [output, outputs![row]!]] as const) {
      const most = Math.max(1, ...wanted.map(Math.abs));
      found_.forEach((number, i) => assert.ok(Math.abs(number - wanted[i]!) < 1e-9 * most));
    }
  });
}
