/**
 * Repeatable attention of one layer on synthetic tokens, which tuning times.
 */
import type { Cache, Step } from "../cache/cache.ts";
import { createCache } from "../cache/create_cache.ts";
import { firstKeptPage } from "../plan/pages.ts";
import { cacheInternals } from "../cache/internals.ts";
import { seededRandom } from "../base/random.ts";
import type { CachePlan } from "../plan/plan.ts";
import { tensorBytes } from "../cache/host_bindings.ts";
import { storageBuffer } from "../cache/layer_buffers.ts";
import type { CommandTarget } from "../cache/command_target.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { Side } from "../model/side.ts";
import { randomCodebooks } from "./random_codebooks.ts";

/** A layer whose attention is timed. */
export interface AttentionRun {
  /** Records attention of the same step a number of times. */
  record(target: CommandTarget, times: number): void;
  /** Destroys what was allocated. */
  destroy(): void;
}

/** Bytes of random words that records are repeatedly filled with: more than any codebook. */
const FILL_BYTES = 1_048_576;

/** Clears the highest bit of the exponent of each binary16 number, so that none is infinite. */
const FINITE_HALVES = 0xbfffbfff;

/**
 * A cache of a plan's first layer that holds synthetic tokens, with a step begun and appended.
 *
 * @param plan A plan of one layer.
 * @param step Sequences, the tokens each holds, and how many of those are new.
 * @throws {CoupletError} as {@linkcode createCache} does.
 */
export async function prepareAttention(
  device: GPUDevice,
  plan: CachePlan,
  step: { readonly sequences: number; readonly context: number; readonly tokens: number },
): Promise<AttentionRun> {
  const { dtype } = plan.options;
  const cache = await createCache({ device, plan, codebooks: randomCodebooks(plan) });
  const own: GPUBuffer[] = [];
  const destroy = () => {
    cache.destroy();
    for (const buffer of own) buffer.destroy();
  };
  try {
    fillRecords(device, cache);
    const held = step.context - step.tokens;
    const { adopt } = cacheInternals(cache);
    const entries = Array.from({ length: step.sequences }, () => ({
      sequence: adopt(held, 0, [firstKeptPage(plan.options, 0, held)]),
      tokens: step.tokens,
    }));
    const count = step.sequences * step.tokens;
    const tensor = (name: Side | "queries" | "output"): GPUBufferBinding => {
      const size = tensorBytes(plan.options.layers[0]!, name, count, dtype);
      const buffer = storageBuffer(device, `couplet tune ${name}`, size);
      own.push(buffer);
      return { buffer };
    };
    const keys = tensor("keys");
    const values = tensor("values");
    const queries = tensor("queries");
    const output = tensor("output");
    const begun: Step = cache.beginStep(entries);
    const encoder = device.createCommandEncoder({ label: "couplet tune" });
    cache.encodeAppend(encoder, begun, 0, { keys, values });
    device.queue.submit([encoder.finish()]);
    return {
      record(target, times) {
        for (let i = 0; i < times; i++) cache.encodeAttend(target, begun, 0, { queries, output });
      },
      destroy,
    };
  } catch (error) {
    destroy();
    throw error;
  }
}

/**
 * Fills records with random codes. Zeros would all gather the same centroid, which would stay in
 * the cache of the processor.
 */
function fillRecords(device: GPUDevice, cache: Cache): void {
  const layer = cache.plan.options.layers[0]!;
  const random = seededRandom("attention");
  const words = Uint32Array.from({ length: FILL_BYTES / 4 }, () => random.below(2 ** 32));
  const finite = words.map((word) => word & FINITE_HALVES);
  for (const { keyRecords, valueRecords } of cache.buffers(0).parts) {
    for (const [side, buffer] of [["keys", keyRecords], ["values", valueRecords]] as const) {
      const data = parseScheme(layer[side]).codebook === "learned" ? words : finite;
      for (let offset = 0; offset < buffer.size; offset += FILL_BYTES) {
        const bytes = Math.min(FILL_BYTES, buffer.size - offset);
        device.queue.writeBuffer(buffer, offset, data, 0, bytes / 4);
      }
    }
  }
}
