/** Kernels of `f16`: records are the numbers themselves. */
import { MAX_SPAN } from "../../src/kernels/constants.ts";
import type { Scheme } from "../../src/schemes/scheme.ts";
import { plainMix, plainScore } from "../kernels/attention.ts";
import { codecKernel } from "../kernels/kernel_row.ts";
import { chunksOf, decodeRow, encoderSizes, readerSizes, recordSizes } from "./common.ts";
import { encoderBindings, type SchemeKernels } from "./scheme_kernels.ts";

/** The kernels of `f16` at one head dimension. */
export function halfKernels(scheme: Scheme, headDim: number): SchemeKernels {
  const record = (side: string) => ({
    ...recordSizes(side, scheme, headDim),
    constantsPartial: "half_constants",
  });
  const reader = (side: string, numbers: number) => ({
    ...record(side),
    ...readerSizes(numbers),
    chunksPartial: "chunks_half",
    chunks: chunksOf(numbers, (index) => ({ quad: index >> 1, column: index & 1 })),
    quads: Array.from({ length: numbers / 8 }, (_, index) => ({ index })),
  });
  return {
    codecs: (reason) => [
      codecKernel(
        "encode",
        scheme,
        headDim,
        "encode_half",
        reason,
        encoderBindings(),
        encoderSizes(scheme, headDim),
      ),
      decodeRow(scheme, headDim, reason, [], { ...record("coded"), loadPartial: "load_half" }),
    ],
    keyVariants: ["rope", "mrope", "plain"],
    keySpan: () => MAX_SPAN,
    keys: (numbers) => reader("key", numbers),
    values: (numbers) => reader("value", numbers),
    records: "quads",
    codebook: "none",
    score: (variant) => plainScore(variant, MAX_SPAN, "coded_keys_loaded"),
    mix: plainMix("mix_plain"),
  };
}
