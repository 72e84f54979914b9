import type { ModelShape } from "./cache_types.ts";
import type { Codebook, CodebookSet, KeySpace, ModelFingerprint } from "./codebook.ts";
import { CoupletError } from "./errors.ts";
import { parseScheme, type SchemeId, type Side } from "./scheme.ts";

/**
 * Checks that a set of codebooks was learned on the keys a cache will get, and on its model.
 *
 * @throws {CoupletError} `codebook` where it was not.
 */
export function checkCodebookSet(
  set: CodebookSet,
  keySpace: KeySpace,
  model: ModelFingerprint | undefined,
): void {
  if (set.keySpace !== keySpace) {
    throw new CoupletError("codebook", {
      what: "Cannot use the codebooks",
      why: `they were learned on ${set.keySpace} keys and the cache gets ${keySpace} ones`,
      remedy: "Calibrate on keys in the space the cache gets",
    });
  }
  if (model !== undefined && model.digest !== set.model.digest) {
    throw new CoupletError("codebook", {
      what: "Cannot use the codebooks",
      why:
        `they were learned on ${set.model.name} (${set.model.digest}) and the model is ${model.name} (${model.digest})`,
      remedy: "Calibrate this model, or load the codebooks that belong to it",
    });
  }
}

/**
 * The codebook of one layer, side and scheme, or undefined where the scheme needs none.
 *
 * @throws {CoupletError} `codebook` where it is missing or of another shape.
 */
export function findCodebook(
  set: CodebookSet | undefined,
  shape: Pick<ModelShape, "keyValueHeads" | "headDim">,
  layer: number,
  side: Side,
  scheme: SchemeId,
): Codebook | undefined {
  const { centroids } = parseScheme(scheme);
  if (centroids === 0) return undefined;
  const found = set?.codebooks.find((codebook) =>
    codebook.layer === layer && codebook.side === side && codebook.scheme === scheme
  );
  const { keyValueHeads, headDim } = shape;
  if (
    found === undefined || found.keyValueHeads !== keyValueHeads || found.headDim !== headDim ||
    found.centroids.length !== keyValueHeads * headDim * centroids
  ) {
    const held = [...new Set(set?.codebooks.map((codebook) => codebook.scheme))].join(", ");
    throw new CoupletError("codebook", {
      what: `Cannot use ${scheme} for the ${side} of layer ${layer}`,
      why: found === undefined
        ? `no codebook was given for it; the set holds ${held || "none"}`
        : `its codebook is for ${found.keyValueHeads} heads of ${found.headDim} channels, and the model has ${keyValueHeads} of ${headDim}`,
      remedy:
        `Calibrate this model with ${scheme} among the schemes, and pass the set as codebooks`,
    });
  }
  return found;
}
