/** How wide text for terminals is. */
import assert from "node:assert/strict";
import { textWidth } from "../../cli/table.ts";

/** The width that everything must be readable at. */
export const NARROW = 80;

/** Asserts that no line takes more columns than a narrow terminal has. */
export function assertNarrow(text: string): void {
  assert.ok(text.length > 0);
  assert.deepEqual(text.split("\n").filter((line) => textWidth(line) > NARROW), []);
}
