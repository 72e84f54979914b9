/** Most sweeps over all pairs of axes. Convergence is quadratic, and takes 6 to 10. */
const MOST_SWEEPS = 60;

/** Off-diagonal energy below which a matrix counts as diagonal, as a part of all of its energy. */
const DIAGONAL = 1e-26;

/**
 * Eigenvectors of a symmetric matrix, by cyclic Jacobi rotations in float64 (Golub and Van Loan,
 * _Matrix Computations_ §8.5), by falling eigenvalue. Each vector's largest component is positive,
 * so that equal matrices give equal vectors.
 *
 * @param symmetric `[size][size]`, finite; not changed.
 * @returns `[size][size]`: one eigenvector a row, of length one.
 */
export function principalAxes(
  symmetric: Float64Array,
  size: number,
): Float64Array<ArrayBuffer> {
  const matrix = symmetric.slice();
  const axes = new Float64Array(size * size);
  for (let i = 0; i < size; i++) axes[i * size + i] = 1;
  const energy = matrix.reduce((sum, value) => sum + value * value, 0);
  for (let sweep = 0; sweep < MOST_SWEEPS; sweep++) {
    let rest = 0;
    for (let p = 0; p < size; p++) {
      for (let q = p + 1; q < size; q++) rest += 2 * matrix[p * size + q]! ** 2;
    }
    if (rest <= DIAGONAL * energy) break;
    for (let p = 0; p < size; p++) {
      for (let q = p + 1; q < size; q++) eliminate(matrix, axes, size, p, q);
    }
  }
  const order = Array.from({ length: size }, (_, i) => i)
    .sort((a, b) => matrix[b * size + b]! - matrix[a * size + a]! || a - b);
  const sorted = new Float64Array(size * size);
  order.forEach((from, to) => {
    const axis = axes.subarray(from * size, (from + 1) * size);
    const largest = axis.reduce((best, value) => Math.abs(value) > Math.abs(best) ? value : best);
    for (let i = 0; i < size; i++) sorted[to * size + i] = largest < 0 ? -axis[i]! : axis[i]!;
  });
  return sorted;
}

/** Rotates axes p and q so that the matrix's entry there becomes 0. */
function eliminate(
  matrix: Float64Array,
  axes: Float64Array,
  size: number,
  p: number,
  q: number,
): void {
  const entry = matrix[p * size + q]!;
  if (entry === 0) return;
  const slope = (matrix[q * size + q]! - matrix[p * size + p]!) / (2 * entry);
  const tangent = (slope < 0 ? -1 : 1) / (Math.abs(slope) + Math.sqrt(slope * slope + 1));
  const cosine = 1 / Math.sqrt(tangent * tangent + 1);
  const sine = tangent * cosine;
  for (let i = 0; i < size; i++) {
    const a = matrix[i * size + p]!;
    const b = matrix[i * size + q]!;
    matrix[i * size + p] = cosine * a - sine * b;
    matrix[i * size + q] = sine * a + cosine * b;
  }
  for (const rows of [matrix, axes]) {
    for (let i = 0; i < size; i++) {
      const a = rows[p * size + i]!;
      const b = rows[q * size + i]!;
      rows[p * size + i] = cosine * a - sine * b;
      rows[q * size + i] = sine * a + cosine * b;
    }
  }
}
