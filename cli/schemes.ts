/** The schemes that commands speak of, by id. */
import { sizes } from "../codegen/variants.ts";
import { CoupletError } from "../src/base/errors.ts";
import { parseScheme } from "../src/schemes/parse_scheme.ts";
import type { SchemeId } from "../src/schemes/scheme.ts";
import { nearestText } from "./nearest.ts";

/**
 * Checks that a scheme exists, and returns it.
 *
 * @throws {CoupletError} `scheme` where it does not, with the nearest ids that have kernels in the
 * package.
 */
export function readScheme(id: string): SchemeId {
  try {
    return parseScheme(id).id;
  } catch (cause) {
    if (!(cause instanceof CoupletError)) throw cause;
    const { what, why, remedy } = cause.parts;
    // Listed without importing the kernels, which would all be fetched.
    const near = nearestText(id, [...new Set(sizes.flatMap(({ schemes }) => schemes))].sort());
    throw new CoupletError(cause.code, { what, why: `${why}${near}`, remedy }, { cause });
  }
}

/**
 * A reader of ids of schemes.
 *
 * @throws {CoupletError} `usage` where there is no such scheme.
 */
export function schemeArgument(id: string): SchemeId {
  try {
    return readScheme(id);
  } catch (cause) {
    if (!(cause instanceof CoupletError)) throw cause;
    throw new CoupletError("usage", cause.parts, { cause });
  }
}
