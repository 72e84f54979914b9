/** Rows that users describe, for kernels that are not in this repository's own table. */
import { type Fields, FINITE, listOf, oneOf, TEXT } from "../../src/base/check_options.ts";
import { CoupletError } from "../../src/base/errors.ts";
import { parseScheme } from "../../src/schemes/parse_scheme.ts";
import { type Language, LANGUAGES } from "../write/module_style.ts";
import type { Table } from "../kernels/table.ts";

/** What to generate kernels for. */
export interface UserRows {
  /** Schemes that get all kernels of a cache. */
  readonly schemes?: readonly string[];
  /** Fused pairs, which attend in one kernel: `<keys>/<values>`, or one scheme for both. */
  readonly pairs?: readonly string[];
  /** Channels per head: multiples of 16 up to 512; above 256 for `f16` and `c<channels>b<bits>`. */
  readonly headDims: readonly number[];
  /**
   * The language of the modules. Defaults to `"typescript"`, whose modules import each other as `.ts`
   * files; `"javascript"` comes with declarations, for Node and for bundlers.
   */
  readonly language?: Language;
}

/**
 * What {@linkcode UserRows} may be. Schemes and head dimensions are checked where they are used.
 */
export const USER_FIELDS: Fields<UserRows> = {
  "schemes?": listOf(TEXT),
  "pairs?": listOf(TEXT),
  headDims: listOf(FINITE),
  "language?": oneOf(...LANGUAGES),
};

/**
 * The table of a user's rows.
 *
 * @throws {CoupletError} `usage` where a pair is malformed, or nothing is requested, `scheme` where
 * there is no such scheme.
 */
export function userTable({ schemes = [], pairs = [], headDims }: UserRows): Table {
  if (schemes.length + pairs.length === 0 || headDims.length === 0) {
    throw new CoupletError("usage", {
      what: "Cannot generate kernels",
      why: "no scheme and head dimension were given",
      remedy: "Give at least one scheme or pair, and one head dimension",
    });
  }
  const reason = "generated for one user";
  const userPairs = pairs.map((pair) => {
    const [keys, values = keys, ...rest] = pair.split("/");
    if (!keys || !values || rest.length > 0) {
      throw new CoupletError("usage", {
        what: `Cannot generate the pair "${pair}"`,
        why: "a pair is one scheme, or a scheme for keys and one for values with a slash between",
        remedy: 'Write it as "c4b8/c8b8"',
      });
    }
    return { keys: parseScheme(keys).id, values: parseScheme(values).id, headDims, reason };
  });
  const all = new Set([
    ...schemes.map((id) => parseScheme(id).id),
    ...userPairs.flatMap(({ keys, values }) => [keys, values]),
  ]);
  const sizes = [{ schemes: [...all], headDims, reason }];
  return {
    sizes,
    anchored: sizes,
    mrope: sizes,
    pairs: userPairs,
    ladder: [],
    kmeans: [],
  };
}
