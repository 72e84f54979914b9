/** Measures several pieces of work that take turns. */
import { cpuUsage } from "node:process";
import { type Clock, repeat, repeatsFor, type Work } from "./clock.ts";

/** How long to measure. */
export interface RoundOptions {
  readonly clock: Clock;
  /** Seconds after which no more rounds begin, but for the fewest. */
  readonly seconds: number;
}

/** Rounds that are always taken, and that suffice. */
const FEWEST_ROUNDS = 3;
const MOST_ROUNDS = 15;

/**
 * Milliseconds of work in one sample: with timestamps, enough to outlast their resolution; by the host's clock, enough to
 * outlast the runtime's waiting, some 10 ms in Deno.
 */
const SAMPLE_MS = { "timestamps": 5, "wall clock": 150 } as const;

/** Times of one piece of work. */
export interface Samples {
  /** Repetitions in one submission. */
  readonly repeats: number;
  /** Milliseconds of one repetition, by round. */
  readonly samples: readonly number[];
  /** Milliseconds of this process's CPU time for the same, of all threads: on a software adapter, those that compute too. */
  readonly cpuSamples: readonly number[];
}

/**
 * Measures each piece of work once a round, so that a machine that slows down slows all of them. Each is repeated in one
 * submission, as often as its sample needs.
 */
export async function measureRounds(
  works: readonly Work[],
  { clock, seconds }: RoundOptions,
): Promise<readonly Samples[]> {
  const repeats: number[] = [];
  for (const work of works) repeats.push(await repeatsFor(clock, work, SAMPLE_MS[clock.method]));
  const samples: number[][] = works.map(() => []);
  const cpuSamples: number[][] = works.map(() => []);
  const begun = performance.now();
  for (let round = 0; round < MOST_ROUNDS; round++) {
    if (round >= FEWEST_ROUNDS && performance.now() - begun > seconds * 1000) break;
    for (const [i, work] of works.entries()) {
      const before = cpuUsage();
      const taken = await clock.time(repeat(work, repeats[i]!));
      const { user, system } = cpuUsage(before);
      samples[i]!.push(taken / repeats[i]!);
      cpuSamples[i]!.push((user + system) / 1000 / repeats[i]!);
    }
  }
  return works.map((_, i) => ({
    repeats: repeats[i]!,
    samples: samples[i]!,
    cpuSamples: cpuSamples[i]!,
  }));
}
