/** Figures as text. */
import type { Spread } from "./statistics.ts";

/** Milliseconds, to three digits. */
export function formatTime(milliseconds: number): string {
  return milliseconds >= 100 ? milliseconds.toFixed(0) : milliseconds.toPrecision(3);
}

/** Half the distance of the quartiles, in percent of the median. */
export function halfSpread({ median, low, high }: Spread): string {
  return (100 * (high - low) / 2 / median).toFixed(0);
}

/** Gigabytes a second. */
export function formatBandwidth({ median, low, high }: Spread): string {
  const figure = (bytes: number) => (bytes / 1e9).toPrecision(3);
  return `${figure(median)} GB/s (${figure(low)} to ${figure(high)})`;
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}
