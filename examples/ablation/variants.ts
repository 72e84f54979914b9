import { CoupletError, parseScheme, type SchemeId } from "@couplet/kv";
import type { Weighting } from "../engine/weighted_samples.ts";
import type { KEY_SPACES } from "../eval/figures/results.ts";
import type { VectorSpace } from "./vector_space.ts";

/** One row of the ablation: a way of coding that differs from another row's in one thing. */
export interface Variant {
  /** What is different. */
  readonly title: string;
  /** The title of the row that it differs from; absent for the first. */
  readonly from?: string;
  /** Of keys and values. */
  readonly scheme: SchemeId;
  readonly weights: Weighting;
  readonly keySpace: (typeof KEY_SPACES)[number];
  /** What is done to vectors before they are coded. */
  readonly space?: VectorSpace;
  /** Whether all KV heads of a layer and side share centroids. */
  readonly shareHeads?: true;
  /** Whether values are rotated onto their principal axes. */
  readonly rotateValues?: true;
  /** Sums that are kept while codes are searched; the codec's own where absent. */
  readonly width?: number;
}

/** What all rows are built towards. */
export const BASE = "all";

/** Widths that the codec's is compared with. */
const WIDTHS = [1, 2, 8];

/**
 * The rows for a normalised, additive scheme: what each part of it gains, one after the other, and then what each change of
 * the whole does.
 *
 * @throws {CoupletError} `usage` for a scheme of another kind, `scheme` for an unknown one.
 */
export function ablationVariants(scheme: SchemeId): readonly Variant[] {
  const { codebookSpec, channels, codeBits } = parseScheme(scheme);
  if (!codebookSpec?.normalised || codebookSpec.stages === undefined) {
    throw new CoupletError("usage", {
      what: `Cannot take ${scheme} apart`,
      why: "it is not a normalised, additive scheme",
      remedy: "Give one, such as n16b8x2",
    });
  }
  const { stages } = codebookSpec;
  const common = { weights: "fisher", keySpace: "pre-rope" } as const;
  const alone = parseScheme(scheme.replace("n", "c")).id;
  const base: Variant = { title: BASE, from: "block means", scheme, ...common };
  const change = (title: string, rest: Partial<Variant>): Variant => ({
    ...base,
    title,
    from: BASE,
    ...rest,
  });
  return [
    { title: "centroids alone", scheme: alone, ...common },
    { title: "offsets", from: "centroids alone", scheme: alone, space: "offset", ...common },
    { title: "block means", from: "offsets", scheme: alone, space: "mean", ...common },
    base,
    ...[1, 2, 4].filter((count) => count !== stages).flatMap((count) => {
      const id = additiveId((channels / stages) * count, codeBits, count);
      return id === undefined
        ? []
        : [change(`${count} ${count === 1 ? "stage" : "stages"}, ${id}`, { scheme: id })];
    }),
    ...(stages === 1 ? [] : WIDTHS.map((width) => change(`beam of ${width}`, { width }))),
    change("heads share centroids", { shareHeads: true }),
    change("Hadamard rotation", { space: "hadamard" }),
    change("values rotated", { rotateValues: true }),
    change("no weights", { weights: "none" }),
    change("query weights", { weights: "query" }),
    change("Fisher and query weights", { weights: "fisher+query" }),
    change("keys as scored", { keySpace: "as-scored" }),
  ];
}

/** A scheme of as many bits; undefined where there is none. */
function additiveId(channels: number, codeBits: number, stages: number): SchemeId | undefined {
  const id = `n${channels}b${codeBits}${stages === 1 ? "" : `x${stages}`}`;
  try {
    return parseScheme(id).id;
  } catch (error) {
    if (error instanceof CoupletError) return undefined;
    throw error;
  }
}
