/** The layout of codebooks in device memory. */
import type { LayerPolicy } from "../schemes/policy.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { Scheme } from "../schemes/scheme.ts";
import { sideDim, type SideDims, SIDES } from "../model/side.ts";
import { packAdded } from "./added.ts";
import type { Codebook, SideCodebook } from "./codebook.ts";

/**
 * Whether a layer shares its codebooks with other layers of the same schemes: neither side has one
 * of its own.
 */
export function sharesCodebooks({ keys, values }: LayerPolicy): boolean {
  return [keys, values].every((scheme) => parseScheme(scheme).codebookSpec?.sharedBy !== "head");
}

/**
 * u32 words from one KV head's codebook on the device to the next. 0 where heads share one.
 */
export function headCodebookWords({ codebookSpec }: Scheme, headDim: number): number {
  if (codebookSpec?.sharedBy !== "head") return 0;
  return codebookSpec.headWords?.(headDim) ?? codebookSpec.words(headDim);
}

/** Channels of a head that have a grid and centroids of their own. */
export function gridChannels({ codebookSpec, channels }: Scheme, headDim: number): number {
  return codebookSpec?.groupsShare ? channels : headDim;
}

/** Numbers of a channel's grid: the lowest of each stage, and the step. */
export function gridNumbers({ codebookSpec }: Scheme): number {
  return (codebookSpec?.stages ?? 1) + 1;
}

/** KV heads that a codebook has centroids of: one where all share them. */
export function centroidHeads({ scheme: id, keyValueHeads, headDim, centroids }: Codebook): number {
  const { centroids: count, codebookSpec } = parseScheme(id);
  const stages = codebookSpec?.stages;
  return stages !== undefined && centroids.length === headDim * stages * count ? 1 : keyValueHeads;
}

/** Word offsets of the parts of one layer's codebook buffer; 0 where a scale is absent. */
export interface CodebookOffsets {
  /** The values' centroids. */
  readonly values: number;
  /** The keys' channel scale. */
  readonly keyScale: number;
  /** The values' channel scale. */
  readonly valueScale: number;
}

/**
 * Each KV head's transform, if it has one, its grid, then its centroids: {@linkcode
 * headCodebookWords} words a head. Centroids of a data-free scheme are copied as they are, and
 * added ones follow what all heads have.
 */
function packCentroids(codebook: SideCodebook, headDim: number): Uint32Array<ArrayBuffer> {
  if (codebook.grid !== undefined && parseScheme(codebook.scheme).codebookSpec!.stages) {
    return packAdded(codebook);
  }
  if (codebook.grid === undefined) {
    const bytes = new Uint8Array(4 * parseScheme(codebook.scheme).codebookSpec!.words(headDim));
    bytes.set(new Uint8Array(codebook.centroids.slice().buffer));
    return new Uint32Array(bytes.buffer);
  }
  const { keyValueHeads, centroids, grid, transform } = codebook;
  const parts = [transform, grid, centroids].flatMap((part) =>
    part === undefined ? [] : new Uint8Array(part.buffer, part.byteOffset, part.byteLength)
  );
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let first = 0;
  for (let head = 0; head < keyValueHeads; head++) {
    for (const part of parts) {
      const size = part.length / keyValueHeads;
      bytes.set(part.subarray(head * size, (head + 1) * size), first);
      first += size;
    }
  }
  return new Uint32Array(bytes.buffer);
}

/**
 * Transforms, grids, centroids and scales of one layer in one array of words, and where each part
 * begins.
 */
export function packCodebooks(
  keys: SideCodebook | undefined,
  values: SideCodebook | undefined,
  layer: SideDims,
): { readonly words: Uint32Array<ArrayBuffer>; readonly offsets: CodebookOffsets } {
  // A data-free scheme has the same codebook on both sides.
  const same = keys !== undefined && keys.centroids === values?.centroids &&
    layer.headDim === layer.valueHeadDim;
  const centroids = [keys, same ? undefined : values].map((codebook, i) =>
    codebook === undefined ? new Uint32Array(0) : packCentroids(codebook, sideDim(layer, SIDES[i]!))
  );
  const scales = [keys, values].map((codebook) =>
    new Uint32Array(
      codebook?.scale?.slice().buffer ?? new ArrayBuffer(0),
    )
  );
  const parts = [...centroids, ...scales];
  const starts: number[] = [];
  let length = 0;
  for (const part of parts) {
    starts.push(length);
    length += part.length;
  }
  const words = new Uint32Array(length);
  parts.forEach((part, i) => words.set(part, starts[i]!));
  const offset = (i: number) => (parts[i]!.length === 0 ? 0 : starts[i]!);
  return {
    words,
    offsets: { values: same ? 0 : starts[1]!, keyScale: offset(2), valueScale: offset(3) },
  };
}
