/** Caches with long sequences in them, made without appending every token. */
import {
  type Cache,
  type CachePlan,
  createCache,
  PAGE_TOKENS,
  planCache,
  type PlanOptions,
  type Profile,
  type Sequence,
  SIDES,
} from "../../mod.ts";
import { cacheInternals } from "../../src/cache/internals.ts";
import { pageBytes } from "../../src/plan/sizes.ts";
import { ringSlots } from "../../src/plan/pages.ts";
import { randomCodebooks } from "../../src/tuning/random_codebooks.ts";
import { randomTensor } from "./random_tensor.ts";

/** Tokens that are really appended and coded; a cache's pages repeat theirs. */
export const SAMPLED_TOKENS = 4 * PAGE_TOKENS;

/**
 * A cache whose sequences hold `tokens` tokens each. The records of {@linkcode SAMPLED_TOKENS} tokens are encoded by the
 * library's own kernels and copied into all pages, in the order in which appending would have taken them: no kernel's time
 * depends on which codes it reads, and every page is memory of its own. Exact tiers hold zeros.
 *
 * @param plan One scheme for all layers' keys, one for their values.
 * @param profile What measures the cache's kernels, if anything does.
 */
export async function createFilledCache(
  device: GPUDevice,
  plan: CachePlan,
  options: PlanOptions,
  tokens: number,
  profile?: Profile,
): Promise<{ readonly cache: Cache; readonly sequences: readonly Sequence[] }> {
  const cache = await createCache({
    device,
    plan,
    codebooks: randomCodebooks(plan),
    ...(profile === undefined ? {} : { profile }),
  });
  const sample = await createSample(device, options);
  const encoder = device.createCommandEncoder();
  for (let layer = 0; layer < options.shape.layers; layer++) {
    fillLayer(encoder, cache, layer, sample);
  }
  device.queue.submit([encoder.finish()]);
  await device.queue.onSubmittedWorkDone();
  sample.destroy();
  const { adopt } = cacheInternals(cache);
  const { sinks } = plan.options.tiers;
  const exactFrom = Math.max(0, tokens - ringSlots(plan.options));
  const sequences = Array.from(
    { length: options.capacity.sequences },
    () => adopt(tokens, exactFrom > sinks ? exactFrom : 0, plan.options.pageTables.map(() => 0)),
  );
  return { cache, sequences };
}

/** A cache of one layer that holds one sequence of {@linkcode SAMPLED_TOKENS} coded tokens. */
async function createSample(device: GPUDevice, options: PlanOptions): Promise<Cache> {
  const own: PlanOptions = {
    ...options,
    shape: { ...options.shape, layers: 1 },
    tiers: { sinks: 0, window: 0 },
    capacity: {
      sequences: 1,
      tokens: SAMPLED_TOKENS,
      sequenceTokens: SAMPLED_TOKENS,
      stepTokens: SAMPLED_TOKENS,
      appendTokens: SAMPLED_TOKENS,
    },
  };
  const plan = planCache(own);
  const cache = await createCache({ device, plan, codebooks: randomCodebooks(plan) });
  const { keyValueHeads, headDim } = plan.options.layers[0]!;
  const buffer = randomTensor(device, SAMPLED_TOKENS * keyValueHeads * headDim);
  const encoder = device.createCommandEncoder();
  const step = cache.beginStep([{ sequence: cache.createSequence(), tokens: SAMPLED_TOKENS }]);
  cache.encodeAppend(encoder, step, 0, { keys: { buffer }, values: { buffer } });
  device.queue.submit([encoder.finish()]);
  await device.queue.onSubmittedWorkDone();
  buffer.destroy();
  return cache;
}

/** Copies the sample's pages over and over into all pages of a layer. */
function fillLayer(
  encoder: GPUCommandEncoder,
  cache: Cache,
  layer: number,
  sample: Cache,
): void {
  const own = cache.plan.options.layers[layer]!;
  const [source] = sample.buffers(0).parts;
  for (const part of cache.buffers(layer).parts) {
    for (const side of SIDES) {
      const [from, to] = [source!, part].map((of) =>
        side === "keys" ? of.keyRecords : of.valueRecords
      );
      const sampled = pageBytes(own, side, source!.heads.count);
      const filled = pageBytes(own, side, part.heads.count);
      // A part with fewer heads takes its share of each page, page by page.
      const whole = filled === sampled;
      const run = whole ? from!.size : filled;
      const share = (sampled / source!.heads.count) * part.heads.first;
      for (let at = 0, page = 0; at < to!.size; at += run, page++) {
        const first = whole ? 0 : (page * sampled) % from!.size + share;
        encoder.copyBufferToBuffer(from!, first, to!, at, Math.min(run, to!.size - at));
      }
    }
  }
}
