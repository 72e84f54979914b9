/** The names nearest to one that is unknown. */
import { distance } from "fastest-levenshtein";

/** Up to `most` of the names, least edits first; of as many edits, in their own order. */
export function nearestNames(
  wanted: string,
  names: readonly string[],
  most = 4,
): readonly string[] {
  return names
    .map((name) => ({ name, edits: distance(wanted, name) }))
    .sort((a, b) => a.edits - b.edits)
    .slice(0, most)
    .map(({ name }) => name);
}
