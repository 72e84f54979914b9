/** What schemas of files have in common. */
import { z } from "zod";

/** What is wrong with a file, as far as it is told. */
const MOST_ISSUES = 4;

/**
 * A list of one kind of thing. Unlike zod's own, it says once that something else is in it, however
 * often it is.
 */
export function listOf<T>(isItem: (item: unknown) => item is T, items: string): z.ZodType<T[]> {
  return z.custom<T[]>(
    (list) => Array.isArray(list) && list.every(isItem),
    `it must be a list of ${items}`,
  );
}

/** What is wrong with a value, in one line. */
export function describeIssues({ issues }: z.ZodError): string {
  const told = z.prettifyError(new z.ZodError(issues.slice(0, MOST_ISSUES)))
    .replaceAll(/✖ /g, "").replaceAll(/\s*\n\s*→ /g, " ").replaceAll(/\s*\n\s*/g, "; ");
  return issues.length > MOST_ISSUES ? `${told}; and ${issues.length - MOST_ISSUES} more` : told;
}
