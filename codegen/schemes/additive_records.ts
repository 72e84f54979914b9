/** How kernels read records and codebooks of normalised, additive codes. */
import { gridWords } from "../../src/schemes/normalisation.ts";
import type { Scheme } from "../../src/schemes/scheme.ts";
import type { Context } from "../kernels/kernel_row.ts";
import { codedSizes, codePartial, recordSizes } from "./common.ts";

/** Codes of a group, whose centroids are added. */
export function stagesOf({ codebookSpec }: Scheme): number {
  return codebookSpec!.stages!;
}

/** The constants of records, and how the codebook beside the centroids is read. */
export function additiveRecord(side: string, scheme: Scheme, headDim: number): Context {
  const stages = stagesOf(scheme);
  return {
    ...recordSizes(side, scheme, headDim),
    ...codedSizes(scheme, headDim),
    constantsPartial: "additive_constants",
    stages,
    metadataWords: scheme.layout(headDim).metadataWords,
    gridWords: gridWords(stages),
    channelWords: 1 + gridWords(stages),
    gridsPartial: `additive_grids_${stages}`,
  };
}

/** How one chunk of a token is read, with all that it stands for. */
export function loadedChunk(scheme: Scheme): Context {
  return {
    codePartial: codePartial(scheme),
    wordPartial: scheme.channels === 2 ? "added_word_c2" : "added_word",
    loadPartial: "load_added",
  };
}
