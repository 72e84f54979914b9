import { CoupletError } from "@couplet/kv";
import { project } from "../engine/reference.ts";
import { type Weight, weightValues } from "../engine/weight.ts";
import type { VisionConfig } from "./vision_config.ts";
import type { VisionModel } from "./vision_model.ts";

/**
 * The embeddings of a video: frames in order, patches row by row. Computed in float64 on the CPU: a
 * video is read once.
 *
 * @param pixels `[frames][frameSize][frameSize]`, grey.
 * @returns `[frames * frameTokens][hiddenSize]`, rounded to float32.
 * @throws {CoupletError} `shape` where the pixels are no whole frames, none or too many.
 */
export function embedVideo(
  { vision, projector, text }: VisionModel,
  pixels: Uint8Array,
): Float32Array<ArrayBuffer> {
  const { hiddenSize } = text.config;
  const inner = project(patchesOf(vision, pixels), projector.first);
  const activation = ACTIVATIONS[vision.activation];
  for (let i = 0; i < inner.length; i++) inner[i] = activation(inner[i]!);
  const embedded = project(inner, projector.second);
  addRows(embedded, hiddenSize, projector.places, (token) => token % vision.frameTokens);
  addRows(
    embedded,
    hiddenSize,
    projector.frames,
    (token) => Math.floor(token / vision.frameTokens),
  );
  return new Float32Array(embedded);
}

/** Pixels as the projector takes them, `[frames * frameTokens][patchSize * patchSize]`. */
function patchesOf(
  { frameSize, patchSize, maxFrames, mean, deviation }: VisionConfig,
  pixels: Uint8Array,
): Float64Array {
  const frames = pixels.length / frameSize ** 2;
  if (!Number.isInteger(frames) || frames < 1 || frames > maxFrames) {
    throw new CoupletError("shape", {
      what: "The video cannot be read",
      why: `it has ${pixels.length} grey pixels, and the model takes 1 to ${maxFrames} frames of ` +
        `${frameSize} x ${frameSize}`,
      remedy: "Scale the frames to that size, and drop some of a longer video",
    });
  }
  const patches = new Float64Array(pixels.length);
  let at = 0;
  for (let frame = 0; frame < frames; frame++) {
    for (let top = 0; top < frameSize; top += patchSize) {
      for (let left = 0; left < frameSize; left += patchSize) {
        for (let row = top; row < top + patchSize; row++) {
          const start = (frame * frameSize + row) * frameSize + left;
          for (let i = 0; i < patchSize; i++) {
            patches[at++] = (pixels[start + i]! / 255 - mean) / deviation;
          }
        }
      }
    }
  }
  return patches;
}

const ACTIVATIONS = {
  gelu: (x: number) => 0.5 * x * (1 + errorFunction(x / Math.SQRT2)),
  gelu_pytorch_tanh: (x: number) =>
    0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
} as const satisfies Record<VisionConfig["activation"], (x: number) => number>;

/** The error function, by its series; beyond 6 it is 1 in float64. */
function errorFunction(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
}

/** Adds to each row a row of a table. */
function addRows(
  rows: Float64Array,
  width: number,
  table: Weight | undefined,
  rowOf: (token: number) => number,
): void {
  if (table === undefined) return;
  const values = weightValues(table);
  for (let i = 0; i < rows.length; i++) {
    rows[i]! += values[rowOf(Math.floor(i / width)) * width + i % width]!;
  }
}
