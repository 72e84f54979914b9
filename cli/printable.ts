/** Text that a terminal may get, whatever files say. */

/**
 * Characters that command a terminal, or turn others around: controls (of C0, C1 and DEL),
 * directions that override those of the characters, separators of lines, and halves of characters.
 * A line's end stays, and a tab.
 */
const COMMANDS = /(?![\n\t])[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Text with each such character as JSON would write it, `\u001b`. JSON stays the same JSON.
 *
 * Everything that a command prints goes through it.
 */
export function printable(text: string): string {
  return text.replace(COMMANDS, escaped);
}

/** The same in one line, for what is a part of a line, such as a table's cell. */
export function printableLine(text: string): string {
  return printable(text).replace(/[\n\t]/g, escaped);
}

function escaped(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
