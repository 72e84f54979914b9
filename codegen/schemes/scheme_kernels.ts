/** What a family of schemes defines of its kernels, for `codegen/rows/expand.ts`. */
import type { BindingName } from "../../src/kernels/bindings.ts";
import type { KeyVariant } from "../../src/kernels/name.ts";
import type { IntegerKernels } from "../kernels/integers.ts";
import type { Context, KernelRow } from "../kernels/kernel_row.ts";

/**
 * How a scheme's codebook is read: not at all, as binary16, or as levels, by one word, two or four;
 * or the levels of a span in its place.
 */
export type CodebookReads = "none" | "halves" | "words" | "pairs" | "quads" | "levels";

/** The kernels of one scheme at one head dimension. */
export interface SchemeKernels {
  /**
   * Kernels that encode and decode: one each, and one more for keys that are coded with their
   * rotary embedding. Schemes for spans fit and encode.
   */
  codecs(reason: string): readonly KernelRow[];
  /** The ways its coded keys can be read. */
  readonly keyVariants: readonly KeyVariant[];
  /** Most pages of a coded tile, where its keys are read in this way. */
  keySpan(variant: KeyVariant): number;
  /** Reading of keys: constants, and how `numbers` consecutive channels are read. */
  keys(numbers: number, variant: KeyVariant): Context;
  /** The same for values. */
  values(numbers: number): Context;
  /** What its readers bind: words, or four words at once. */
  readonly records: "records" | "quads";
  /** How its codebook is read. */
  readonly codebook: CodebookReads;
  /**
   * Whether more than centroids are read of its codebook: by four words at a time, and beside a
   * table of q.centroid, too. Absent means no.
   */
  readonly normalised?: true;
  /** How queries are prepared, and coded keys scored. */
  score(variant: KeyVariant): Context;
  /** How coded values are mixed, and what is undone after the last of them. */
  readonly mix: Context;
  /**
   * The partial that changes the `score` of a lane's tokens before it is capped; scores of exact
   * tokens pass through it, too. Defaults to none.
   */
  readonly remap?: string;
  /**
   * The Hadamard rotation of queries and of sums of values, into the space of the codes and back;
   * absent without such a space.
   */
  readonly rotation?: Context;
  /** Words of a head's centroids, where they can be staged in workgroup memory; else absent. */
  readonly staged?: { readonly words: number };
  /** How it attends in integers; absent where its levels are no bytes. */
  readonly integers?: IntegerKernels;
  /** The kernel that fills tables of q.centroid; absent where keys cannot be scored by one. */
  table?(reason: string, variant: "table16" | undefined): KernelRow;
}

/** Bindings of the encoders of all schemes. */
export function encoderBindings(...codebooks: BindingName[]): BindingName[] {
  return ["step", "layer", "exact", "pages", ...codebooks, "records"];
}
