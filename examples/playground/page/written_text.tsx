import type { VNode } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

/** What was written with one cache. */
export function WrittenText(
  { title, note, prompt, pieces, beside, tokensPerSecond, running }: {
    /** The cache's scheme. */
    readonly title: string;
    readonly note: string;
    readonly prompt: string;
    /** Text of each token. */
    readonly pieces: readonly string[];
    /** The text to compare with, and where tokens are others. */
    readonly beside?: {
      readonly pieces: readonly string[];
      readonly differs: (place: number) => boolean;
    };
    readonly tokensPerSecond: number | undefined;
    readonly running: boolean;
  },
): VNode {
  const box = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  useLayoutEffect(() => {
    // Whoever has scrolled back is reading.
    if (running && atEnd.current) box.current!.scrollTop = box.current!.scrollHeight;
  }, [pieces.length]);
  const id = beside === undefined ? "half-heading" : "coded-heading";
  return (
    <section class="card" aria-labelledby={id}>
      <div class="card-head">
        <h2 id={id}>
          {beside !== undefined && <span class="unseen">Second cache:</span>} {title}
        </h2>
        <p class="speed">
          {tokensPerSecond === undefined ? "–" : format(tokensPerSecond)} <small>tokens/s</small>
        </p>
        <p class="note">{note}</p>
      </div>
      <div
        ref={box}
        class="written"
        role="region"
        aria-label={`Text with the ${beside === undefined ? "first" : "second"} cache`}
        tabIndex={0}
        onScroll={({ currentTarget: { scrollTop, clientHeight, scrollHeight } }) => {
          atEnd.current = scrollTop + clientHeight > scrollHeight - 8;
        }}
      >
        <span class="given">{prompt}</span>
        {pieces.map((piece, place) =>
          beside?.differs(place)
            ? (
              <mark key={place} title={`f16: ${shown(beside.pieces[place]!)}`}>
                {shown(piece)}
              </mark>
            )
            : <span key={place}>{piece}</span>
        )}
      </div>
    </section>
  );
}

/** White space that alone makes a difference must be seen. */
function shown(piece: string): string {
  return piece.replaceAll("\n", "↵\n");
}

function format(rate: number): string {
  return rate >= 100 ? rate.toFixed(0) : rate.toPrecision(3);
}
