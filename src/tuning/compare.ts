/**
 * Measures ways to attend in turn: first every one, then the best few cut into other numbers of
 * workgroups.
 */
import { CoupletError } from "../base/errors.ts";
import type { AttentionRun } from "./attention_run.ts";
import type { Stopwatch } from "./stopwatch.ts";

/** A way to attend, and the time it took. */
export interface TimedCandidate<Candidate> {
  readonly candidate: Candidate;
  /** Median milliseconds of one attention. */
  readonly milliseconds: number;
}

/** What is compared, and for how long. */
export interface Comparison<Candidate> {
  readonly stopwatch: Stopwatch;
  /** Every way to attend. */
  readonly candidates: readonly Candidate[];
  /** Prepares one. */
  prepare(candidate: Candidate): Promise<AttentionRun>;
  /** The other ways to cut a step of one that is among the fastest. */
  otherSplits(candidate: Candidate): readonly Candidate[];
  /** Milliseconds after which no more rounds begin, but for the fewest. */
  readonly budget: number;
}

/** Rounds of measuring: at least and at most so many. */
const ROUNDS = { least: 3, most: 15 };

/** Most attentions in one submission. */
const MOST_REPEATS = 1024;

/**
 * Candidates that take this many times as long as the best in the first rounds are not measured
 * again.
 */
const HOPELESS = 2;

/**
 * Candidates whose other splits are measured: what splits gain does not turn a slow kernel into the
 * fastest.
 */
const FINALISTS = 2;

/** A run under measurement: milliseconds of a submission, by round. */
interface Contender<Candidate> {
  readonly candidate: Candidate;
  readonly run: AttentionRun;
  samples: number[];
}

/**
 * Measures all candidates, fastest first. The last rounds, which decide, have all in turn that are
 * not hopeless, so that a device that slows down slows all of them. Every run is destroyed.
 */
export async function compareAttention<Candidate>(
  { stopwatch, candidates, prepare, otherSplits, budget }: Comparison<Candidate>,
): Promise<TimedCandidate<Candidate>[]> {
  const all: Contender<Candidate>[] = [];
  const enter = async (own: readonly Candidate[]) => {
    for (const candidate of own) {
      const run = await prepare(candidate);
      all.push({ candidate, run, samples: [] });
      // The first time a kernel runs is not like the others.
      await stopwatch.time((pass) => run.record(pass, 1));
    }
  };
  try {
    await enter(candidates);
    const deadline = performance.now() + budget;
    const repeats = await firstRound(stopwatch, all);
    const bound = HOPELESS * Math.min(...all.map(({ samples }) => samples[0]!));
    const hopeful = all.filter(({ samples }) => samples[0]! <= bound);
    const round = async () => {
      for (const { run, samples } of hopeful) {
        samples.push(await stopwatch.time((pass) => run.record(pass, repeats)));
      }
    };
    for (let rounds = 1; rounds < ROUNDS.least; rounds++) await round();
    const finalists = byMedian(hopeful).slice(0, FINALISTS);
    const others = finalists.flatMap(({ candidate }) => otherSplits(candidate));
    if (others.length > 0) {
      await enter(others);
      hopeful.push(...all.slice(-others.length));
      for (const contender of hopeful) contender.samples = [];
    }
    for (
      let rounds = hopeful[0]!.samples.length;
      rounds < ROUNDS.least || (rounds < ROUNDS.most && performance.now() < deadline);
      rounds++
    ) {
      await round();
    }
    return byMedian(all).map(({ candidate, samples }) => ({
      candidate,
      milliseconds: median(samples) / repeats,
    }));
  } finally {
    for (const { run } of all) run.destroy();
  }
}

/**
 * Takes a sample of each, of as many attentions as outlast the clock's coarseness; gives their
 * number.
 */
async function firstRound<Candidate>(
  stopwatch: Stopwatch,
  contenders: readonly Contender<Candidate>[],
): Promise<number> {
  let repeats = 1;
  for (;;) {
    for (const contender of contenders) {
      contender.samples = [
        await stopwatch.time((pass) => contender.run.record(pass, repeats)),
      ];
    }
    const least = Math.min(...contenders.map(({ samples }) => samples[0]!));
    if (least >= stopwatch.least || repeats === MOST_REPEATS) {
      if (!(least > 0)) throw stopped(stopwatch, repeats);
      return repeats;
    }
    // By steps, because a short time says little of how much longer a longer one is.
    const factor = Math.min(8, Math.ceil((1.2 * stopwatch.least) / Math.max(least, 1e-3)));
    repeats = Math.min(MOST_REPEATS, repeats * factor);
  }
}

function stopped({ clock }: Stopwatch, repeats: number): CoupletError {
  return new CoupletError("device", {
    what: "Cannot measure on the device",
    why: `its clock (${clock}) says that ${repeats} attentions take no time`,
    remedy: "Request the device without timestamp-query, so that the host's clock counts",
  });
}

function byMedian<Candidate>(contenders: readonly Contender<Candidate>[]): Contender<Candidate>[] {
  return [...contenders].sort((a, b) => median(a.samples) - median(b.samples));
}

function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
}
