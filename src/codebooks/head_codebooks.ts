import { centroidNumbers } from "./grid.ts";
import type { CodebookNormalisation, SideCodebook } from "./codebook.ts";
import { fromFloat16Array } from "../base/float16.ts";
import type { HeadCodebook, Normalisation } from "../schemes/codec.ts";
import type { Scheme } from "../schemes/scheme.ts";

/** The codebooks of all KV heads: one each, or one for all in data-free schemes. */
export function headCodebooks(
  scheme: Scheme,
  codebook: SideCodebook | undefined,
  keyValueHeads: number,
  headDim: number,
): readonly HeadCodebook[] {
  const all = codebook === undefined
    ? new Float32Array(0)
    : codebook.grid === undefined
    ? fromFloat16Array(codebook.centroids)
    : centroidNumbers(codebook);
  const perHead = scheme.codebookSpec?.sharedBy === "head" ? all.length / keyValueHeads : 0;
  return Array.from({ length: keyValueHeads }, (_, head): HeadCodebook => {
    const centroids = perHead === 0 ? all : all.subarray(head * perHead, (head + 1) * perHead);
    const scale = codebook?.scale?.subarray(head * headDim, (head + 1) * headDim);
    const transform = codebook?.transform?.subarray(2 * head * headDim, 2 * (head + 1) * headDim);
    const normalisation = codebook?.normalisation;
    return {
      centroids,
      ...(scale === undefined ? {} : { scale }),
      ...(transform === undefined ? {} : { transform: fromFloat16Array(transform) }),
      ...(normalisation === undefined
        ? {}
        : { normalisation: ofHead(normalisation, head, headDim) }),
    };
  });
}

/** Steps that a stored step of means stands for. */
const STORED_STEPS = 64;

/** What one KV head's vectors are normalised by. */
function ofHead(
  { offsets, meanSteps, sizes }: CodebookNormalisation,
  head: number,
  headDim: number,
): Normalisation {
  const levels = sizes.length * headDim / offsets.length;
  const steps = fromFloat16Array(meanSteps.subarray(head * headDim, (head + 1) * headDim));
  return {
    offsets: offsets.subarray(head * headDim, (head + 1) * headDim),
    meanSteps: steps.map((step) => step / STORED_STEPS),
    sizes: fromFloat16Array(sizes.subarray(head * levels, (head + 1) * levels)),
  };
}
