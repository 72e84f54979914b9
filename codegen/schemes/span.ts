/** Kernels of schemes for spans, whose levels are shared by a span's tokens. */
import { MAX_SPAN, WORKGROUP_SIZE } from "../../src/kernels/constants.ts";
import type { Scheme } from "../../src/schemes/scheme.ts";
import { pages, plainMix, QUERIES } from "../kernels/attention.ts";
import { codecKernel, type Context, kernel } from "../kernels/kernel_row.ts";
import { codecSizes, encoderSizes, loadedChunks, recordSizes } from "./common.ts";
import type { SchemeKernels } from "./scheme_kernels.ts";

/** The kernels of one scheme for spans at one head dimension. */
export function spanKernels(scheme: Scheme, headDim: number): SchemeKernels {
  const { id, codeBits } = scheme;
  const reader = (side: string, numbers: number): Context => ({
    ...recordSizes(side, scheme, headDim),
    codeBits,
    metadataWords: 0,
    constantsPartial: "level_constants",
    ...loadedChunks(numbers, { loadPartial: "load_span_codes" }),
  });
  const { pageTokens: _, ...fitted } = codecSizes(headDim);
  return {
    codecs: (reason) => [
      kernel(
        { family: "fit", schemes: [id], size: headDim },
        "fit_span",
        reason,
        ["step", "layer", "exact", "levels_written"],
        {
          ...fitted,
          laneWords: Math.min(headDim / 2, WORKGROUP_SIZE),
          ...(codeBits === 1
            ? { fitPartial: "fit_span_pair" }
            : { fitPartial: "fit_span_range", steps: 2 ** codeBits - 1 }),
        },
      ),
      codecKernel("encode", scheme, headDim, "encode_span", reason, [
        "step",
        "layer",
        "exact",
        "pages",
        "levels",
        "records",
      ], { ...encoderSizes(scheme, headDim), codeBits, highest: 2 ** codeBits - 1 }),
    ],
    keyVariants: ["plain"],
    keySpan: () => MAX_SPAN,
    keys: (numbers) => reader("key", numbers),
    values: (numbers) => reader("value", numbers),
    records: "records",
    codebook: "levels",
    score: () => ({
      atQuery: QUERIES,
      headerPartial: "header_plain",
      scorePartial: "score_span",
      codedKeysPartial: "coded_keys_loaded",
      coded: { source: "coded", ...pages("SPAN", MAX_SPAN), queries: QUERIES.name },
    }),
    mix: plainMix("mix_span"),
  };
}
