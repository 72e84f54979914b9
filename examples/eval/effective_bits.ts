import { type CacheOptions, parseScheme, recordBits, SIDES } from "@couplet/kv";
import { planResident, residentCapacity } from "../demo/memory.ts";
import { resolveOptions } from "../../src/plan/options.ts";
import { layerBytes, sharedTableBytes, tokenChannels, totalBytes } from "../../src/plan/sizes.ts";
import type { EffectiveBits } from "./figures/results.ts";

/** Tokens of a sequence that effective bits are given for. */
export const BIT_LENGTHS: readonly number[] = [512, 4096, 32768];

/**
 * Bits per channel of everything resident, codebooks included, at each of {@linkcode BIT_LENGTHS}, by the planner:
 * sequences share codebooks, and so do all tokens of a longer one.
 *
 * @param sequences Numbers of sequences, each of which is counted for.
 * @param allCoded Whether every token is coded: the exact tiers are left out, and no kernel is needed.
 */
export function effectiveBits(
  options: CacheOptions,
  sequences: readonly number[],
  allCoded: boolean,
): EffectiveBits[] {
  return sequences.flatMap((count) =>
    BIT_LENGTHS.map((tokens) => ({
      tokens,
      sequences: count,
      bits: allCoded
        ? codedBits(options, count, tokens)
        : planResident(options, count, tokens).effectiveBits,
    }))
  );
}

/**
 * Effective bits without exact tiers.
 *
 * @throws {CoupletError} as planCache, but for kernels.
 */
export function codedBits(options: CacheOptions, sequences: number, tokens: number): number {
  const capacity = residentCapacity(options, sequences, tokens);
  const resolved = resolveOptions({ ...options, capacity });
  const layers = resolved.layers.map((layer) => layerBytes(resolved, layer, 1));
  const { total, exact } = totalBytes(layers, sharedTableBytes(resolved, 1), 0, 0);
  return (8 * (total - exact)) / (capacity.tokens * tokenChannels(resolved));
}

/** Bits per channel of the codes, mean over layers and sides. */
export function nominalBits(options: CacheOptions): number {
  const { layers } = resolveOptions(options);
  const bits = layers.flatMap((layer) =>
    SIDES.map((side) => recordBits(parseScheme(layer[side]).layout(layer.headDim), layer.headDim))
  );
  return bits.reduce((sum, one) => sum + one, 0) / bits.length;
}
