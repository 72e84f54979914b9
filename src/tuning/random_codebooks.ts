/** Codebooks that times are measured with: encoding and attending take as long as with learned ones. */
import { toFloat16Array } from "../base/float16.ts";
import { seededRandom } from "../base/random.ts";
import type { Codebook, CodebookSet } from "../codebooks/codebook.ts";
import { gridNumbers } from "../codebooks/device.ts";
import { GRID_STEPS, HIGHEST } from "../codebooks/grid.ts";
import { keyAnchors } from "../model/anchors.ts";
import { type Side, sideDim, SIDES } from "../model/side.ts";
import type { ResolvedLayer } from "../plan/options.ts";
import type { CachePlan } from "../plan/plan.ts";
import { NORM_LEVELS } from "../schemes/normalisation.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";

/** Channels of what centroids add up to lie within this distance of 0. */
export const CHANNEL_RANGE = 2;

/** Random codebooks of all layers and sides of a plan whose schemes learn them, of a scheme the same in each layer. */
export function randomCodebooks({ options }: CachePlan): CodebookSet {
  const { layers, keys } = options;
  const first = layers[0]!;
  const anchors = keyAnchors(first.keyOptions, first.headDim);
  return {
    model: { name: "random", digest: "random" },
    keySpace: keys.space,
    ...(anchors && { anchors }),
    provenance: { source: "random", tokens: 0, seed: 0, iterations: 0 },
    codebooks: layers.flatMap((layer, index) =>
      SIDES.filter((side) => parseScheme(layer[side]).codebook === "learned")
        .map((side) => ({ layer: index, ...randomCodebook(layer, side) }))
    ),
  };
}

function randomCodebook(layer: ResolvedLayer, side: Side): Omit<Codebook, "layer"> {
  const { keyValueHeads } = layer;
  const headDim = sideDim(layer, side);
  const scheme = parseScheme(layer[side]);
  const { groupsShare: shared = false, stages = 1, normalised = false } = scheme.codebookSpec!;
  const channels = keyValueHeads * (shared ? scheme.channels : headDim);
  const numbers = gridNumbers(scheme);
  const random = seededRandom(side, scheme.id);
  const step = 2 * CHANNEL_RANGE / HIGHEST;
  return {
    side,
    scheme: scheme.id,
    keyValueHeads,
    headDim,
    // Levels of all stages add up to the highest at most.
    centroids: Uint8Array.from(
      { length: channels * stages * scheme.centroids },
      () => random.below(Math.floor((HIGHEST + 1) / stages)),
    ),
    grid: toFloat16Array(
      Float32Array.from(
        { length: numbers * channels },
        (_, i) => (i + 1) % numbers === 0 ? GRID_STEPS * step : -CHANNEL_RANGE / stages,
      ),
    ),
    // Factors of 1, so that heads are rotated, and means of 0.
    ...(shared && {
      transform: toFloat16Array(
        Float32Array.from({ length: 2 * keyValueHeads * headDim }, (_, i) => 1 - i % 2),
      ),
    }),
    // Sizes of 1, and means next to 0.
    ...(normalised && {
      normalisation: {
        offsets: new Float32Array(channels),
        meanSteps: toFloat16Array(new Float32Array(channels).fill(1)),
        sizes: toFloat16Array(new Float32Array(NORM_LEVELS * keyValueHeads).fill(1)),
      },
    }),
  };
}
