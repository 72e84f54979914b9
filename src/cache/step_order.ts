/** Checks the order in which layers are given steps, and attend in them. */
import { raise } from "../base/raise.ts";
import { type Growth, unfinishedFrom } from "./sequences.ts";
import type { StepProgress } from "./step_progress.ts";

/**
 * Earlier steps of the same sequence that can still be attended in or undone.
 */
export function stepsBefore(growth: Growth): readonly Growth[] {
  const { steps } = growth.state;
  return steps.slice(0, steps.indexOf(growth));
}

/**
 * Checks that a layer has the steps before this one, and that its ring can still be rolled back to
 * what every layer has.
 *
 * @param live The step's parts that are not void.
 * @param appendTokens Most tokens that one layer may be ahead of another.
 * @throws {CoupletError} `usage` where the step's turn has not come, or has passed.
 */
export function checkAppend(
  progress: StepProgress,
  live: readonly Growth[],
  layer: number,
  appendTokens: number,
): void {
  if (progress.isAppended(layer)) {
    outOfOrder("append to", layer, "the step was appended to it before");
  }
  for (const growth of live) {
    const { sequence, start, tokens } = growth;
    const missing = stepsBefore(growth).find((before) => !before.progress.isAppended(layer));
    if (missing !== undefined) {
      outOfOrder(
        "append to",
        layer,
        `the step of sequence ${sequence.id} from ${missing.start} on was not appended to it`,
      );
    }
    const behind = unfinishedFrom(growth.state)!;
    if (behind === start || start + tokens - behind <= appendTokens) continue;
    outOfOrder(
      "append to",
      layer,
      `others have sequence ${sequence.id} up to ${behind}, and none may be more than ${appendTokens} tokens ahead (capacity.appendTokens)`,
    );
  }
}

/**
 * Checks that a layer has a step's tokens, and no later ones.
 *
 * @param source The layer whose keys and values it attends to.
 * @throws {CoupletError} `usage` where it has not.
 */
export function checkAttend(progress: StepProgress, layer: number, source: number): void {
  if (progress.isAppended(source) && !progress.isPassed(source)) return;
  const it = source === layer ? "it" : `layer ${source}, which it shares with`;
  outOfOrder(
    "attend in",
    layer,
    progress.isPassed(source)
      ? `a later step was appended to ${it}`
      : `the step was not appended to ${it}`,
  );
}

function outOfOrder(what: string, layer: number, why: string): never {
  raise(
    "usage",
    `Cannot ${what} layer ${layer}`,
    why,
    "Append each step to each layer once, in order, then attend, or give it up: truncate its sequences",
  );
}
