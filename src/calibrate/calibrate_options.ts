/** What the options of calibration may be. */
import { KEY_SPACE } from "../model/key_fields.ts";
import { type Policy, POLICY_FIELDS, SCHEMES } from "../schemes/policy.ts";
import {
  DEVICE,
  type Fields,
  FLAG,
  FUNCTION,
  having,
  listOf,
  TEXT,
} from "../base/check_options.ts";
import { FLOATS, NUMBER, record } from "../base/data_kinds.ts";
import { SAMPLES } from "./sample_fields.ts";
import { MODEL } from "../codebooks/find.ts";
import { KERNELS } from "../kernels/select.ts";
import type { ValueRotation } from "../codebooks/codebook.ts";
import { ANCHOR_FIELDS } from "../model/anchors.ts";
import type { AnchorOptions, KeySpace, ModelFingerprint } from "../model/model.ts";
import type { KernelInfo } from "../kernels/kernel.ts";
import type { SchemeId } from "../schemes/scheme.ts";
import type { Side } from "../model/side.ts";
import type { CalibrationSamples } from "./samples.ts";

/** How far a calibration has come. */
export interface CalibrationProgress {
  /** The part that is done, 0 to 1, weighted by cost. */
  readonly fraction: number;
  /** Estimated seconds until the end, or undefined before there is an estimate. */
  readonly secondsLeft: number | undefined;
}

/** Options of {@linkcode calibrate}. */
export interface CalibrationOptions {
  /** Samples, one entry per layer and side. */
  readonly samples: readonly CalibrationSamples[];
  /**
   * The schemes to learn codebooks for: lists for all layers, or a policy with the schemes of each.
   * Schemes that need no codebook, such as `f16`, are skipped.
   */
  readonly schemes: Readonly<Record<Side, readonly SchemeId[]>> | Policy;
  /**
   * The space the keys are coded in. Samples of keys for the space `anchored` are before the rotary
   * embedding, with positions and `rope`.
   */
  readonly keySpace: KeySpace;
  /** How far keys in the space `anchored` may turn inside an anchor. */
  readonly anchor?: AnchorOptions;
  /**
   * The model the samples come from; one with value rotations folded in has a digest of its own.
   */
  readonly model: ModelFingerprint;
  /**
   * Value rotations that are folded into the model the samples come from. They become
   * {@linkcode CodebookSet.valueRotations}.
   */
  readonly valueRotations?: readonly ValueRotation[] | undefined;
  /** The same seed returns the same codebooks. */
  readonly seed: number;
  /** What the samples were taken from, for display. */
  readonly source?: string;
  /** The device to calibrate on. Defaults to the CPU, which is slow: minutes for a small model. */
  readonly device?: GPUDevice;
  /**
   * Needed with `device`: the kernels of k-means, from `@couplet/kv/kernels/kmeans`, and any
   * others.
   */
  readonly kernels?: readonly KernelInfo[];
  /** Most Lloyd iterations of a group. Defaults to 30. */
  readonly iterations?: number;
  /**
   * Whether all KV heads of a layer and side share centroids where these are added: codebooks take
   * less memory, which counts in short contexts. Defaults to what a policy in `schemes` says, else to
   * false; another value than the policy's is refused.
   */
  readonly shareHeads?: boolean;
  /** Called regularly with the progress. */
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
    "anchor?": ANCHOR_FIELDS,
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
    "shareHeads?": FLAG,
    "onProgress?": FUNCTION,
    "signal?": having("an AbortSignal", "throwIfAborted"),
  };
}
