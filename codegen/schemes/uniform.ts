/**
 * Kernels of uniform quantisation: KIVI's, Kitty's of values, and llama.cpp's cache types.
 */
import { MAX_SPAN } from "../../src/kernels/constants.ts";
import type { Scheme } from "../../src/schemes/scheme.ts";
import { groupNumbers, uniformLevels } from "../../src/schemes/uniform.ts";
import { plainMix, plainScore } from "../kernels/attention.ts";
import { codecKernel, type Context } from "../kernels/kernel_row.ts";
import { decodeRow, encoderSizes, loadedChunks, recordSizes } from "./common.ts";
import { encoderBindings, type SchemeKernels } from "./scheme_kernels.ts";

/** The kernels of one scheme of uniform quantisation at one head dimension. */
export function uniformKernels(scheme: Scheme, headDim: number): SchemeKernels {
  const { codeBits, layout } = scheme;
  const levels = uniformLevels(scheme);
  const { group, span, steps, zero } = levels;
  const numbers = groupNumbers(levels, headDim);
  const { tokens, metadataWords } = layout(headDim);
  const ranged = span === "range";
  const load: Context = { loadPartial: ranged ? `load_levels_${group}` : "load_symmetric" };
  const record = (side: string): Context => ({
    ...recordSizes(side, scheme, headDim),
    codeBits,
    metadataWords,
    constantsPartial: ranged ? "level_constants" : "symmetric_constants",
    ...(ranged ? {} : { zero }),
  });
  const reader = (side: string, numbers: number) => ({
    ...record(side),
    ...loadedChunks(numbers, load),
  });
  return {
    codecs: (reason) => [
      codecKernel("encode", scheme, headDim, "encode_levels", reason, encoderBindings(), {
        ...encoderSizes(scheme, headDim),
        codeBits,
        steps,
        zero,
        groupNumbers: numbers,
        groups: (tokens * headDim) / numbers,
        metadataWords,
        membersPartial: group === "tokens" ? "members_tokens" : "members_channels",
        groupsPartial: group === "tokens" ? "groups_limited" : "groups_plain",
        fitPartial: `fit_${span}`,
        metadataPartial: ranged ? "metadata_words" : "metadata_halves",
      }),
      decodeRow(scheme, headDim, reason, [], { ...record("coded"), ...load }),
    ],
    keyVariants: ["rope", "plain"],
    keySpan: () => MAX_SPAN,
    keys: (numbers) => reader("key", numbers),
    values: (numbers) => reader("value", numbers),
    records: "records",
    codebook: "none",
    score: (variant) => plainScore(variant, MAX_SPAN, "coded_keys_loaded"),
    mix: plainMix("mix_plain"),
  };
}
