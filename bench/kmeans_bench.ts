/**
 * Calibration of the test fixture's shape: all codebooks of one scheme for 4 layers, keys and values, 2 KV
 * heads of 64 channels, from 8192 samples of correlated Gaussian channels.
 */
import { calibrate } from "../src/calibrate/calibrate.ts";
import { kernels } from "../generated/sets/kmeans.ts";
import { seededRandom } from "../src/calibrate/random.ts";
import type { CalibrationSamples } from "../src/calibrate/samples.ts";
import { correlated, samplesOf } from "../tests/kmeans_helpers.ts";
import { requestTestDevice } from "../tools/adapter.ts";

const LAYERS = 4;
const HEADS = 2;
const HEAD_DIM = 64;
const TOKENS = 8192;

const device = await requestTestDevice();

const samples = Array.from(
  { length: LAYERS },
  (_, layer) =>
    (["keys", "values"] as const).map((side): CalibrationSamples => {
      const values = correlated(TOKENS, [0.3, 0.6], HEAD_DIM, seededRandom(layer, side));
      return samplesOf(values, HEADS, HEAD_DIM, { layer, side });
    }),
).flat();

for (const scheme of ["c1b1", "c2b8", "c4b8", "c8b8", "c8b10"]) {
  Deno.bench({
    name: `calibrate ${scheme}, ${LAYERS} layers, ${TOKENS} samples`,
    group: "calibrate",
    // A run takes seconds and is the same every time.
    n: 1,
    warmup: 0,
    async fn() {
      await calibrate({
        samples,
        schemes: { keys: [scheme], values: [scheme] },
        keySpace: "pre-rope",
        model: { name: "bench", digest: "0" },
        seed: 1,
        device,
        kernels,
      });
    },
  });
}
