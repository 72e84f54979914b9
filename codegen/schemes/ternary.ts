/** Kernels of ternary channel codes: VidKV's values. */
import { MAX_SPAN } from "../../src/kernels/constants.ts";
import type { Scheme } from "../../src/schemes/scheme.ts";
import { plainScore } from "../kernels/attention.ts";
import { codecKernel, type Context } from "../kernels/kernel_row.ts";
import { decodeRow, encoderSizes, octetChunks, recordSizes } from "./common.ts";
import { encoderBindings, type SchemeKernels } from "./scheme_kernels.ts";

/** The kernels of the ternary scheme at one head dimension. */
export function ternaryKernels(scheme: Scheme, headDim: number): SchemeKernels {
  const { codeBits, layout } = scheme;
  const { codes, metadataWords } = layout(headDim);
  const record = (side: string): Context => ({
    ...recordSizes(side, scheme, headDim),
    codeBits,
    mask: 2 ** codeBits - 1,
    metadataWords,
    constantsPartial: "ternary_constants",
  });
  const load: Context = { octetPartial: "load_ternary" };
  return {
    codecs: (reason) => [
      codecKernel("encode", scheme, headDim, "encode_ternary", reason, encoderBindings(), {
        ...encoderSizes(scheme, headDim),
        codeBits,
        codes,
        metadataWords,
      }),
      decodeRow(scheme, headDim, reason, [], {
        ...record("coded"),
        ...load,
        loadPartial: "load_octet",
      }),
    ],
    keyVariants: ["rope", "plain"],
    keySpan: () => MAX_SPAN,
    keys: (numbers) => ({ ...record("key"), ...octetChunks(numbers, load) }),
    // Scales and means are mixed page by page, not token by token.
    values: (numbers) => ({
      ...record("value"),
      ...octetChunks(numbers, { octetPartial: "load_trits" }),
    }),
    records: "records",
    codebook: "none",
    score: (variant) => plainScore(variant, MAX_SPAN, "coded_keys_loaded"),
    mix: { mixPartial: "mix_octets", mixPagePartial: "mix_page_levels" },
  };
}
