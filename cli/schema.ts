/** What schemas of files have in common. */
import { z } from "zod";

/** Most problems of a file that are listed. */
const MOST_ISSUES = 4;

/**
 * A list of one kind of item. Unlike zod's own, it reports wrong items once, not each of them.
 */
export function listOf<T>(isItem: (item: unknown) => item is T, items: string): z.ZodType<T[]> {
  return z.custom<T[]>(
    (list) => Array.isArray(list) && list.every(isItem),
    `it must be a list of ${items}`,
  );
}

/** Describes the problems of a value in one line. */
export function describeIssues({ issues }: z.ZodError): string {
  const told = z.prettifyError(new z.ZodError(issues.slice(0, MOST_ISSUES)))
    .replaceAll(/✖ /g, "").replaceAll(/\s*\n\s*→ /g, " ").replaceAll(/\s*\n\s*/g, "; ");
  return issues.length > MOST_ISSUES ? `${told}; and ${issues.length - MOST_ISSUES} more` : told;
}
