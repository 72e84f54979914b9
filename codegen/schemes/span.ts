/** Kernels of schemes for spans, whose levels are shared by a span's tokens. */
import { MAX_SPAN, WORKGROUP_SIZE } from "../../src/kernels/constants.ts";
import type { Scheme } from "../../src/schemes/scheme.ts";
import { pages, plainMix, QUERIES } from "../kernels/attention.ts";
import { INTEGER_KEY_CHANNELS, integerScore } from "../kernels/integers.ts";
import { codecKernel, type Context, kernel } from "../kernels/kernel_row.ts";
import { codecSizes, encoderSizes, loadedChunks, recordSizes } from "./common.ts";
import type { SchemeKernels } from "./scheme_kernels.ts";

/** The kernels of one scheme for spans at one head dimension. */
export function spanKernels(scheme: Scheme, headDim: number): SchemeKernels {
  const { id, codeBits } = scheme;
  const record = (side: string): Context => ({
    ...recordSizes(side, scheme, headDim),
    codeBits,
    metadataWords: 0,
    constantsPartial: "level_constants",
  });
  const reader = (side: string, numbers: number): Context => ({
    ...record(side),
    ...loadedChunks(numbers, { loadPartial: "load_span_codes" }),
  });
  const planes = 8 / codeBits;
  /** Codes as integers: the same code of each byte at a time. */
  const planeReader = (side: string, numbers: number): Context => ({
    ...record(side),
    chunkCount: numbers / 4,
    chunksPartial: "plane_words",
    planeWords: Array.from({ length: numbers * codeBits / 32 }, (_, index) => ({ index })),
    planes: Array.from({ length: numbers / 4 }, (_, chunk) => ({
      word: Math.floor(chunk / planes),
      shift: codeBits * (planes - 1 - chunk % planes),
    })),
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
    // A word of single bits has more planes than a lane has chunks of values.
    ...(codeBits === 1 ? {} : {
      integers: {
        values: (numbers) => planeReader("value", numbers),
        mix: () => ({
          finishPartial: "finish_planes",
          channelsPartial: planes === 4 ? "channels_of_four_planes" : "channels_of_two_planes",
          mixTilePartial: "pack_weights_plain",
          quadsPartial: "quads_apart",
        }),
        score(_, digits) {
          const { exactly: _exactly, ...score } = integerScore(digits, MAX_SPAN);
          return {
            key: planeReader("key", INTEGER_KEY_CHANNELS),
            ...score,
            scorePartial: "score_span_integers",
            keyStepsPartial: "key_steps_planes",
            planes,
            planeMask: `0x${((2 ** codeBits - 1) * 2 ** (8 - codeBits)).toString(16).repeat(4)}`,
            planeStep: `${2 ** (codeBits - 8)}`,
          };
        },
      },
    }),
  };
}
