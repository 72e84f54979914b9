/**
 * Seeded pseudo-random numbers: xoshiro128** 1.1 (Blackman and Vigna, https://prng.di.unimi.it),
 * public domain.
 */

/** A reproducible source of random numbers. */
export interface Random {
  /** The next number, uniform in [0, 1), with 32 random bits. */
  next(): number;
  /** The next integer, uniform in 0 .. `bound` - 1. */
  below(bound: number): number;
}

/**
 * A source whose numbers depend on every part and on nothing else.
 *
 * @param parts Integers (taken modulo 2^32) and texts, such as a seed, a layer and a scheme.
 */
export function seededRandom(...parts: readonly (number | string)[]): Random {
  let hash = 0x811c9dc5;
  for (const part of parts) {
    // The type and the end of each part count, so that ("ab", "c") differs from ("a", "bc").
    const text = `${typeof part}:${part}\0`;
    for (let i = 0; i < text.length; i++) {
      hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    }
  }
  // splitmix32 spreads the hash over the state, which must not be all zero.
  const state = new Uint32Array(4);
  for (let i = 0; i < 4; i++) {
    hash = (hash + 0x9e3779b9) | 0;
    let mixed = Math.imul(hash ^ (hash >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    state[i] = mixed ^ (mixed >>> 15);
  }
  if (state.every((word) => word === 0)) state[0] = 1;

  function next(): number {
    const product = Math.imul(state[1]!, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = state[1]! << 9;
    state[2]! ^= state[0]!;
    state[3]! ^= state[1]!;
    state[1]! ^= state[2]!;
    state[0]! ^= state[3]!;
    state[2]! ^= shifted;
    state[3] = (state[3]! << 11) | (state[3]! >>> 21);
    return result / 2 ** 32;
  }
  return { next, below: (bound) => Math.floor(next() * bound) };
}
