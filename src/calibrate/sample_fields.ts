/** What samples may be. */
import type { CalibrationSamples } from "./samples.ts";
import type { Fields, Rule } from "../base/check_options.ts";
import { FLOATS, list, NUMBER, NUMBERS } from "../base/data_kinds.ts";
import { PLAIN_ROPE_FIELDS } from "../model/rope_options.ts";
import { SIDE } from "../model/side.ts";

/** What samples may be. Sizes and values are checked where they are used. */
export const SAMPLE_FIELDS: Fields<CalibrationSamples> = {
  layer: NUMBER,
  side: SIDE,
  keyValueHeads: NUMBER,
  headDim: NUMBER,
  values: FLOATS,
  "weights?": FLOATS,
  "scale?": FLOATS,
  "positions?": NUMBERS,
  "rope?": PLAIN_ROPE_FIELDS,
};

/** A list of samples. */
export const SAMPLES: Rule<readonly CalibrationSamples[]> = /* @__PURE__ */ list(
  "a list of samples",
  SAMPLE_FIELDS,
);
