// @ts-types="@types/cli-progress"
import cliProgress from "cli-progress";
import process from "node:process";

/** Seconds between two lines if the output is not a terminal. */
const LINE_INTERVAL = 5;

/** One stage's progress. */
export interface Stage {
  /**
   * Shows the stage's progress.
   *
   * @param fraction Share done, from 0 to 1.
   * @param secondsLeft The stage's own estimate. Defaults to one from the time so far.
   */
  update(fraction: number, secondsLeft?: number): void;
  /** Ends the stage. */
  done(): void;
}

/** Shows the stages of long work one after the other, on the standard error. */
export class Progress {
  readonly #stages: number;
  #begun = 0;

  /** @param stages How many stages there will be. */
  constructor(stages: number) {
    this.#stages = stages;
  }

  /** Begins the next stage. */
  stage(title: string): Stage {
    const label = `[${++this.#begun}/${this.#stages}] ${title}`;
    const started = performance.now();
    const show = process.stderr.isTTY ? bar(label) : lines(label);
    return {
      update(fraction, secondsLeft): void {
        const seconds = (performance.now() - started) / 1000;
        show.update(fraction, secondsLeft ?? (seconds / fraction) * (1 - fraction));
      },
      done(): void {
        show.end((performance.now() - started) / 1000);
      },
    };
  }
}

interface Display {
  update(fraction: number, secondsLeft: number): void;
  end(seconds: number): void;
}

/** A bar that is redrawn in place. */
function bar(label: string): Display {
  const single = new cliProgress.SingleBar({
    format: `${label.padEnd(34)} {bar} {percentage}%  {note}`,
    barsize: 24,
    hideCursor: true,
    etaBuffer: 1,
  }, cliProgress.Presets.shades_grey);
  const release = whateverEnds(() => single.stop());
  single.start(1, 0, { note: "" });
  return {
    update: (fraction, left) => single.update(fraction, { note: timeLeft(left) }),
    end(seconds): void {
      single.update(1, { note: `${seconds.toFixed(1)} s`.padEnd(16) });
      single.stop();
      release();
    },
  };
}

/** Signals that end a program, and their exit codes in shells. */
const ENDING: readonly (readonly [signal: NodeJS.Signals, exitCode: number])[] = [
  ["SIGINT", 130],
  ...(process.platform === "win32" ? [] : [["SIGTERM", 143]] as const),
];

/** Events when a program exits, or is about to end by an uncaught error. */
const ENDS = ["exit", "uncaughtExceptionMonitor"] as const;

/**
 * Calls `restore` when the program ends, also by an error or a signal: a bar hides the terminal's
 * cursor, and disables line wrapping.
 *
 * @returns A function that undoes this.
 */
function whateverEnds(restore: () => void): () => void {
  const listeners = ENDING.map(([signal, exitCode]) => ({
    signal,
    listener(): void {
      restore();
      process.exit(exitCode);
    },
  }));
  for (const { signal, listener } of listeners) process.on(signal, listener);
  for (const event of ENDS) process.on(event, restore);
  return () => {
    for (const { signal, listener } of listeners) process.off(signal, listener);
    for (const event of ENDS) process.off(event, restore);
  };
}

/** A line at intervals, for logs. */
function lines(label: string): Display {
  console.error(label);
  let next = performance.now() + LINE_INTERVAL * 1000;
  return {
    update(fraction, left): void {
      if (performance.now() < next) return;
      next = performance.now() + LINE_INTERVAL * 1000;
      console.error(`${label}: ${(fraction * 100).toFixed(0)} %, ${timeLeft(left)}`);
    },
    end: (seconds) => console.error(`${label}: done in ${seconds.toFixed(1)} s`),
  };
}

function timeLeft(seconds: number): string {
  return Number.isFinite(seconds) ? `${Math.ceil(seconds)} s left`.padEnd(16) : "".padEnd(16);
}
