import type { RopeParameters } from "../model/model.ts";
import { NEAR_TOKENS } from "../kernels/constants.ts";
import { inverseFrequencies } from "../model/rope.ts";

/**
 * Cosines and sines of the distances the kernels rotate by, computed in float64: rows 0 to
 * NEAR_TOKENS - 1 hold a distance of as many tokens, row NEAR_TOKENS + n one of n tiles. A row
 * holds, for each four pairs, four cosines and then four sines. Where the embedding has sections,
 * the last row has the numbers of the pairs' sections in place of cosines.
 *
 * A distance is a near row plus a far row, by the addition theorems; so the rotary table stays
 * small and no kernel calls `sin` or `cos`, whose error WGSL does not bound for large angles.
 */
export function ropeTable(
  rope: RopeParameters,
  headDim: number,
  rows: number,
): Float32Array<ArrayBuffer> {
  const frequencies = inverseFrequencies(rope, headDim);
  const table = new Float32Array(rows * frequencies.length * 2);
  const place = (row: number, pair: number) =>
    row * frequencies.length * 2 + Math.floor(pair / 4) * 8 + (pair % 4);
  for (let row = 0; row < rows; row++) {
    const distance = row < NEAR_TOKENS ? row : (row - NEAR_TOKENS) * NEAR_TOKENS;
    for (let pair = 0; pair < frequencies.length; pair++) {
      const angle = distance * frequencies[pair]!;
      const at = place(row, pair);
      table[at] = Math.cos(angle);
      table[at + 4] = Math.sin(angle);
    }
  }
  rope.sections?.forEach((section, pair) => table[place(rows - 1, pair)] = section);
  return table;
}
