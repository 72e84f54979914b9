/** Drafts of a text's next tokens, and which of them to keep. Knows nothing of models and caches. */

/** Most tokens at a text's end that are looked for in it. */
const LONGEST_MATCH = 3;

/**
 * Drafts what may follow a text by prompt lookup (https://github.com/apoorvumang/prompt-lookup-decoding):
 * the text's last tokens are looked for earlier in it, three of them, else two, else one, and what followed
 * their latest occurrence is the draft. Where that runs into the text's end it goes round, as a text does that
 * repeats itself.
 *
 * @param count Tokens to draft.
 * @returns `count` tokens, or none where the text's last token is new to it.
 */
export function draftTokens(tokenIds: readonly number[], count: number): number[] {
  for (let length = Math.min(LONGEST_MATCH, tokenIds.length - 1); length > 0; length--) {
    const behind = behindLatestMatch(tokenIds, length);
    if (behind === undefined) continue;
    const period = tokenIds.length - behind;
    return Array.from({ length: count }, (_, i) => tokenIds[behind + i % period]!);
  }
  return [];
}

/** The index behind the latest earlier occurrence of a text's last `length` tokens. */
function behindLatestMatch(tokenIds: readonly number[], length: number): number | undefined {
  const tail = tokenIds.length - length;
  for (let first = tail - 1; first >= 0; first--) {
    let matched = 0;
    while (matched < length && tokenIds[first + matched] === tokenIds[tail + matched]) matched++;
    if (matched === length) return first + length;
  }
  return undefined;
}

/**
 * How many tokens of a draft to keep: those up to the first that is not the likeliest. This is speculative
 * decoding (Leviathan et al., arXiv 2211.17192, algorithm 1) at temperature 0, where a token is accepted
 * exactly if it is the model's own choice.
 *
 * @param likeliest `[draft.length + 1]`: the model's choice in the place of each token of the draft, and behind it.
 * All up to and including the one at the returned index are the text's next tokens.
 */
export function acceptedTokens(draft: readonly number[], likeliest: readonly number[]): number {
  const wrong = draft.findIndex((tokenId, i) => tokenId !== likeliest[i]);
  return wrong < 0 ? draft.length : wrong;
}
