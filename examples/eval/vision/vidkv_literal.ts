/**
 * VidKV's arithmetic to the letter (arXiv 2503.16257), in float64 and without kernels: what the paper says,
 * and what its released code does. Both store more than they claim, and lose more than the library's
 * schemes of that method do; they are here to be compared with.
 */

/** Tokens that share levels. */
const GROUP = 32;

/** The paper's arithmetic, or the released code's. */
export type LiteralMode = "paper" | "released";

/** Settings of the two. */
const TERNARY: Readonly<Record<LiteralMode, { threshold: number; scaled: boolean }>> = {
  paper: { threshold: 0.7, scaled: true },
  // The released decoder never multiplies by the scale.
  released: { threshold: 0.5, scaled: false },
};

/**
 * Bits a channel that the released code stores: keys of 2 bits, or of two 1-bit halves of a complex
 * number, and ternary values in 2 bits, with scale and zero of 16 bits per channel and group; a Fourier
 * coefficient has two channels' scales and zeros.
 */
export const LITERAL_BITS: Readonly<Record<"keys" | "values", number>> = {
  keys: 2 + 1.5 * 32 / GROUP,
  values: 2 + 32 / GROUP,
};

/**
 * Keys of one KV head, coded and decoded: wide channels get four levels from minimum to maximum in groups
 * of 32 tokens. Of the others, the Fourier transform over channels keeps the signs of real and imaginary
 * parts, and decodes them as 0 and the group's mean magnitude.
 *
 * @param keys `[tokens][headDim]`, whole groups.
 * @param wide Channels with four levels, ascending.
 */
export function literalKeys(
  keys: readonly Float64Array[],
  wide: readonly number[],
): Float64Array[] {
  const headDim = keys[0]!.length;
  const narrow = Array.from({ length: headDim }, (_, i) => i).filter((i) => !wide.includes(i));
  return groups(keys).flatMap((group) => {
    const decoded = group.map(() => new Float64Array(headDim));
    for (const channel of wide) {
      const values = group.map((key) => key[channel]!);
      const least = Math.min(...values);
      const scale = (Math.max(...values) - least) / 3;
      values.forEach((value, token) => {
        const code = scale === 0 ? 0 : roundToEven((value - least) / scale);
        decoded[token]![channel] = least + code * scale;
      });
    }
    const spectra = group.map((key) => fourier(narrow.map((channel) => key[channel]!)));
    const signs = spectra.map((parts) => new Float64Array(parts.length));
    for (let part = 0; part < 2 * narrow.length; part++) {
      const scale = mean(spectra.map((parts) => Math.abs(parts[part]!)));
      spectra.forEach((parts, token) => signs[token]![part] = parts[part]! >= 0 ? scale : 0);
    }
    signs.forEach((parts, token) => {
      inverseFourier(parts).forEach((value, i) => decoded[token]![narrow[i]!] = value);
    });
    return decoded;
  });
}

/**
 * Values of one KV head, coded as -1, 0 and 1 by a threshold on their channel's mean magnitude in groups of
 * 32 tokens, and decoded.
 *
 * @param values `[tokens][headDim]`, whole groups.
 */
export function literalValues(
  values: readonly Float64Array[],
  mode: LiteralMode,
): Float64Array[] {
  const { threshold, scaled } = TERNARY[mode];
  return groups(values).flatMap((group) => {
    const scales = Array.from(
      group[0]!,
      (_, channel) => mean(group.map((value) => Math.abs(value[channel]!))),
    );
    return group.map((value) =>
      value.map((number, channel) => {
        const scale = scales[channel]!;
        if (Math.abs(number) <= threshold * scale) return 0;
        return Math.sign(number) * (scaled ? scale : 1);
      })
    );
  });
}

/**
 * Half of the channels, those of the greatest range over all tokens, and of equal ones the first.
 *
 * @param keys `[tokens of all KV heads][headDim]`: heads share their wide channels.
 * @returns Ascending.
 */
export function wideChannels(keys: readonly Float64Array[]): number[] {
  const channels = Array.from(keys[0]!, (_, channel) => {
    const values = keys.map((key) => key[channel]!);
    return { channel, range: Math.max(...values) - Math.min(...values) };
  });
  return channels.toSorted((a, b) => b.range - a.range).slice(0, keys[0]!.length / 2)
    .map(({ channel }) => channel).sort((a, b) => a - b);
}

function groups<T>(tokens: readonly T[]): T[][] {
  return Array.from(
    { length: Math.ceil(tokens.length / GROUP) },
    (_, i) => tokens.slice(i * GROUP, (i + 1) * GROUP),
  );
}

/** The discrete Fourier transform by its definition: real parts, then imaginary ones. */
function fourier(numbers: readonly number[]): Float64Array {
  const count = numbers.length;
  const { cosines, sines } = circle(count);
  const parts = new Float64Array(2 * count);
  for (let k = 0; k < count; k++) {
    for (let i = 0; i < count; i++) {
      parts[k]! += numbers[i]! * cosines[i * k % count]!;
      parts[count + k]! -= numbers[i]! * sines[i * k % count]!;
    }
  }
  // What is zero but for rounding has the sign of zero.
  return parts.map((part) => Math.abs(part) < 1e-9 ? 0 : part);
}

/** The real part of the inverse transform. */
function inverseFourier(parts: Float64Array): Float64Array {
  const count = parts.length / 2;
  const { cosines, sines } = circle(count);
  const numbers = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    for (let k = 0; k < count; k++) {
      const angle = i * k % count;
      numbers[i]! += (parts[k]! * cosines[angle]! - parts[count + k]! * sines[angle]!) / count;
    }
  }
  return numbers;
}

/** Cosines and sines of a circle's parts, by how many parts it has. */
const circles = new Map<number, { cosines: readonly number[]; sines: readonly number[] }>();

function circle(count: number): { cosines: readonly number[]; sines: readonly number[] } {
  const found = circles.get(count);
  if (found !== undefined) return found;
  const angles = Array.from({ length: count }, (_, i) => 2 * Math.PI * i / count);
  const made = { cosines: angles.map(Math.cos), sines: angles.map(Math.sin) };
  circles.set(count, made);
  return made;
}

function mean(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}

/** The nearest integer, of two the even one. */
function roundToEven(number: number): number {
  const floor = Math.floor(number);
  if (number - floor !== 0.5) return Math.round(number);
  return floor % 2 === 0 ? floor : floor + 1;
}
