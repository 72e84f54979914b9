/** Kernels of channel codes of which some have more bits: Kitty's keys, and VidKV's. */
import { MAX_SPAN, MIN_SPAN } from "../../src/kernels/constants.ts";
import { channelsPerPromoted } from "../../src/schemes/promoted.ts";
import type { Scheme } from "../../src/schemes/scheme.ts";
import { plainScore } from "../kernels/attention.ts";
import { codecKernel, type Context } from "../kernels/kernel_row.ts";
import { decodeRow, encoderSizes, octetChunks, recordSizes } from "./common.ts";
import { encoderBindings, type SchemeKernels } from "./scheme_kernels.ts";

/** The kernels of one scheme with promoted channels at one head dimension. */
export function promotedKernels(scheme: Scheme, headDim: number): SchemeKernels {
  const { codeBits, layout } = scheme;
  const [, levelsWord, lowWord, highWord] = layout(headDim).sections
    .map(({ firstBit }) => firstBit / 32) as [number, number, number, number];
  const promoted = headDim / channelsPerPromoted(scheme);
  const high: Context = {
    highPartial: 32 % (promoted * codeBits) === 0 ? "high_word" : "high_words",
  };
  const load: Context = { ...high, octetPartial: "load_promoted" };
  // With what pages share in workgroup memory, fewer pages fit.
  const span = headDim > 128 ? MIN_SPAN : MAX_SPAN;
  const record = (side: string): Context => ({
    ...recordSizes(side, scheme, headDim),
    codeBits,
    promoted,
    levelsWord,
    lowWord,
    highWord,
    constantsPartial: "promoted_constants",
  });
  return {
    codecs: (reason) => [
      codecKernel("encode", scheme, headDim, "encode_promoted", reason, encoderBindings(), {
        ...encoderSizes(scheme, headDim),
        codeBits,
        promoted,
        fitPartial: codeBits === 1 ? "fit_pairs" : "fit_ranges",
      }),
      decodeRow(scheme, headDim, reason, [], {
        ...record("coded"),
        ...load,
        loadPartial: "load_octet",
      }),
    ],
    keyVariants: ["rope", "plain"],
    keySpan: () => span,
    keys: () => ({ ...record("key"), ...high, chunksPartial: "codes_promoted" }),
    // Scales and minima are mixed page by page, not token by token.
    values: (numbers) => ({
      ...record("value"),
      ...octetChunks(numbers, { ...high, octetPartial: "load_promoted_codes" }),
    }),
    records: "records",
    codebook: "none",
    score: (variant) => ({
      ...plainScore(variant, span, "coded_keys_promoted", (index) => `KeyAt(${index}u, 0u)`),
      preparePartial: `prepare_pages_${variant}`,
    }),
    mix: { mixPartial: "mix_octets", mixPagePartial: "mix_page_levels" },
  };
}
