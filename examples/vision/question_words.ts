/** Questions of the project's own model, in words. */

/** How a question's tokens are said; `$1` and `$2` are their numbers. */
const WORDS: readonly (readonly [tokens: RegExp, words: string])[] = [
  [/^<look><f(\d+)><c(\d+)>$/, "which digit does frame $1 show in cell $2?"],
  [/^<count><f(\d+)>(\d)$/, "how often does frame $1 show a $2?"],
  [/^<first><c(\d+)>(\d)$/, "which frame shows a $2 in cell $1 first?"],
  [/^<f(\d+)>$/, "frame $1"],
];

/** A question or an answer in words, and as it is where it is another model's. */
export function inWords(text: string): string {
  const known = WORDS.find(([tokens]) => tokens.test(text));
  return known === undefined ? text : text.replace(...known);
}
