/** JSON that anyone may have written. */

/**
 * How deep lists and objects may be nested. Files of this library, and of models, nest a few deep.
 */
const DEEPEST = 64;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENING: readonly number[] = [0x5b, 0x7b];
const CLOSING: readonly number[] = [0x5d, 0x7d];

/**
 * Parses a JSON text. JSON may nest to any depth, but code that handles very deep values runs out
 * of stack.
 *
 * @throws {SyntaxError} where it is not JSON, or nests more than 64 deep.
 */
export function parseJson(text: string): unknown {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) quoted = !quoted;
    else if (quoted) {
      // An escaped character does not end a text.
      if (code === BACKSLASH) i++;
    } else if (OPENING.includes(code)) depth++;
    else if (CLOSING.includes(code)) depth--;
    if (depth > DEEPEST) throw new SyntaxError(`it nests more than ${DEEPEST} deep`);
  }
  return JSON.parse(text);
}
