/** Command lines as text, to be copied into a shell. */

/** A command line of couplet from words, indented, over several lines where it is too long for one. */
export function commandLine(words: readonly string[], width: number): string {
  return wrapCommandLine(words.map(quoted), width);
}

/** The same from words that are quoted where a shell needs it. */
export function wrapCommandLine(words: readonly string[], width: number): string {
  const lines = ["  couplet"];
  for (const word of withValues(words)) {
    const line = `${lines.at(-1)} ${word}`;
    // Two columns are for what says that the line goes on.
    if (line.length <= width - 2) lines[lines.length - 1] = line;
    else lines.push(`    ${word}`);
  }
  return lines.join(" \\\n");
}

/** The words, options with their values, from which they are not to be parted. */
function withValues(words: readonly string[]): readonly string[] {
  const parts: string[] = [];
  for (const word of words) {
    const last = parts.at(-1);
    if (last?.startsWith("--") && !last.includes(" ") && !word.startsWith("-")) {
      parts[parts.length - 1] = `${last} ${word}`;
    } else parts.push(word);
  }
  return parts;
}

/** A word as a shell reads it back. */
function quoted(word: string): string {
  return /^[\w@%+=:,./~-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
