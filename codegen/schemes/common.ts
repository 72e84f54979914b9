/** What rooms of several families say alike. */
import { headCodebookWords } from "../../src/codebooks/device.ts";
import type { BindingName } from "../../src/kernels/bindings.ts";
import { PAGE_TOKENS, STEP_ENTRIES, WORKGROUP_SIZE } from "../../src/kernels/constants.ts";
import type { Scheme } from "../../src/schemes/scheme.ts";
import { codecKernel, type Context, type KernelRow } from "../kernels/kernel_row.ts";

/** Sizes of the records named `side`. */
export function recordSizes(side: string, scheme: Scheme, headDim: number): Context {
  const layout = scheme.layout(headDim);
  return {
    side,
    upper: side.toUpperCase(),
    recordTokens: layout.tokens,
    recordWords: layout.words,
    codebookWords: headCodebookWords(scheme, headDim),
  };
}

/** What every kernel that encodes is told. */
export function encoderSizes(scheme: Scheme, headDim: number): Context {
  const layout = scheme.layout(headDim);
  return { ...codecSizes(headDim), recordTokens: layout.tokens, recordWords: layout.words };
}

/** What every kernel that encodes or decodes is told. */
export function codecSizes(headDim: number): Context {
  return {
    headDim,
    workgroupSize: WORKGROUP_SIZE,
    pageTokens: PAGE_TOKENS,
    stepEntries: STEP_ENTRIES,
  };
}

/** How many chunks of four channels `numbers` channels are. */
export function readerSizes(numbers: number): Context {
  return { chunkCount: numbers / 4, lastChannel: numbers - 1 };
}

/** One item for each chunk of four channels. */
export function chunksOf<Item>(numbers: number, of: (index: number) => Item): Item[] {
  return Array.from({ length: numbers / 4 }, (_, index) => of(index));
}

/** How channels are read that have no faster way: chunk by chunk. */
export function loadedChunks(numbers: number, load: Context): Context {
  return {
    ...readerSizes(numbers),
    ...load,
    chunksPartial: "chunks_loaded",
    chunks: chunksOf(numbers, (index) => ({ index })),
  };
}

/** How one code is read. */
export function codePartial({ codeBits }: Scheme): string {
  return 32 % codeBits === 0 ? "code_aligned" : "code_straddling";
}

/** Constants of records that hold codes of centroids. */
export function codedSizes(
  { channels, codeBits, centroids, layout }: Scheme,
  headDim: number,
): Context {
  return { channels, codeBits, mask: 2 ** codeBits - 1, centroids, codes: layout(headDim).codes };
}

/**
 * What a kernel that searches for codes is told: their sizes, and as many lanes for each as leave
 * none idle.
 */
export function searchSizes(
  { channels, codeBits, centroids, layout }: Scheme,
  headDim: number,
): Context {
  const { codes } = layout(headDim);
  const lanes = Math.min(
    centroids,
    2 ** Math.floor(Math.log2(Math.max(1, WORKGROUP_SIZE / codes))),
  );
  return { channels, codeBits, centroids, codes, lanes };
}

/** The kernel that decodes what is not rotated. */
export function decodeRow(
  scheme: Scheme,
  headDim: number,
  reason: string,
  codebooks: readonly BindingName[],
  record: Context,
  codebookPartial = "codebook_none",
  gridPartial = "no_grid",
): KernelRow {
  return codecKernel(
    "decode",
    scheme,
    headDim,
    "decode",
    reason,
    ["step", "layer", "coded_records", ...codebooks, "pages", "vectors"],
    { ...codecSizes(headDim), codebookPartial, record: { ...record, gridPartial } },
  );
}
