/** Caches to take snapshots of, and to restore them into. */
import {
  type Cache,
  type CacheOptions,
  type CacheStats,
  type CodebookSet,
  createCache,
  type ModelFingerprint,
  planCache,
  type Sequence,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { seededRandom } from "../../src/base/random.ts";
import { uploadBuffer } from "./cache_oracle.ts";
import { gridCodebooks, gridVectors } from "./grid_numbers.ts";
import { readBuffer } from "../../tools/read_buffer.ts";

/** A cache with codebooks of grid vectors, the same ones for the same seed. */
export async function gridCache(
  device: GPUDevice,
  options: CacheOptions,
  { seed = 1, codebooks = gridCodebooks(options, seededRandom(seed), true), ...init }: {
    readonly seed?: number;
    readonly model?: ModelFingerprint;
    readonly codebooks?: CodebookSet;
    readonly sinkLogits?: Float32Array<ArrayBuffer>;
  } = {},
): Promise<Cache> {
  return await createCache({
    device,
    plan: planCache({ ...options, kernels: manifest }),
    codebooks,
    ...init,
  });
}

/** Appends tokens whose vectors depend on `seed` and their position alone; gives attention's outputs by layer where wanted. */
export async function feed(
  device: GPUDevice,
  cache: Cache,
  sequence: Sequence,
  tokens: number,
  { seed = 1, attend = false, step = tokens, positions }: {
    readonly seed?: number;
    readonly attend?: boolean;
    readonly step?: number;
    /** Those of all tokens, in one step. */
    readonly positions?: ArrayLike<number>;
  } = {},
): Promise<Float32Array[]> {
  const { layers } = cache.plan.options;
  const outputs: Float32Array[] = [];
  for (let done = 0; done < tokens; done += step) {
    const count = Math.min(step, tokens - done);
    const start = cache.length(sequence);
    const begun = cache.beginStep([{ sequence, tokens: count, ...(positions && { positions }) }]);
    for (const [layer, own] of layers.entries()) {
      const { queryHeads, keyValueHeads, headDim, valueHeadDim } = own;
      const vectors = (what: number, heads: number, headDim: number) => {
        const all = new Float32Array(count * heads * headDim);
        for (let token = 0; token < count; token++) {
          const random = seededRandom(((seed * 1000 + start + token) * 8 + layer) * 4 + what);
          all.set(gridVectors(random, heads * headDim), token * heads * headDim);
        }
        return uploadBuffer(device, all);
      };
      const keys = vectors(0, keyValueHeads, headDim);
      const values = vectors(1, keyValueHeads, valueHeadDim);
      const buffers = [keys, values];
      const encoder = device.createCommandEncoder();
      if (layers[layer]!.source === layer) {
        cache.encodeAppend(encoder, begun, layer, {
          keys: { buffer: keys },
          values: { buffer: values },
        });
      }
      if (attend) {
        const queries = vectors(2, queryHeads, headDim);
        const output = uploadBuffer(device, new Float32Array(count * queryHeads * valueHeadDim));
        buffers.push(queries, output);
        cache.encodeAttend(encoder, begun, layer, {
          queries: { buffer: queries },
          output: { buffer: output },
        });
      }
      device.queue.submit([encoder.finish()]);
      if (attend) outputs.push(new Float32Array(await readBuffer(device, buffers[3]!)));
      for (const buffer of buffers) buffer.destroy();
    }
  }
  return outputs;
}

/** What must not change where something is refused. */
export function occupancy(cache: Cache): Pick<CacheStats, "sequences" | "pages"> {
  const { sequences, pages } = cache.stats();
  return { sequences, pages };
}
