import type { CalibrationSamples } from "./calibrate.ts";
import { checkSamples, tokensOf } from "./samples.ts";
import { turnOf } from "./turned_samples.ts";
import type { TokenTurn } from "../model/anchors.ts";
import { type Policy, POLICY_FIELDS } from "../schemes/policy.ts";
import { checkOptions, type Fields } from "../base/check_options.ts";
import type { Codebook, CodebookFit, CodebookSet } from "../codebooks/codebook.ts";
import { measureFit } from "../codebooks/fit.ts";
import { NUMBER } from "../base/data_kinds.ts";
import { SAMPLES } from "./sample_fields.ts";
import { CoupletError } from "../base/errors.ts";
import { CODEBOOKS } from "../codebooks/find.ts";
import type { SchemeId } from "../schemes/scheme.ts";
import type { Side } from "../model/side.ts";

/** Options of {@linkcode checkDrift}. */
export interface DriftOptions {
  /** Checks only the codebooks that this policy uses. Defaults to all of the set. */
  readonly policy?: Policy;
  /** Largest ratio to the calibration's error that does not count as drift. Defaults to 1.3. */
  readonly threshold?: number;
}

/** What the options of {@linkcode checkDrift} may be. */
export const DRIFT_FIELDS: Fields<DriftOptions> = {
  "policy?": POLICY_FIELDS,
  "threshold?": NUMBER,
};

/** One KV head's error, live and when its codebook was learned. */
export interface HeadDrift {
  /** Layer index, from 0. */
  readonly layer: number;
  /** Which side of the cache. */
  readonly side: Side;
  /** The scheme whose codebook was checked. */
  readonly scheme: SchemeId;
  /** KV head, from 0. */
  readonly head: number;
  /**
   * Mean squared error of the live vectors over their variance: the share of the variance that is
   * lost.
   */
  readonly error: number;
  /** The same of the vectors that the codebook was learned on. */
  readonly calibrationError: number;
  /** `error / calibrationError`. */
  readonly ratio: number;
}

/** What {@linkcode checkDrift} found. */
export interface DriftReport {
  /**
   * The ratio above which a head has drifted, if it also loses at least 1 % of the variance more
   * than at calibration.
   */
  readonly threshold: number;
  /** Tokens compared, of the samples that had the fewest. */
  readonly tokens: number;
  /** Every head that was compared, the largest ratio first. */
  readonly heads: readonly HeadDrift[];
  /** Those of them whose codebook no longer fits. */
  readonly drifted: readonly HeadDrift[];
  /** The report in words. */
  describe(): string;
}

/**
 * Ratio to the calibration's error: other text of the same kind stays below it, another space
 * exceeds it.
 */
const DEFAULT_THRESHOLD = 1.3;

/**
 * A share of the variance that may be lost beyond the calibration's, at any ratio: large codebooks
 * lose so little of their own samples that a multiple of it is still small.
 */
const NEGLIGIBLE = 0.01;

/** Fewer tokens may all belong to one phrase, and say little about a codebook. */
const FEWEST_TOKENS = 256;

/** Heads that a report names. */
const NAMED = 8;

/**
 * Compares live keys and values with those that codebooks were learned on: how much the codes lose
 * now, and how much they lost then. A codebook that no longer fits indicates another model, another
 * space (a rotation, a scale, another order of channels) or text of another kind.
 *
 * It compares the mean squared error over the vectors' variance, so that vectors which all shrink
 * or grow count as drift, too. With 512 tokens of several texts, vectors like the calibration's
 * have ratios of 0.9 to 1.25.
 *
 * @example Guard a cache
 * ```ts
 * import { calibrate, checkDrift } from "@couplet/kv";
 *
 * const noise = (factor: number) =>
 *   Float32Array.from({ length: 256 * 8 }, (_, i) => factor * Math.sin(i * i));
 * const of = { layer: 0, side: "keys", keyValueHeads: 1, headDim: 8 } as const;
 * const codebooks = await calibrate({
 *   samples: [{ ...of, values: noise(1) }],
 *   schemes: { keys: ["c4b4"], values: [] },
 *   keySpace: "pre-rope",
 *   model: { name: "my model", digest: "sha256:..." },
 *   seed: 1,
 * });
 * console.assert(checkDrift(codebooks, [{ ...of, values: noise(1) }]).drifted.length === 0);
 * const report = checkDrift(codebooks, [{ ...of, values: noise(3) }]);
 * if (report.drifted.length > 0) console.warn(report.describe());
 * ```
 *
 * @param set The codebooks. They must have a `fit`, as those of `calibrate` do.
 * @param samples Live keys and values, as for `calibrate` and in the same space; weights and scales
 * are ignored.
 * @throws {CoupletError} `codebook` where the set has no codebook for a layer and side of the
 * samples, or one that is of another shape or has no fit; `samples` where a value is not finite or
 * there are fewer than 256 tokens; `shape` where values do not divide into tokens; `usage` for a
 * threshold below 1.
 */
export function checkDrift(
  set: CodebookSet,
  samples: readonly CalibrationSamples[],
  options: DriftOptions = {},
): DriftReport {
  checkOptions(
    "usage",
    "Cannot check codebooks for drift",
    { set: CODEBOOKS, samples: SAMPLES, options: DRIFT_FIELDS },
    { set, samples, options },
  );
  const { policy, threshold = DEFAULT_THRESHOLD } = options;
  if (!(threshold >= 1 && threshold < Infinity)) {
    throw new CoupletError("usage", {
      what: "Cannot check codebooks for drift",
      why: `the threshold is ${threshold}`,
      remedy: "Give a number of 1 or more, such as 1.3",
    });
  }
  const pairs = samples.flatMap((one) => {
    const { weights: _weights, scale: _scale, ...vectors } = one;
    checkSamples(vectors, []);
    if (tokensOf(one) < FEWEST_TOKENS) {
      throw new CoupletError("samples", {
        what: `Cannot check the ${one.side} of layer ${one.layer} for drift`,
        why: `there are ${tokensOf(one)} tokens`,
        remedy: `Give at least ${FEWEST_TOKENS}, better twice as many of several texts`,
      });
    }
    return codebooksOf(set, one, policy).map((codebook) => ({
      codebook,
      values: one.values,
      turn: turnOf(one, codebook.scheme, set),
    }));
  });
  const heads = pairs.flatMap(({ codebook, values, turn }) => compare(codebook, values, turn))
    .sort((a, b) => b.ratio - a.ratio);
  const drifted = heads.filter(({ ratio, error, calibrationError }) =>
    ratio > threshold && error - calibrationError > NEGLIGIBLE
  );
  return {
    threshold,
    tokens: Math.min(...samples.map(tokensOf)),
    heads,
    drifted,
    describe: () => describe(heads, drifted, threshold),
  };
}

/** The codebooks to check with some samples. */
function codebooksOf(
  set: CodebookSet,
  { layer, side, keyValueHeads, headDim }: CalibrationSamples,
  policy: Policy | undefined,
): (Codebook & { readonly fit: CodebookFit })[] {
  const what = `Cannot check the ${side} of layer ${layer} for drift`;
  const scheme = policy === undefined ? undefined : (policy.layers?.[layer] ?? policy)[side];
  const found = set.codebooks.filter((one) =>
    one.layer === layer && one.side === side && (scheme === undefined || one.scheme === scheme)
  );
  if (found.length === 0) {
    throw new CoupletError("codebook", {
      what,
      why: `the set holds no codebook for them${scheme === undefined ? "" : ` and ${scheme}`}`,
      remedy: "Check layers and sides that are coded with the set",
    });
  }
  return found.map((codebook) => {
    if (codebook.keyValueHeads !== keyValueHeads || codebook.headDim !== headDim) {
      throw new CoupletError("codebook", {
        what,
        why:
          `their codebook is for ${codebook.keyValueHeads} heads of ${codebook.headDim} channels, and they have ${keyValueHeads} of ${headDim}`,
        remedy: "Calibrate this model",
      });
    }
    const { fit } = codebook;
    if (fit === undefined) {
      throw new CoupletError("codebook", {
        what,
        why: "their codebook does not know how well it fitted what it was learned on",
        remedy: "Calibrate again with this version of the library",
      });
    }
    return { ...codebook, fit };
  });
}

function compare(
  codebook: Codebook & { readonly fit: CodebookFit },
  values: Float32Array,
  turn: TokenTurn | undefined,
): HeadDrift[] {
  const { layer, side, scheme, keyValueHeads } = codebook;
  const live = measureFit(codebook, values, turn);
  return Array.from({ length: keyValueHeads }, (_, head) => {
    const error = lostShare(live, head);
    const calibrationError = lostShare(codebook.fit, head);
    const ratio = error === calibrationError ? 1 : error / calibrationError;
    return { layer, side, scheme, head, error, calibrationError, ratio };
  });
}

/**
 * The share of a head's variance that its codes lose; all or nothing where the head does not vary.
 */
function lostShare({ errors, variances }: CodebookFit, head: number): number {
  const error = errors[head]!;
  const variance = variances[head]!;
  return error === 0 ? 0 : error / variance;
}

function describe(
  heads: readonly HeadDrift[],
  drifted: readonly HeadDrift[],
  threshold: number,
): string {
  const lines = (drifted.length > 0 ? drifted.slice(0, NAMED) : heads.slice(0, 1)).map((one) =>
    `layer ${one.layer} ${one.side}, head ${one.head}, ${one.scheme}: ` +
    `${(100 * one.error).toFixed(1)} % lost, ${(100 * one.calibrationError).toFixed(1)} % in ` +
    `calibration, ${one.ratio.toFixed(2)} times`
  );
  const rest = drifted.length - NAMED;
  if (rest > 0) lines.push(`and ${rest} more`);
  return [
    drifted.length === 0
      ? `All ${heads.length} heads lose about what they lost in calibration; the largest ratio:`
      : `${drifted.length} of ${heads.length} heads lose more than ${threshold} times what they lost ` +
        "in calibration: calibrate on data of this kind, or check the model and the space of its keys",
    ...lines,
  ].join("\n");
}
