import {
  type Cache,
  parseScheme,
  recordWords,
  type Sequence,
  type Side,
  unpackRecords,
} from "@couplet/kv";
import { PAGE_TOKENS } from "../../src/kernels/constants.ts";
import { heldTokens } from "./held_tokens.ts";
import { isLearned } from "./methods.ts";
import { readBuffer } from "../../tools/read_buffer.ts";
import type { CodeUsageFigures } from "./figures/results.ts";

/** Most parts that the centroids of a codebook, sorted by use, are put together in. */
const MOST_PARTS = 32;

/** How often the centroids of each layer and side are used by the coded tokens of some sequences. */
export async function measureCodeUsage(
  device: GPUDevice,
  cache: Cache,
  sequences: readonly Sequence[],
): Promise<readonly CodeUsageFigures[]> {
  const figures: CodeUsageFigures[] = [];
  for (const [layer, policy] of cache.plan.options.layers.entries()) {
    for (const side of ["keys", "values"] as const) {
      if (!isLearned(policy[side])) continue;
      const counts = await countCodes(device, cache, sequences, layer, side);
      const tokens = sequences.reduce((sum, one) => sum + heldTokens(cache, one, layer).count, 0);
      if (tokens > 0) {
        figures.push({ layer, side, scheme: policy[side], tokens, ...summarizeUsage(counts) });
      }
    }
  }
  return figures;
}

/** Uses of every centroid, `[keyValueHeads * groups][centroids]`. */
async function countCodes(
  device: GPUDevice,
  cache: Cache,
  sequences: readonly Sequence[],
  layer: number,
  side: Side,
): Promise<readonly Uint32Array[]> {
  const own = cache.plan.options.layers[layer]!;
  const { centroids, layout: layoutOf } = parseScheme(own[side]);
  const layout = layoutOf(own.headDim);
  const pageWords = recordWords(layout, PAGE_TOKENS);
  const counts: Uint32Array[] = [];
  for (const { heads, keyRecords, valueRecords } of cache.buffers(layer).parts) {
    const words = new Uint32Array(
      await readBuffer(device, side === "keys" ? keyRecords : valueRecords),
    );
    for (let head = 0; head < heads.count; head++) {
      const own = Array.from({ length: layout.codes }, () => new Uint32Array(centroids));
      for (const sequence of sequences) {
        const { count, pages } = heldTokens(cache, sequence, layer);
        for (const [index, page] of pages.entries()) {
          const tokens = Math.min(PAGE_TOKENS, count - index * PAGE_TOKENS);
          if (tokens <= 0) break;
          const first = (page * heads.count + head) * pageWords;
          const codes = unpackRecords(layout, words.subarray(first, first + pageWords), tokens);
          codes.forEach((code, i) => {
            own[i % layout.codes]![code]!++;
          });
        }
      }
      counts.push(...own);
    }
  }
  return counts;
}

/**
 * What the uses of some codebooks of one size have in common.
 *
 * @param counts Uses of every centroid, by codebook.
 */
export function summarizeUsage(
  counts: readonly Uint32Array[],
): Pick<CodeUsageFigures, "dead" | "entropyBits" | "codeBits" | "uses"> {
  const size = counts[0]!.length;
  const parts = Math.min(size, MOST_PARTS);
  const uses = new Array<number>(parts).fill(0);
  let dead = 0;
  let entropy = 0;
  for (const codebook of counts) {
    const total = codebook.reduce((sum, count) => sum + count, 0);
    codebook.toSorted((a, b) => b - a).forEach((count, rank) => {
      if (count === 0) dead++;
      else entropy -= (count / total) * Math.log2(count / total);
      uses[Math.floor((rank * parts) / size)]! += (count / total) * (parts / counts.length);
    });
  }
  return {
    dead: dead / (counts.length * size),
    entropyBits: entropy / counts.length,
    codeBits: Math.log2(size),
    uses,
  };
}
