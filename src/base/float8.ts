/**
 * Eight-bit floating-point numbers with three bits of fraction. They are made from binary16 by
 * integer arithmetic, so that every machine rounds them alike.
 */
import { fromFloat16Bits, toFloat16Bits } from "./float16.ts";

/** Half of a unit in the last of the eight bits, in binary16. */
const HALF_UNIT = 0x40;

/**
 * The eight bits of a number from 0 to 61440, with five bits of exponent and no sign: binary16
 * without its sign, rounded.
 */
export function toFloat8E5M3(value: number): number {
  return Math.min((toFloat16Bits(value) + HALF_UNIT) >>> 7, 0xf7);
}

/** The inverse of {@linkcode toFloat8E5M3}. */
export function fromFloat8E5M3(bits: number): number {
  return fromFloat16Bits(bits << 7);
}

/**
 * The eight bits of a number from -480 to 480, with a sign and four bits of exponent: binary16 of a
 * 256th, rounded.
 */
export function toFloat8E4M3(value: number): number {
  const half = toFloat16Bits(value / 256);
  const magnitude = Math.min(((half & 0x7fff) + HALF_UNIT) >>> 7, 0x7f);
  return ((half & 0x8000) >>> 8) | magnitude;
}

/** The inverse of {@linkcode toFloat8E4M3}. */
export function fromFloat8E4M3(bits: number): number {
  return 256 * fromFloat16Bits(((bits & 0x80) << 8) | ((bits & 0x7f) << 7));
}
