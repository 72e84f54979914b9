/** How the reader of configurations refuses one. */
import { CoupletError } from "../../base/errors.ts";

const WHAT = "Cannot plan for this model";

/** Throws an error about a file that is no configuration, or one that cannot be served. */
export function refuse(why: string, remedy: string): never {
  throw new CoupletError("file", { what: WHAT, why, remedy });
}

/** Throws an error about sizes that are missing or do not fit. */
export function refuseShape(why: string): never {
  throw new CoupletError("shape", {
    what: WHAT,
    why,
    remedy: "Check that the file is whole, and of the model itself",
  });
}

/** Most names of a list, and characters of a name, that are told: a file may have any. */
const MOST_NAMES = 6;
const MOST_CHARACTERS = 64;

/** Names as words: `a, b and c`. */
export function listNames(names: readonly string[]): string {
  const told = names.slice(0, MOST_NAMES).map((name) =>
    name.length > MOST_CHARACTERS ? `${name.slice(0, MOST_CHARACTERS)}...` : name
  );
  if (names.length > told.length) told.push(`${names.length - told.length} more`);
  return told.length < 2 ? told.join() : `${told.slice(0, -1).join(", ")} and ${told.at(-1)}`;
}
