/** What the options of calibration may be. */
import { KEY_SPACE, POLICY_FIELDS } from "../cache_options.ts";
import { DEVICE, type Fields, FUNCTION, having, listOf, TEXT } from "../check_options.ts";
import { FLOATS, NUMBER, record, SAMPLES, SCHEMES } from "../data_kinds.ts";
import { MODEL } from "../find_codebook.ts";
import { KERNELS } from "../select_kernel.ts";
import type { ValueRotation } from "../codebook.ts";
import type { CalibrationOptions } from "./calibrate.ts";

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
