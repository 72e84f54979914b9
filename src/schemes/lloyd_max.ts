/** Points the density is sampled at, over one half of its range. */
const SAMPLES = 32768;

/** Iterations; far more than any table needs to settle. */
const ITERATIONS = 2000;

/**
 * The Lloyd-Max quantiser of one coordinate of a random unit vector, times the square root of the
 * dimension: the `2 ** bits` levels of least mean squared error, ascending. The coordinate's
 * density is proportional to `(1 - x^2) ** ((dimension - 3) / 2)` (TurboQuant, arXiv 2504.19874
 * lemma 1). It uses only arithmetic that is the same on every machine.
 *
 * @param dimension An even number from 4.
 */
export function lloydMax(dimension: number, bits: number): number[] {
  // Running sums of the density and of the density times x, over the positive half.
  const mass = new Float64Array(SAMPLES + 1);
  const moment = new Float64Array(SAMPLES + 1);
  for (let i = 0; i < SAMPLES; i++) {
    const x = (i + 0.5) / SAMPLES;
    const rest = 1 - x * x;
    let density = Math.sqrt(rest);
    for (let power = 0; power < dimension / 2 - 2; power++) density *= rest;
    mass[i + 1] = mass[i]! + density;
    moment[i + 1] = moment[i]! + density * x;
  }
  const half = 2 ** (bits - 1);
  let levels = Array.from(
    { length: half },
    (_, i) => Math.min(1, (3 * (i + 0.5)) / half / Math.sqrt(dimension)),
  );
  for (let iteration = 0; iteration < ITERATIONS; iteration++) {
    const edges = levels.map((level, i) => i === 0 ? 0 : (level + levels[i - 1]!) / 2);
    const cells = [...edges.map((edge) => Math.round(edge * SAMPLES)), SAMPLES];
    levels = levels.map((_, i) =>
      (moment[cells[i + 1]!]! - moment[cells[i]!]!) / (mass[cells[i + 1]!]! - mass[cells[i]!]!)
    );
  }
  const scaled = levels.map((level) => level * Math.sqrt(dimension));
  return [...scaled.toReversed().map((level) => -level), ...scaled];
}
