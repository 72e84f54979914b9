/** Random numbers and codebooks that f32 and float64 code alike. */
import {
  type CacheOptions,
  type Codebook,
  type CodebookSet,
  layerShape,
  parseScheme,
  type SchemeId,
  type Side,
  SIDES,
} from "../../mod.ts";
import { layerKeys } from "../../src/plan/options.ts";
import { keyAnchors } from "../../src/model/anchors.ts";
import { sideDim } from "../../src/model/side.ts";
import { toFloat16Array } from "../../src/base/float16.ts";
import type { Random } from "../../src/base/random.ts";

/**
 * Numbers whose distances to one another are exact in f32, so that the nearest centroid is the same one in f32 and
 * in float64, exact ties included: multiples of 1/32 up to 3.
 */
export function gridVectors(random: Random, length: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length }, () => Math.round(random.next() * 192 - 96) / 32);
}

/**
 * Codebooks of multiples of 1/8 up to 2, for every layer, side and scheme of a policy. The grids differ from channel to
 * channel, so that none can stand in for another.
 */
export function gridCodebooks(options: CacheOptions, random: Random, scaled = false): CodebookSet {
  const { layers } = options.shape;
  const codebooks: Codebook[] = [];
  for (let layer = 0; layer < layers; layer++) {
    const policy = options.policy.layers?.[layer] ?? options.policy;
    const own = layerShape(options.shape, layer);
    const { keyValueHeads } = own;
    const needed = new Set(
      [policy, ...Object.values(options.spans?.policies ?? {})].flatMap((schemes) =>
        SIDES.map((side) => `${side} ${schemes[side]}`)
      ),
    );
    for (const need of needed) {
      const [side, scheme] = need.split(" ") as [Side, SchemeId];
      const headDim = sideDim(own, side);
      const { centroids, channels, codebook, codebookSpec } = parseScheme(scheme);
      if (codebook !== "learned") continue;
      if (codebookSpec?.stages !== undefined) {
        codebooks.push({
          layer,
          side,
          ...addedCodebook(scheme, keyValueHeads, headDim, random),
          ...(scaled
            ? {
              scale: Float32Array.from(
                { length: keyValueHeads * headDim },
                () => random.next() < 0.5 ? 1 / 2 : 1,
              ),
            }
            : {}),
        });
        continue;
      }
      const shared = codebookSpec?.groupsShare === true;
      const rows = keyValueHeads * (shared ? channels : headDim);
      const lows = Float32Array.from({ length: rows }, () => Math.floor(random.next() * 8) / 8 - 2);
      // A few channels have no range: all of their centroids are the same number.
      const steps = Float32Array.from({ length: rows }, () => {
        const drawn = random.next();
        return drawn < 1 / 16 ? 0 : drawn < 0.5 ? 1 / 8 : 1 / 4;
      });
      codebooks.push({
        layer,
        side,
        scheme,
        keyValueHeads,
        headDim,
        centroids: Uint8Array.from({ length: rows * centroids }, (_, at) => {
          const row = Math.floor(at / (centroids * channels)) * channels + (at % channels);
          const number = random.next() * 3.25;
          return steps[row] === 0 ? 0 : Math.floor(number / steps[row]!);
        }),
        grid: toFloat16Array(
          Float32Array.from(
            { length: 2 * rows },
            (_, i) => i % 2 === 0 ? lows[i / 2]! : 64 * steps[(i - 1) / 2]!,
          ),
        ),
        ...(shared
          ? { transform: toFloat16Array(gridTransforms(random, keyValueHeads, headDim)) }
          : scaled
          ? {
            scale: Float32Array.from(
              { length: rows },
              () => 2 ** Math.floor(random.next() * 3 - 1),
            ),
          }
          : {}),
      });
    }
  }
  const anchors = keyAnchors(layerKeys(options.keys, 0), layerShape(options.shape, 0).headDim);
  return {
    model: { name: "grid", digest: "grid" },
    keySpace: options.keys.space,
    ...(anchors && { anchors }),
    provenance: { source: "random", tokens: 0, seed: 0, iterations: 0 },
    codebooks,
  };
}

/**
 * A codebook of sums of multiples of 1/8 up to 2, of vectors that have means of multiples of 1/16 and sizes that are
 * powers of two.
 */
export function addedCodebook(
  id: SchemeId,
  keyValueHeads: number,
  headDim: number,
  random: Random,
): Omit<Codebook, "layer" | "side"> {
  const { centroids, channels, codebookSpec } = parseScheme(id);
  const stages = codebookSpec!.stages!;
  const rows = keyValueHeads * headDim;
  const steps = Float32Array.from({ length: rows }, () => random.next() < 0.5 ? 1 / 8 : 1 / 4);
  return {
    scheme: id,
    keyValueHeads,
    headDim,
    centroids: Uint8Array.from({ length: rows * stages * centroids }, (_, at) => {
      const group = Math.floor(at / (stages * centroids * channels));
      const step = steps[group * channels + at % channels]!;
      return Math.floor((random.next() * 3.25) / step / stages);
    }),
    grid: toFloat16Array(Float32Array.from({ length: (stages + 1) * rows }, (_, at) => {
      const number = at % (stages + 1);
      if (number === stages) return 64 * steps[Math.floor(at / (stages + 1))]!;
      return (Math.floor(random.next() * 8) / 8 - 2) / stages;
    })),
    ...(codebookSpec!.normalised
      ? {
        normalisation: {
          offsets: Float32Array.from(
            { length: rows },
            () => Math.floor(random.next() * 16) / 8 - 1,
          ),
          meanSteps: toFloat16Array(
            Float32Array.from({ length: rows }, () => 64 * (random.next() < 0.5 ? 1 / 8 : 1 / 16)),
          ),
          sizes: toFloat16Array(
            // Of each head its own.
            Float32Array.from(
              { length: keyValueHeads * 16 },
              (_, at) => 2 ** (at % 16 - 8 + Math.floor(at / 16) % 2),
            ),
          ),
        },
      }
      : {}),
  };
}

/** Factors of 1 and 2 of either sign and means of multiples of 1/8; every other head is not rotated. */
function gridTransforms(random: Random, heads: number, headDim: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: 2 * heads * headDim }, (_, i) => {
    const rotated = Math.floor(i / (2 * headDim)) % 2 === 0;
    if (i % 2 === 1) return Math.floor(random.next() * 16) / 8 - 1;
    const factor = (random.next() < 0.5 ? 1 : 2) * (random.next() < 0.5 ? 1 : -1);
    return rotated ? factor : 0;
  });
}
