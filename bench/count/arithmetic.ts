/** What instructions compute of whole numbers, by name: all that decides which way a kernel goes, and where it loads from. */

type Operation = (a: number, b: number, c: number) => number;

/** A result, and what the wave's condition becomes; without one it stays. */
type Scalar = (a: number, b: number, condition: number) => readonly [number, number?];

const bits = new DataView(new ArrayBuffer(4));

function asFloat(word: number): number {
  bits.setUint32(0, word);
  return bits.getFloat32(0);
}

function fromFloat(value: number): number {
  bits.setFloat32(0, value);
  return bits.getUint32(0);
}

const signed = (value: number) => value | 0;
const multiply = (a: number, b: number) => Math.imul(a, b) >>> 0;
const multiplyHigh = (a: number, b: number) => Number((BigInt(a) * BigInt(b)) >> 32n);
const low24 = (value: number) => value & 0xffffff;
const field = (a: number, offset: number, width: number) =>
  Math.floor((a >>> (offset & 31)) % 2 ** (width & 31));

/** Comparisons, by what follows `cmp_`. */
const COMPARISONS: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  eq: (a, b) => a === b,
  lg: (a, b) => a !== b,
  ne: (a, b) => a !== b,
  lt: (a, b) => a < b,
  le: (a, b) => a <= b,
  gt: (a, b) => a > b,
  ge: (a, b) => a >= b,
};

/** 1 or 0 by a comparison such as `lt_u32`; undefined where it is not one of whole numbers. */
export function comparison(which: string): ((a: number, b: number) => number) | undefined {
  const [name, type] = which.split("_");
  const compare = COMPARISONS[name!];
  if (compare === undefined) return undefined;
  if (type === "u32") return (a, b) => Number(compare(a, b));
  if (type === "i32") return (a, b) => Number(compare(signed(a), signed(b)));
  return undefined;
}

/** Instructions of all lanes, of up to three words. The first of `rev` shifts is the distance. */
export const VECTOR: Readonly<Record<string, Operation>> = {
  v_mov_b32: (a) => a,
  v_not_b32: (a) => ~a,
  v_and_b32: (a, b) => a & b,
  v_or_b32: (a, b) => a | b,
  v_xor_b32: (a, b) => a ^ b,
  v_xnor_b32: (a, b) => ~(a ^ b),
  v_and_or_b32: (a, b, c) => (a & b) | c,
  v_or3_b32: (a, b, c) => a | b | c,
  v_xad_u32: (a, b, c) => (a ^ b) + c,
  v_bfe_u32: field,
  v_bfi_b32: (a, b, c) => (a & b) | (~a & c),
  v_lshlrev_b32: (a, b) => b << a,
  v_lshrrev_b32: (a, b) => b >>> a,
  v_ashrrev_i32: (a, b) => b >> a,
  v_lshl_add_u32: (a, b, c) => (a << b) + c,
  v_lshl_or_b32: (a, b, c) => (a << b) | c,
  v_add_lshl_u32: (a, b, c) => (a + b) << c,
  v_add_nc_u32: (a, b) => a + b,
  v_sub_nc_u32: (a, b) => a - b,
  v_subrev_nc_u32: (a, b) => b - a,
  v_add3_u32: (a, b, c) => a + b + c,
  v_mul_lo_u32: multiply,
  v_mul_hi_u32: multiplyHigh,
  v_mul_u32_u24: (a, b) => multiply(low24(a), low24(b)),
  v_mad_u32_u24: (a, b, c) => multiply(low24(a), low24(b)) + c,
  v_min_u32: (a, b) => Math.min(a, b),
  v_max_u32: (a, b) => Math.max(a, b),
  v_min_i32: (a, b) => Math.min(signed(a), signed(b)),
  v_max_i32: (a, b) => Math.max(signed(a), signed(b)),
  // A division of whole numbers begins with a reciprocal, and is then corrected.
  v_cvt_f32_u32: (a) => fromFloat(a),
  v_rcp_f32: (a) => fromFloat(1 / asFloat(a)),
  v_rcp_iflag_f32: (a) => fromFloat(1 / asFloat(a)),
  v_mul_f32: (a, b) => fromFloat(asFloat(a) * asFloat(b)),
  v_cvt_u32_f32: (a) => Math.min(Math.max(0, Math.trunc(asFloat(a))), 0xffffffff),
};

const logical = (compute: (a: number, b: number) => number): Scalar => (a, b) => {
  const value = compute(a, b) >>> 0;
  return [value, Number(value !== 0)];
};

const carrying = (value: number): readonly [number, number] =>
  Number.isNaN(value) ? [NaN, NaN] : [value >>> 0, Number(value < 0 || value > 0xffffffff)];

/** Whether a sum or difference leaves the range of signed numbers. */
const overflowing = (compute: (a: number, b: number) => number): Scalar => (a, b) => {
  const value = compute(signed(a), signed(b));
  return [value >>> 0, Number(value !== signed(value))];
};

const chosen = (better: (a: number, b: number) => boolean): Scalar => (a, b) => {
  const first = better(a, b);
  return [first ? a : b, Number(first)];
};

/** Instructions of the wave, of 32 bits. */
export const SCALAR: Readonly<Record<string, Scalar>> = {
  s_mov_b32: (a) => [a],
  s_movk_i32: (a) => [((a << 16) >> 16) >>> 0],
  s_brev_b32: (a) => [parseInt(a.toString(2).padStart(32, "0").split("").reverse().join(""), 2)],
  s_add_u32: (a, b) => carrying(a + b),
  s_sub_u32: (a, b) => carrying(a - b),
  s_addc_u32: (a, b, condition) => carrying(a + b + condition),
  s_subb_u32: (a, b, condition) => carrying(a - b - condition),
  s_add_i32: overflowing((a, b) => a + b),
  s_sub_i32: overflowing((a, b) => a - b),
  s_addk_i32: overflowing((a, b) => a + ((b << 16) >> 16)),
  s_mulk_i32: (a, b) => [multiply(a, (b << 16) >> 16)],
  s_mul_i32: (a, b) => [multiply(a, b)],
  s_mul_hi_u32: (a, b) => [multiplyHigh(a, b)],
  s_lshl_b32: logical((a, b) => a << b),
  s_lshr_b32: logical((a, b) => a >>> b),
  s_ashr_i32: logical((a, b) => a >> b),
  s_lshl1_add_u32: (a, b) => carrying(a * 2 + b),
  s_lshl2_add_u32: (a, b) => carrying(a * 4 + b),
  s_lshl3_add_u32: (a, b) => carrying(a * 8 + b),
  s_lshl4_add_u32: (a, b) => carrying(a * 16 + b),
  s_bfe_u32: logical((a, b) => field(a, b & 31, (b >> 16) & 127)),
  s_bfm_b32: (a, b) => [((2 ** (a & 31) - 1) << (b & 31)) >>> 0],
  s_min_u32: chosen((a, b) => a <= b),
  s_max_u32: chosen((a, b) => a >= b),
  s_min_i32: chosen((a, b) => signed(a) <= signed(b)),
  s_max_i32: chosen((a, b) => signed(a) >= signed(b)),
};

/** Instructions of the wave that work bit by bit, of 32 or 64 bits, by what precedes `_b32` and `_b64`. */
export const BITWISE: Readonly<Record<string, (a: number, b: number) => number>> = {
  s_not: (a) => ~a,
  s_and: (a, b) => a & b,
  s_or: (a, b) => a | b,
  s_xor: (a, b) => a ^ b,
  s_and_not1: (a, b) => a & ~b,
  s_or_not1: (a, b) => a | ~b,
  s_nand: (a, b) => ~(a & b),
  s_nor: (a, b) => ~(a | b),
  s_xnor: (a, b) => ~(a ^ b),
};
