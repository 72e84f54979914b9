import type { VNode } from "preact";
import type { SessionState } from "./session/messages.ts";

/** What exactly is compared. */
export function Explanation({ learned }: Pick<SessionState, "learned">): VNode {
  return (
    <details class="explanation">
      <summary>What is compared</summary>
      <p>
        <b>The text of f16.</b>{" "}
        With each token, the model computes two distributions of the next one: with the cache in f16
        and with the second cache. Both have read the same text, the one on the left, so the
        divergence is that of the two distributions and of nothing else. On the right stands what
        would have been written in each place, marked where it is another token.
      </p>
      <p>
        <b>Its own text.</b>{" "}
        From where you switch, the second cache reads what was written with it. Once the two texts
        differ, they go separate ways, and there is no divergence any more. Switch back, and it
        reads the text of f16 again.
      </p>
      <p>
        <b>Drawn at random</b>{" "}
        means at temperature 0.8, by the same random numbers on both sides: equal distributions give
        equal tokens, and similar ones mostly. The divergence is that of the model's own
        distributions, at temperature 1.
      </p>
      <p>
        <b>Another scheme, other exact tokens.</b>{" "}
        A new cache is planned, and reads the text so far again, which gives its divergence in all
        places. Exact are the first and the recent tokens, and schemes that code 64 tokens together
        keep those that are not yet 64. Kernels and codebooks are loaded when they are first chosen.
        Keys are coded before their rotary embedding.
      </p>
      <p>
        <b>Tokens/s</b>{" "}
        is the median of the last 16 tokens, of the whole model, one token at a time, with its
        logits read back. With a model this small and a text this short, attention is a small part
        of that.
      </p>
      <p>
        <b>Codebooks</b> were learned on {learned.tokens.toLocaleString("en")} tokens of{" "}
        {learned.source}, with Fisher weights, when this page was built: enough to try, fewer than a
        model in use should have.
      </p>
    </details>
  );
}
