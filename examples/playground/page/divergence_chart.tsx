import type { VNode } from "preact";

/** Places in the picture, at least and in steps: it need not change with every token. */
const PLACES = 32;

/** KL divergence by token, and its mean so far. */
export function DivergenceChart(
  { scheme, divergences }: {
    readonly scheme: string;
    /** In nats; null where the texts before differ. */
    readonly divergences: readonly (number | null)[];
  },
): VNode {
  const known = divergences.filter((nats) => nats !== null);
  const mean = known.reduce((sum, nats) => sum + nats, 0) / known.length;
  const most = Math.max(0, ...known);
  const width = Math.max(PLACES, Math.ceil(divergences.length / PLACES) * PLACES);
  // Equal distributions are a line at zero.
  const top = most > 1e-9 ? most : 1;
  const y = (nats: number) => 100 - (100 * Math.max(0, nats)) / top;
  return (
    <section class="card" aria-labelledby="divergence-heading">
      <div class="card-head">
        <h2 id="divergence-heading">Divergence</h2>
        <p class="speed" id="mean-divergence">
          {known.length === 0 ? "–" : nats(mean)} <small>nats a token</small>
        </p>
        <p class="note">
          How far what {scheme} says of the next token is from what f16 says: KL(f16 ‖ {scheme})
        </p>
      </div>
      <figure class="chart">
        <div class="plot">
          <span class="most" aria-hidden="true">{known.length === 0 ? "" : nats(top)}</span>
          <svg viewBox={`0 0 ${width} 100`} preserveAspectRatio="none" aria-hidden="true">
            {divergences.map((nats, place) =>
              nats === null
                ? <rect key={place} class="unknown" x={place} y={0} width={1} height={100} />
                : (
                  <rect
                    key={place}
                    class="token"
                    x={place + 0.1}
                    y={y(nats)}
                    width={0.8}
                    height={100 - y(nats)}
                  />
                )
            )}
            <polyline
              points={means(divergences).map((mean, place) => `${place + 0.5},${y(mean)}`)
                .join(" ")}
            />
          </svg>
        </div>
        <p class="bar-key" aria-hidden="true">
          <span class="token">A token</span>
          <span class="mean">Mean so far</span>
          {known.length < divergences.length && <span class="unknown">Texts differ before</span>}
        </p>
        <figcaption>{caption(divergences, known.length, mean, most)}</figcaption>
      </figure>
    </section>
  );
}

/** The mean of the known so far, in each place that is known. */
function means(divergences: readonly (number | null)[]): number[] {
  const found: number[] = [];
  let sum = 0;
  for (const nats of divergences) {
    // After different texts nothing is known any more.
    if (nats === null) break;
    found.push((sum += nats) / (found.length + 1));
  }
  return found;
}

function caption(
  divergences: readonly (number | null)[],
  known: number,
  mean: number,
  most: number,
): string {
  if (known === 0) return "It appears with the first token.";
  const tokens = `${known} ${known === 1 ? "token" : "tokens"}`;
  const largest = divergences.indexOf(most) + 1;
  const text = `Mean of ${tokens}: ${nats(mean)} nats` +
    (largest > 0 ? `; most, ${nats(most)}, at token ${largest}.` : ".");
  return known === divergences.length ? text : `${text} ` +
    "From then on the two read different texts, of which there is no divergence.";
}

/** Nats with what can be told apart. Sums of rounded numbers may be a little below zero. */
function nats(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return "0";
  return size < 1e-4 ? `${value < 0 ? "−" : ""}${size.toExponential(0)}` : value.toFixed(4);
}
