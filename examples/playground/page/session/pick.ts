import { xoroshiro128plus } from "pure-rand";
import { likeliest } from "../../../engine/generate.ts";

/** How freely tokens are drawn; 1 is as the model says. */
const TEMPERATURE = 0.8;

/**
 * The likeliest token, or one drawn by a seed. Equal distributions give equal tokens by the same seed, and
 * similar ones mostly do: each token gets the same random number, its Gumbel noise, in all of them.
 *
 * @param seed A whole number of 32 bits; null takes the likeliest.
 */
export function pick(logits: Float32Array, seed: number | null): number {
  if (seed === null) return likeliest(logits);
  const random = xoroshiro128plus(seed);
  return likeliest(Float64Array.from(logits, (logit) => {
    const uniform = ((random.unsafeNext() >>> 0) + 0.5) / 2 ** 32;
    return logit / TEMPERATURE - Math.log(-Math.log(uniform));
  }));
}

/** A seed to draw a token by. */
export function newSeed(): number {
  return crypto.getRandomValues(new Int32Array(1))[0]!;
}
