/** Kernels of schemes that code vectors after a Hadamard rotation: NSNQuant's and TurboQuant's. */
import { hadamardFactor, hadamardInverseFactor } from "../../src/schemes/hadamard.ts";
import type { BindingName } from "../../src/kernels/bindings.ts";
import { ENCODE_TOKENS, MAX_SPAN, MIN_SPAN } from "../../src/kernels/constants.ts";
import type { KeyVariant } from "../../src/kernels/name.ts";
import type { Scheme } from "../../src/schemes/scheme.ts";
import { LEAST_EXPONENT } from "../../src/schemes/block_means.ts";
import { waveCount } from "../../src/schemes/waves.ts";
import { AT_START, AT_TILE, EXACT_KEYS, pages, QUERIES } from "../kernels/attention.ts";
import { codecKernel, type Context, type KernelRow } from "../kernels/kernel_row.ts";
import {
  angleContext,
  codecSizes,
  codedSizes,
  codePartial,
  encoderSizes,
  loadedChunks,
  QUERY_EXCHANGE,
  recordSizes,
  ROTATED_QUERIES,
  searchSizes,
  SUM_EXCHANGE,
} from "./common.ts";
import { encoderBindings, type SchemeKernels } from "./scheme_kernels.ts";

/** Halfwords of a codebook in binary16 that a kernel loads at once. */
const ROW_HALFWORDS = 8;

/** What binary32 adds to an exponent. */
const FLOAT_BIAS = 127;

/** Whether keys before their rotary embedding are coded with it. */
type Rope = "rope" | undefined;

/**
 * How codes are searched: each row of centroids, loaded once, is compared with a batch of `tokens`
 * tokens.
 */
function searched(channels: number, tokens: number): Context {
  const rowCentroids = channels === 1 ? 1 : ROW_HALFWORDS / channels;
  const parts = Array.from({ length: Math.ceil(channels / 4) }, (_, part) => part);
  const joint = (part: number) => (part + 1 < parts.length ? " + " : "");
  const tokenList = Array.from({ length: tokens }, (_, token) => token);
  return {
    tokens,
    rowCentroids,
    centroidPartial: channels === 1 ? "centroid_single" : "centroid_pairs",
    batch: tokenList.map((token) => ({
      token,
      parts: parts.map((part) => ({ token, part, vector: `x_${token}_${part}` })),
    })),
    searched: Array.from({ length: rowCentroids }, (_, index) => {
      const own = { code: `code_of_${index}`, half: `half_square_${index}` };
      const centroid = (part: number) => `c_${index}_${part}`;
      return {
        index,
        ...own,
        parts: parts.map((part) => ({
          centroid: centroid(part),
          rowPart: index * parts.length + part,
          joint: joint(part),
        })),
        batch: tokenList.map((token) => ({
          token,
          ...own,
          likeness: `likeness_${index}_${token}`,
          parts: parts.map((part) => ({
            vector: `x_${token}_${part}`,
            centroid: centroid(part),
            joint: joint(part),
          })),
        })),
      };
    }),
  };
}

/** The kernels of one scheme with a Hadamard rotation at one head dimension. */
export function hadamardKernels(scheme: Scheme, headDim: number): SchemeKernels {
  const { channels } = scheme;
  const { tokens, metadata, metadataWords } = scheme.layout(headDim);
  /** Whether records hold their tokens' mean. */
  const mean = metadata.sharedBits > 0;
  /** Waves in records of keys as they are scored, next to their mean. */
  const waves = { waves: waveCount(headDim), lastToken: tokens - 1 };
  const unspread = hadamardInverseFactor(headDim);
  const record = (side: string): Context => ({
    ...recordSizes(side, scheme, headDim),
    constantsPartial: "universal_constants",
    metadataWords,
    ...codedSizes(scheme, headDim),
  });
  const code = { codePartial: codePartial(scheme) };
  /** How a chunk is read if its mean, if any, is added elsewhere. */
  const beside = (meanPartial: string): Context =>
    mean
      ? { ...code, loadPartial: "load_beside_mean", meanPartial }
      : { ...code, loadPartial: "load_scale" };
  // With queries in two spaces in workgroup memory, fewer pages fit.
  const span = headDim > 128 ? MIN_SPAN : MAX_SPAN;

  function encode(reason: string, rope: Rope): KernelRow {
    const bindings: BindingName[] = [
      ...encoderBindings(channels === 1 ? "codebooks" : "codebook_quads"),
      ...(rope === undefined ? mean ? ["counters" as const] : [] : [rope]),
    ];
    return codecKernel("encode", scheme, headDim, "encode_rotated", reason, bindings, {
      ...encoderSizes(scheme, headDim),
      ...searchSizes(scheme, headDim),
      ...angleContext(rope),
      headerPartial: rope === undefined ? "header_no_angle" : "header_angle",
      ...(rope === undefined
        ? { chunkPartial: "chunk_plain" }
        : { chunkPartial: "chunk_rope", signsPartial: "signs_fixed" }),
      centrePartial: !mean ? "centre_none" : rope === undefined ? "centre_rotated" : "centre_plain",
      scalesPartial: mean ? "scales_byte" : "scales_half",
      ...(mean ? { leastExponent: LEAST_EXPONENT + FLOAT_BIAS } : {}),
      ...(mean && rope === undefined ? waves : {}),
      metadataWords,
      ...searched(channels, Math.min(tokens, headDim > 128 ? ENCODE_TOKENS / 2 : ENCODE_TOKENS)),
      spread: hadamardFactor(headDim),
    }, rope);
  }

  function decode(reason: string, rope: Rope): KernelRow {
    const waved = mean && rope === undefined;
    const finish = waved ? "waves" : rope === undefined ? "plain" : mean ? "mean_rope" : "rope";
    const load = waved
      ? { ...code, loadPartial: "load_mean_scale", meanPartial: "mean_by_side" }
      : beside("mean_long");
    const bindings: BindingName[] = [
      "step",
      "layer",
      "coded_records",
      "codebooks",
      "pages",
      ...(rope === undefined ? [] : [rope]),
      "vectors",
    ];
    return codecKernel("decode", scheme, headDim, "decode_rotated", reason, bindings, {
      ...codecSizes(headDim),
      unspread,
      ...angleContext(rope),
      headerPartial: waved ? "wave" : rope === undefined ? "header_no_angle" : "header_angle",
      ...(waved ? waves : {}),
      codebookPartial: "codebook_none",
      loadedPartial: "loaded_codes",
      unrotatedPartial: "unrotated_signs",
      finishPartial: `decoded_${finish}`,
      record: { ...record("coded"), ...load },
    }, rope);
  }

  function score(variant: KeyVariant): Context {
    const rows = {
      ...QUERY_EXCHANGE,
      atQuery: QUERIES,
      atRotated: ROTATED_QUERIES,
      codedKeysPartial: "coded_keys_loaded",
      exactly: EXACT_KEYS,
      coded: { source: "coded", ...pages("SPAN", span), queries: ROTATED_QUERIES.name },
    };
    if (variant !== "rope") {
      return {
        ...rows,
        headerPartial: "header_rotated_plain",
        ...(mean ? { scorePartial: "score_waved_plain", ...waves } : {
          scorePartial: "score_rotated_plain",
          preparePartial: "prepare_rotated_plain",
          startPartial: "start_none",
        }),
      };
    }
    // Means lie in workgroup memory, page by page.
    const means = pages("SPAN", span, (index) => `KeyAt(${index}u, 0u)`);
    return {
      ...rows,
      headerPartial: "header_rotated_rope",
      ...(mean
        ? {
          scorePartial: "score_mean_rope",
          mean: { source: "mean", ...means, queries: QUERIES.name },
        }
        : {
          scorePartial: "score_rotated_rope",
          preparePartial: "prepare_rotated_rope",
          startPartial: "start_none",
        }),
      atTile: AT_TILE,
      atStart: AT_START,
    };
  }

  return {
    codecs: (reason) =>
      ([undefined, "rope"] as const)
        .flatMap((rope) => [encode(reason, rope), decode(reason, rope)]),
    keyVariants: ["rope", "plain"],
    keySpan: () => span,
    // Keys' means are scored separately: page by page, or with the rotary embedding, which codes
    // already include.
    keys: (numbers, variant) => ({
      ...record("key"),
      ...loadedChunks(numbers, beside(variant === "rope" ? "mean_staged" : "mean_short")),
    }),
    // A mean is mixed page by page, not token by token.
    values: (numbers) => ({ ...record("value"), ...loadedChunks(numbers, beside("mean_long")) }),
    records: "records",
    codebook: "halves",
    score,
    mix: {
      ...SUM_EXCHANGE,
      ...(mean
        ? { mixPartial: "mix_rotated_mean", mixPagePartial: "mix_page_mean" }
        : { mixPartial: "mix_rotated", mixPagePartial: "mix_page_none" }),
    },
    rotation: { rotationPartial: "rotation_lanes", unspread },
  };
}
