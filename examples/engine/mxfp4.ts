/**
 * MXFP4, the format of gpt-oss's experts: groups of 32 elements of 4 bits with a power of two for each
 * (https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf, section 5).
 *
 * @module
 */

/** Elements of a group. */
export const MXFP4_GROUP = 32;

/** Bytes of a group's elements. */
export const MXFP4_BYTES = MXFP4_GROUP / 2;

/** What an element's bits mean: a sign, two bits of exponent and one of mantissa (E2M1). */
const ELEMENTS = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6];

/** The exponent that stands for 1 (E8M0). */
const BIAS = 127;

/**
 * Elements in float32.
 *
 * @param blocks Two elements a byte, the first in the lower bits.
 * @param scales An exponent for each group.
 */
export function mxfp4Values(blocks: Uint8Array, scales: Uint8Array): Float32Array<ArrayBuffer> {
  const values = new Float32Array(2 * blocks.length);
  for (let group = 0; group < scales.length; group++) {
    const scale = 2 ** (scales[group]! - BIAS);
    for (let i = group * MXFP4_BYTES; i < (group + 1) * MXFP4_BYTES; i++) {
      values[2 * i] = ELEMENTS[blocks[i]! & 15]! * scale;
      values[2 * i + 1] = ELEMENTS[blocks[i]! >> 4]! * scale;
    }
  }
  return values;
}
