/** The names nearest to one that is unknown. */
import { distance } from "fastest-levenshtein";

/** Characters of an unknown name that are compared: more than any name has. */
const COMPARED = 200;

/** Up to `most` of the names, fewest edits first. Equal numbers of edits keep their order. */
export function nearestNames(
  wanted: string,
  names: readonly string[],
  most = 4,
): readonly string[] {
  return byEdits(wanted, names).slice(0, most).map(({ name }) => name);
}

/**
 * The end of a sentence with the names that may have been meant: `; the nearest are c4b8, c8b8`.
 * Empty where all names differ in more than half of their characters.
 *
 * @param among What the names are, such as "of those that have, ".
 */
export function nearestText(
  wanted: string,
  names: readonly string[],
  among = "",
): string {
  const near = byEdits(wanted, names).slice(0, 4)
    .filter(({ name, edits }) =>
      2 * edits <= Math.max(name.length, Math.min(wanted.length, COMPARED))
    );
  return near.length === 0
    ? ""
    : `; ${among}the nearest ${near.length === 1 ? "is" : "are"} ${
      near.map(({ name }) => name).join(", ")
    }`;
}

function byEdits(
  wanted: string,
  names: readonly string[],
): readonly { readonly name: string; readonly edits: number }[] {
  const compared = wanted.slice(0, COMPARED);
  return names
    .map((name) => ({ name, edits: distance(compared, name) }))
    .sort((a, b) => a.edits - b.edits);
}
