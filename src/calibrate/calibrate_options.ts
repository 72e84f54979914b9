/** What the options of calibration may be. */
import { KEY_SPACE } from "../model/key_fields.ts";
import { type Policy, POLICY_FIELDS, SCHEMES } from "../schemes/policy.ts";
import { DEVICE, type Fields, FUNCTION, having, listOf, TEXT } from "../base/check_options.ts";
import { FLOATS, NUMBER, record } from "../base/data_kinds.ts";
import { SAMPLES } from "./sample_fields.ts";
import { MODEL } from "../codebooks/find.ts";
import { KERNELS } from "../kernels/select.ts";
import type { ValueRotation } from "../codebooks/codebook.ts";
import type { KeySpace, ModelFingerprint } from "../model/model.ts";
import type { KernelInfo } from "../kernels/kernel.ts";
import type { SchemeId } from "../schemes/scheme.ts";
import type { Side } from "../model/side.ts";
import type { CalibrationSamples } from "./samples.ts";

/** How far a calibration has come. */
export interface CalibrationProgress {
  /** The part that is done, 0 to 1, weighted by cost. */
  readonly fraction: number;
  /** Seconds the rest will take at this pace, or undefined before anything is known. */
  readonly secondsLeft: number | undefined;
}

/** What {@linkcode calibrate} works on. */
export interface CalibrationOptions {
  /** Samples, one entry per layer and side. */
  readonly samples: readonly CalibrationSamples[];
  /**
   * Which schemes to learn codebooks for: lists that all layers get, or a policy, of which each
   * layer gets its own. Schemes that need none, such as `f16`, are passed over.
   */
  readonly schemes: Readonly<Record<Side, readonly SchemeId[]>> | Policy;
  /** The space the keys' samples are in. */
  readonly keySpace: KeySpace;
  /**
   * The model the samples come from; one with value rotations folded in has a digest of its own.
   */
  readonly model: ModelFingerprint;
  /**
   * What becomes {@linkcode CodebookSet.valueRotations}: the samples are of a model with them
   * folded in.
   */
  readonly valueRotations?: readonly ValueRotation[] | undefined;
  /** Reproduces the run. */
  readonly seed: number;
  /** What the samples were taken from, for people. */
  readonly source?: string;
  /** Where to calibrate. On the CPU where absent, which is slow: minutes for a small model. */
  readonly device?: GPUDevice;
  /**
   * Needed with `device`: the kernels of k-means, from `@couplet/kv/kernels/kmeans`, and any
   * others.
   */
  readonly kernels?: readonly KernelInfo[];
  /** Lloyd iterations of a group, at most; 30 where absent. */
  readonly iterations?: number;
  /** Told often how far the run has come. */
  readonly onProgress?: (progress: CalibrationProgress) => void;
  /** Aborts the run, which then throws the signal's reason. */
  readonly signal?: AbortSignal;
}

const LISTS = { keys: SCHEMES, values: SCHEMES };

/** What the options of a calibration may be. */
export function calibrationFields(): Fields<CalibrationOptions> {
  return {
    samples: SAMPLES,
    schemes: (value) => typeof Object(value).keys === "string" ? POLICY_FIELDS : LISTS,
    keySpace: KEY_SPACE,
    model: MODEL,
    "valueRotations?": listOf(
      record<ValueRotation>("what valueRotation() gives", {
        layer: NUMBER,
        keyValueHeads: NUMBER,
        headDim: NUMBER,
        axes: FLOATS,
      }),
    ),
    seed: NUMBER,
    "source?": TEXT,
    "device?": DEVICE,
    "kernels?": KERNELS,
    "iterations?": NUMBER,
    "onProgress?": FUNCTION,
    "signal?": having("an AbortSignal", "throwIfAborted"),
  };
}
