/** Calibration on the GPU, measured on a slice and extrapolated to a whole model. */
import { seededRandom } from "../src/base/random.ts";
import { correlated, samplesOf } from "../tests/helpers/kmeans.ts";
import { calibrate, parseScheme, type SchemeId, SIDES } from "../mod.ts";
import { manifest } from "../generated/manifest.ts";

/** The model that is extrapolated to: Llama-3.1-8B's shape. */
export const WHOLE = {
  layers: 32,
  keyValueHeads: 8,
  headDim: 128,
  tokens: 32768,
} as const;

/** How correlated neighbouring channels are, a KV head of the slice each. */
const CORRELATIONS = [0.3, 0.6];

/** Heads of the slice, keys and values together. */
const SLICE_HEADS = CORRELATIONS.length * SIDES.length;

/** What a slice took. */
export interface SliceTime {
  readonly tokens: number;
  readonly seconds: number;
}

/**
 * Calibrates one layer's keys and values of {@linkcode CORRELATIONS}.length KV heads, from correlated Gaussian channels.
 */
export async function measureKmeans(
  device: GPUDevice,
  scheme: SchemeId,
  tokens: number,
): Promise<SliceTime> {
  const run = async (tokens: number): Promise<SliceTime> => {
    const samples = SIDES.map((side) =>
      samplesOf(
        correlated(tokens, CORRELATIONS, WHOLE.headDim, seededRandom(side)),
        CORRELATIONS.length,
        WHOLE.headDim,
        { side },
      )
    );
    const started = performance.now();
    await calibrate({
      samples,
      schemes: { keys: [scheme], values: [scheme] },
      keySpace: "pre-rope",
      model: { name: "bench", digest: "0" },
      seed: 1,
      device,
      kernels: manifest,
    });
    return { tokens, seconds: (performance.now() - started) / 1000 };
  };
  // The first run compiles the kernels.
  await run(parseScheme(scheme).centroids);
  return await run(tokens);
}

/**
 * Seconds for all heads of {@linkcode WHOLE} at its number of tokens, in proportion to both. What an iteration takes
 * whatever its size, such as waiting for the device, is multiplied, too: the figure is too high rather than too low.
 */
export function extrapolateKmeans({ tokens, seconds }: SliceTime): number {
  const heads = WHOLE.layers * WHOLE.keyValueHeads * SIDES.length;
  return seconds * (WHOLE.tokens / tokens) * (heads / SLICE_HEADS);
}

/** The slice and what follows, in a line. */
export function formatKmeans(scheme: SchemeId, slice: SliceTime): string {
  const { layers, keyValueHeads, headDim, tokens } = WHOLE;
  const minutes = extrapolateKmeans(slice) / 60;
  return `${scheme}: measured ${slice.seconds.toFixed(1)} s for ${slice.tokens} tokens of ` +
    `${SLICE_HEADS} heads of ${headDim} channels; EXTRAPOLATED in proportion: ` +
    `${
      minutes.toPrecision(3)
    } minutes for ${layers} layers of ${keyValueHeads} KV heads, keys and ` +
    `values, ${tokens} tokens`;
}
