/** Makes text from files safe for a terminal. */

/**
 * Characters that control a terminal or reorder text: controls (C0, C1 and DEL), overrides of
 * direction, line separators, and lone surrogates. Line feeds and tabs are kept.
 */
const COMMANDS = /(?![\n\t])[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Writes each such character as JSON does, `\u001b`. The value of a JSON text does not change.
 *
 * Everything that a command prints goes through it.
 */
export function printable(text: string): string {
  return text.replace(COMMANDS, escaped);
}

/** The same in one line, for parts of a line, such as a cell. */
export function printableLine(text: string): string {
  return printable(text).replace(/[\n\t]/g, escaped);
}

function escaped(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
