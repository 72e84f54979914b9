import { headNormalisation } from "./added.ts";
import { centroidNumbers } from "./grid.ts";
import type { SideCodebook } from "./codebook.ts";
import { fromFloat16Array } from "../base/float16.ts";
import type { HeadCodebook } from "../schemes/codec.ts";
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
        : { normalisation: headNormalisation(normalisation, head, headDim) }),
    };
  });
}
