import { type Weight, weightValues } from "./weight.ts";

/** Outputs are padded with zeros to a multiple of it, so that they fill the blocks of a matrix. */
const ALIGNMENT = 8;

/**
 * Weights `[outputs][inputs]`, their outputs one after the other, as one weight `[inputs][outputs]`: the
 * gradient of `x` in `y = x W^T` is `y' W`, the same product with the transposed weight.
 */
export function transposed(weights: readonly Weight[]): Weight {
  const rows = weights.reduce((sum, { shape }) => sum + shape[0]!, 0);
  const columns = weights[0]!.shape[1]!;
  const stride = Math.ceil(rows / ALIGNMENT) * ALIGNMENT;
  const half = weights.every(({ dtype }) => dtype === "F16");
  // Halves are moved as they are.
  const target = half ? new Uint16Array(columns * stride) : new Float32Array(columns * stride);
  let first = 0;
  for (const weight of weights) {
    const source = half ? new Uint16Array(weight.data.slice().buffer) : weightValues(weight);
    for (let row = 0, from = 0; row < weight.shape[0]!; row++) {
      for (let column = 0; column < columns; column++, from++) {
        target[column * stride + first + row] = source[from]!;
      }
    }
    first += weight.shape[0]!;
  }
  return {
    name: `${weights[0]!.name}, transposed`,
    dtype: half ? "F16" : "F32",
    shape: [columns, stride],
    data: new Uint8Array(target.buffer),
  };
}
