/**
 * Measures combinations of kernels in turn: first each, then the best few in other numbers of
 * workgroups.
 */
import { CoupletError } from "../base/errors.ts";
import type { AttentionRun } from "./attention_run.ts";
import type { Stopwatch } from "./stopwatch.ts";

/** A candidate, and its time. */
export interface TimedCandidate<Candidate> {
  readonly candidate: Candidate;
  /** Median milliseconds of one attention. */
  readonly milliseconds: number;
}

/** What is compared, and for how long. */
export interface Comparison<Candidate> {
  readonly stopwatch: Stopwatch;
  /** Every combination of kernels. */
  readonly candidates: readonly Candidate[];
  /** Prepares a candidate. */
  prepare(candidate: Candidate): Promise<AttentionRun>;
  /** The other ways to cut a step, for one of the fastest candidates. */
  otherSplits(candidate: Candidate): readonly Candidate[];
  /** Milliseconds after which no more rounds begin, except the least number. */
  readonly budget: number;
}

/** Least and most rounds of measuring. */
const ROUNDS = { least: 3, most: 15 };

/** Most attentions in one submission. */
const MOST_REPEATS = 1024;

/**
 * Candidates that take this many times as long as the best in the first rounds are not measured
 * again.
 */
const HOPELESS = 2;

/**
 * Candidates whose other splits are measured. Splits do not make a slow kernel the fastest.
 */
const FINALISTS = 2;

/** A run that is measured: milliseconds of a submission, by round. */
interface Contender<Candidate> {
  readonly candidate: Candidate;
  readonly run: AttentionRun;
  samples: number[];
}

/**
 * Measures all candidates, and returns them fastest first. The last rounds decide: they measure all
 * candidates in turn that are not hopeless, so that a device that slows down slows all of them.
 * Every run is destroyed.
 */
export async function compareAttention<Candidate>(
  { stopwatch, candidates, prepare, otherSplits, budget }: Comparison<Candidate>,
): Promise<TimedCandidate<Candidate>[]> {
  const all: Contender<Candidate>[] = [];
  const enter = async (own: readonly Candidate[]) => {
    for (const candidate of own) {
      const run = await prepare(candidate);
      all.push({ candidate, run, samples: [] });
      // The first run of a kernel takes longer.
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
 * Measures each once, with enough repeats for the clock's resolution. Returns their number.
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
    // In steps, because a short time does not predict a longer one.
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
