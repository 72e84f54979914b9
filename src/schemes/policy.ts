/** Policies: which scheme each layer uses. */
import type { SchemeId } from "./scheme.ts";
import { type Fields, FLAG, type Kind, kind, listOf, TEXT } from "../base/check_options.ts";

/** One layer's schemes. */
export interface LayerPolicy {
  /** Scheme of the keys. */
  readonly keys: SchemeId;
  /** Scheme of the values. */
  readonly values: SchemeId;
}

/** Which scheme each layer uses. */
export interface Policy extends LayerPolicy {
  /** Exceptions by layer index. */
  readonly layers?: Readonly<Record<number, LayerPolicy>>;
  /**
   * Whether all KV heads of a layer and side share centroids where these are added: codebooks are
   * smaller. {@linkcode calibrate}, given the policy, learns them so. Defaults to false.
   */
  readonly shareHeads?: boolean;
}

/** The id of a scheme. Ids are parsed where they are used. */
export const SCHEME: Kind<SchemeId> = kind('the id of a scheme, such as "u8b8"', TEXT[1]);
/** What the schemes of a layer may be. */
export const LAYER_FIELDS: Fields<LayerPolicy> = { keys: SCHEME, values: SCHEME };

/** What a policy may be. */
export const POLICY_FIELDS: Fields<Policy> = {
  ...LAYER_FIELDS,
  "layers?": layersFields,
  "shareHeads?": FLAG,
};

function layersFields(value: unknown): Fields<Record<number, LayerPolicy>> {
  return Object.fromEntries(Object.keys(Object(value)).map((layer) => [layer, LAYER_FIELDS]));
}

/** Ids of schemes. */
export const SCHEMES: Kind<readonly SchemeId[]> = /* @__PURE__ */ listOf(
  /* @__PURE__ */ kind('the id of a scheme, such as "c8b8"', (value) => TEXT[1](value)),
);
