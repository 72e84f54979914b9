import { checkOptions, FINITE, isA, type Kind, kind, TEXT } from "../base/check_options.ts";
import type { Codebook, CodebookSet, SideCodebook } from "./codebook.ts";
import { centroidHeads, gridChannels, gridNumbers } from "./device.ts";
import { keyAnchors } from "../model/anchors.ts";
import type { KeyOptions, KeySpace, ModelFingerprint } from "../model/model.ts";
import { raise } from "../base/raise.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { Policy } from "../schemes/policy.ts";
import type { SchemeId } from "../schemes/scheme.ts";
import type { Side } from "../model/side.ts";

/** What a model's fingerprint may be. */
export const MODEL: Kind<ModelFingerprint> = kind(
  "{ name, digest }",
  (value) => TEXT[1](Object(value).name) && TEXT[1](Object(value).digest),
);

/** What a set of codebooks may be. Content of files was checked when they were read. */
export const CODEBOOKS: Kind<CodebookSet> = kind(
  "what decodeCodebooks() or calibrate() gives",
  (value) => {
    const { model, codebooks } = Object(value);
    return MODEL[1](model) && Array.isArray(codebooks) &&
      [...codebooks].every((one) =>
        isA("Uint8Array", Object(one).centroids) && isA("Uint16Array", one.grid)
      );
  },
);

/** The keys of a layer. */
interface KeysOfLayer {
  readonly keyOptions: KeyOptions;
  readonly headDim: number;
}

/** The keys that a cache will get. Those with anchors are alike in all layers. */
interface CachedKeys {
  readonly keys: { readonly space: KeySpace };
  readonly layers: readonly KeysOfLayer[];
}

/**
 * Checks that a set of codebooks was learned on the keys and values a cache will get, and on its
 * model.
 *
 * @throws {CoupletError} `codebook` where it was not.
 */
export function checkCodebookSet(
  set: CodebookSet,
  { keys, layers }: CachedKeys,
  model: ModelFingerprint | undefined,
): void {
  const [{ keyOptions, headDim }] = layers as CachedKeys["layers"] & [KeysOfLayer];
  checkOrigin(set, { keySpace: keys.space, anchors: keyAnchors(keyOptions, headDim), model });
  if (set.valueRotations?.length && model === undefined) {
    foreign(
      "their values are rotated, and nothing says that the model's are",
      "Fold the rotations into the model, and pass the digest it then has (model)",
    );
  }
}

/** What is known of the keys and the model that codebooks are for. */
interface Wanted {
  readonly keySpace?: KeySpace | undefined;
  readonly anchors?: readonly number[] | undefined;
  readonly model?: ModelFingerprint | undefined;
}

/**
 * Checks the model, key space and anchors of codebooks, where those of the cache are known.
 *
 * @throws {CoupletError} `codebook` where they are of others.
 */
export function checkOrigin(
  set: Pick<CodebookSet, "keySpace" | "anchors" | "model">,
  { keySpace = set.keySpace, anchors = set.anchors, model = set.model }: Wanted,
): void {
  const [learned, wanted] = [[set.keySpace, set.anchors], [keySpace, anchors]].map(([space, own]) =>
    own ? `${space} (${own} tokens)` : space
  );
  if (learned !== wanted) {
    foreign(
      `they were learned on ${learned} keys and the cache gets ${wanted} ones`,
      "Calibrate on such keys, or plan the cache for the others",
    );
  }
  if (model.digest !== set.model.digest) {
    foreign(
      `they were learned on ${set.model.name} (${set.model.digest}) and the model is ${model.name} (${model.digest})`,
      "Calibrate this model, or load its codebooks",
    );
  }
}

function foreign(why: string, remedy: string): never {
  raise("codebook", "Cannot use the codebooks", why, remedy);
}

/**
 * The codebook of one layer, side and scheme.
 *
 * @throws {CoupletError} `codebook` where the set holds none; the error names what it does hold.
 */
export function findCodebook(
  set: CodebookSet,
  layer: number,
  side: Side,
  scheme: SchemeId,
): Codebook {
  checkOptions("codebook", "Cannot find a codebook", {
    set: CODEBOOKS,
    layer: FINITE,
    side: TEXT,
    scheme: TEXT,
  }, { set, layer, side, scheme });
  return codebookOf(set, layer, side, scheme);
}

function codebookOf(set: CodebookSet, layer: number, side: Side, scheme: SchemeId): Codebook {
  const found = set.codebooks.find((codebook) =>
    codebook.layer === layer && codebook.side === side && codebook.scheme === scheme
  );
  if (found !== undefined) return found;
  const listed = (values: readonly unknown[]) => [...new Set(values)].sort().join(", ");
  const here = set.codebooks.filter((one) => one.layer === layer && one.side === side);
  const schemes = (here.length ? here : set.codebooks).map((one) => one.scheme);
  const layers = set.codebooks.map((one) => one.layer);
  raise(
    "codebook",
    `Cannot find the codebook of the ${side} of layer ${layer} for ${scheme}`,
    layers.length === 0
      ? "the set is empty"
      : `the set holds ${listed(schemes)} for ${
        here.length ? "them" : `layers ${listed(layers)}, and nothing for these`
      }`,
    `Calibrate with ${scheme} among the schemes, or choose a scheme that the set holds`,
  );
}

/**
 * The codebook a cache needs for one layer and side, or undefined where the scheme has none. A
 * data-free scheme's codebook is computed from its definition.
 *
 * @throws {CoupletError} `codebook` where it is missing or of another shape.
 */
export function cacheCodebook(
  set: CodebookSet | undefined,
  { keyValueHeads, headDim, shareHeads }:
    & Pick<Codebook, "keyValueHeads" | "headDim">
    & Pick<Policy, "shareHeads">,
  layer: number,
  side: Side,
  scheme: SchemeId,
): SideCodebook | undefined {
  const parsed = parseScheme(scheme);
  const { codebookSpec, centroids } = parsed;
  if (codebookSpec === undefined) return undefined;
  if (codebookSpec.definition !== undefined) {
    return { scheme, centroids: codebookSpec.definition(headDim) };
  }
  const what = `Cannot use ${scheme} for the ${side} of layer ${layer}`;
  const remedy = `Calibrate this model with ${scheme} among the schemes`;
  if (set === undefined) {
    raise("codebook", what, "no codebooks were given", `${remedy}, and pass them (codebooks)`);
  }
  const found = codebookOf(set, layer, side, scheme);
  const channels = gridChannels(parsed, headDim);
  const rows = keyValueHeads * channels;
  const { stages, groupsShare, normalised } = codebookSpec;
  const heads = centroidHeads(found);
  const levels = heads * channels * (stages ?? 1) * centroids;
  if (
    found.keyValueHeads !== keyValueHeads || found.headDim !== headDim ||
    found.centroids.length !== levels || found.grid.length !== rows * gridNumbers(parsed) ||
    (groupsShare && found.transform?.length !== 2 * keyValueHeads * headDim) ||
    (normalised && found.normalisation?.offsets.length !== keyValueHeads * headDim)
  ) {
    raise(
      "codebook",
      what,
      `its codebook is for ${found.keyValueHeads} heads of ${found.headDim} channels, and the model has ${keyValueHeads} of ${headDim}`,
      remedy,
    );
  }
  if (shareHeads && stages && heads > 1) {
    raise(
      "codebook",
      what,
      "its KV heads share no centroids, and by the policy they do (shareHeads)",
      "Calibrate with shareHeads, or plan without it",
    );
  }
  return found;
}
