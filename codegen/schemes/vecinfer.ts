/** Kernels of VecInfer: a codebook that all groups of a head share, behind factors and a rotation. */
import { hadamardFactor, hadamardInverseFactor } from "../../src/schemes/hadamard.ts";
import { headCodebookWords } from "../../src/codebooks/device.ts";
import type { BindingName } from "../../src/kernels/bindings.ts";
import { ENCODE_TOKENS, MAX_SPAN, MIN_SPAN } from "../../src/kernels/constants.ts";
import type { KeyVariant } from "../../src/kernels/name.ts";
import type { Scheme } from "../../src/schemes/scheme.ts";
import { AT_START, AT_TILE, EXACT_KEYS, pages, plainMix, QUERIES } from "../kernels/attention.ts";
import { codecKernel, type Context, type KernelRow } from "../kernels/kernel_row.ts";
import {
  angleContext,
  codecSizes,
  codedSizes,
  codePartial,
  codesContext,
  encoderSizes,
  QUERY_EXCHANGE,
  readerSizes,
  recordSizes,
  ROTATED_QUERIES,
  searchSizes,
  SUM_EXCHANGE,
} from "./common.ts";
import { encoderBindings, type SchemeKernels } from "./scheme_kernels.ts";

/** Levels that a kernel loads at once: four words. */
const ROW_LEVELS = 16;

/** How codes are searched: a row of centroids, loaded once, is compared with a batch of tokens. */
function searched({ channels }: Scheme): Context {
  const quads = channels / 4;
  const rowCentroids = ROW_LEVELS / channels;
  const joint = (quad: number) => (quad + 1 < quads ? " + " : "");
  const list = Array.from({ length: quads }, (_, quad) => quad);
  return {
    rowCentroids,
    quads: list.map((index) => ({ index })),
    searched: Array.from({ length: rowCentroids }, (_, index) => {
      const own = { code: `code_of_${index}`, half: `half_square_${index}` };
      const centroid = (quad: number) => `c_${index}_${quad}`;
      return {
        index,
        ...own,
        parts: list.map((quad) => ({
          quad,
          centroid: centroid(quad),
          word: "xyzw"[index * quads + quad]!,
          joint: joint(quad),
        })),
        batch: Array.from({ length: ENCODE_TOKENS }, (_, token) => ({
          token,
          ...own,
          parts: list.map((quad) => ({
            place: token * quads + quad,
            centroid: centroid(quad),
            joint: joint(quad),
          })),
        })),
      };
    }),
  };
}

/** The kernels of one scheme at one head dimension. */
export function vecInferKernels(scheme: Scheme, headDim: number): SchemeKernels {
  const { channels } = scheme;
  const codebookWords = headCodebookWords(scheme, headDim);
  const unspread = hadamardInverseFactor(headDim);
  const record = (side: string): Context => ({
    ...recordSizes(side, scheme, headDim),
    constantsPartial: "coded_constants",
    ...codedSizes(scheme, headDim),
  });
  const gathered = (side: string, numbers: number): Context => ({
    ...record(side),
    ...readerSizes(numbers),
    ...codesContext(scheme, numbers),
    chunksPartial: `chunks_shared_c${channels}`,
  });
  // With queries in two spaces in workgroup memory, fewer pages fit.
  const span = headDim > 128 ? MIN_SPAN : MAX_SPAN;

  function codecs(reason: string, rope: "rope" | undefined): KernelRow[] {
    const turned = {
      ...angleContext(rope),
      headerPartial: rope === undefined ? "header_no_angle" : "header_angle",
    };
    const angles: BindingName[] = rope === undefined ? [] : [rope];
    const encode = {
      ...encoderSizes(scheme, headDim),
      ...searchSizes(scheme, headDim),
      ...searched(scheme),
      ...turned,
      ...(rope === undefined
        ? { chunkPartial: "chunk_smoothed" }
        : { chunkPartial: "chunk_turned", signsPartial: "signs_factors" }),
      codebookWords,
      tokens: ENCODE_TOKENS,
      spread: hadamardFactor(headDim),
    };
    const decode = {
      ...codecSizes(headDim),
      ...turned,
      unspread,
      codebookPartial: "codebook_words",
      loadedPartial: "loaded_shared",
      unrotatedPartial: "unrotated_factors",
      finishPartial: rope === undefined ? "decoded_plain" : "decoded_rope",
      record: { ...record("coded"), codePartial: codePartial(scheme), loadPartial: "load_shared" },
    };
    return [
      codecKernel(
        "encode",
        scheme,
        headDim,
        "encode_shared",
        reason,
        [
          ...encoderBindings("codebook_quads"),
          ...angles,
        ],
        encode,
        rope,
      ),
      codecKernel(
        "decode",
        scheme,
        headDim,
        "decode_rotated",
        reason,
        [
          "step",
          "layer",
          "coded_records",
          "codebooks",
          "pages",
          ...angles,
          "vectors",
        ],
        decode,
        rope,
      ),
    ];
  }

  function score(variant: KeyVariant): Context {
    return {
      ...QUERY_EXCHANGE,
      atQuery: QUERIES,
      atRotated: ROTATED_QUERIES,
      codedKeysPartial: "coded_keys_shared",
      exactly: EXACT_KEYS,
      coded: { source: "coded", ...pages("SPAN", span), queries: ROTATED_QUERIES.name },
      headerPartial: `header_rotated_${variant}`,
      scorePartial: `score_rotated_${variant}`,
      preparePartial: `prepare_shared_${variant}`,
      startPartial: "start_base",
      ...(variant === "rope" ? { atTile: AT_TILE, atStart: AT_START } : {}),
    };
  }

  return {
    codecs: (reason) => [...codecs(reason, undefined), ...codecs(reason, "rope")],
    keyVariants: ["rope", "plain"],
    keySpan: () => span,
    keys: (numbers) => gathered("key", numbers),
    values: (numbers) => gathered("value", numbers),
    records: "records",
    codebook: channels === 8 ? "pairs" : "words",
    score,
    mix: { ...SUM_EXCHANGE, ...plainMix("mix_shared") },
    rotation: { rotationPartial: "rotation_lanes", unspread },
  };
}
