/**
 * IEEE 754 binary16 conversions, for runtimes without `Float16Array`. Rounding is to nearest even,
 * as WGSL's `pack2x16float` does on the adapters tested.
 */

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** The difference between the exponents of binary16 and of binary32, as a factor. */
const EXPONENT_GAP = 0x1_0000_0000_0000_0000_0000_0000_0000; // 2^112

/** The largest finite number of binary16. */
export const MAX_FLOAT16 = 65504;

/** The smallest positive normal number of binary16. */
export const LEAST_NORMAL_FLOAT16 = 2 ** -14;

/**
 * The binary16 bits that caches keep of a value: those of the nearest finite number. Values beyond
 * its range, infinities included, are clamped, and a NaN becomes 0.
 */
export function finiteFloat16Bits(value: number): number {
  if (Number.isNaN(value)) return 0;
  return toFloat16Bits(Math.min(Math.max(value, -MAX_FLOAT16), MAX_FLOAT16));
}

/** The bits of the binary16 value nearest to `value`. Overflow returns an infinity. */
export function toFloat16Bits(value: number): number {
  f32[0] = value;
  const bits = u32[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude >= 0x7f800000) return sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00);
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // Subnormal half: value = n * 2^-24, and Math.round-to-even on n is exact in f64.
    const scaled = Math.abs(f32[0]!) * 16777216;
    const floor = Math.floor(scaled);
    const rest = scaled - floor;
    const up = rest > 0.5 || (rest === 0.5 && (floor & 1) === 1);
    return sign | (floor + (up ? 1 : 0));
  }
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}

/** The bits of the largest binary16 value that is not above `value`. */
export function floorFloat16Bits(value: number): number {
  const bits = toFloat16Bits(value);
  if (fromFloat16Bits(bits) <= value) return bits;
  // Bits are a sign and a magnitude, and 0 has no predecessor of its sign.
  return bits === 0 ? 0x8001 : bits & 0x8000 ? bits + 1 : bits - 1;
}

/** The value of binary16 `bits`. */
export function fromFloat16Bits(bits: number): number {
  const magnitude = bits & 0x7fff;
  if (magnitude > 0x7c00) return NaN;
  // Read as a binary32, the bits are a number 2^112 times too small, subnormal or not.
  u32[0] = ((bits & 0x8000) << 16) | (magnitude << 13);
  return f32[0]! * (magnitude === 0x7c00 ? Infinity : EXPONENT_GAP);
}

/** Rounds `value` to the nearest binary16 value. */
export function roundToFloat16(value: number): number {
  return fromFloat16Bits(toFloat16Bits(value));
}

/** The binary16 bits of every value. */
export function toFloat16Array(values: ArrayLike<number>): Uint16Array<ArrayBuffer> {
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) bits[i] = toFloat16Bits(values[i]!);
  return bits;
}

/** The values of every binary16 word. */
export function fromFloat16Array(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const values = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) values[i] = fromFloat16Bits(bits[i]!);
  return values;
}
