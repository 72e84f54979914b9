import {
  type CalibrationSamples,
  CoupletError,
  type ModelFingerprint,
  type ValueRotation,
  valueRotation,
} from "@couplet/kv";
import { rotatedDigest } from "../../cli/model_folder.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { weightedSamples } from "./weighted_samples.ts";
import { float32Weight, type Projection, type Weight, weightValues } from "./weight.ts";

/** What {@linkcode rotateValues} needs. */
export interface RotateOptions {
  readonly device: GPUDevice;
  readonly checkpoint: Checkpoint;
  /** Texts to find the rotations on, in tokens. */
  readonly windows: readonly (readonly number[])[];
  readonly onProgress?: (fraction: number) => void;
}

/**
 * The model with its values rotated onto their principal axes: what it computes is the same up to rounding,
 * and codebooks learned on it code values better.
 *
 * @throws {CoupletError} as `weightedSamples`, `valueRotation` and {@linkcode foldRotations} do.
 */
export async function rotateValues(
  { checkpoint, ...options }: RotateOptions,
): Promise<Checkpoint> {
  const samples = await weightedSamples({ ...options, checkpoint, weighting: "none" });
  const values = samples.filter((one: CalibrationSamples) => one.side === "values");
  return foldRotations(checkpoint, values.map(valueRotation));
}

/**
 * The model with rotations of its values folded in: into the rows of the value projection, and into the
 * columns of the output projection for every query head that reads them. Both become F32, so that nothing is
 * lost to rounding; its fingerprint is another.
 *
 * @throws {CoupletError} `usage` where the model has rotations already; `shape` where one is for another
 * model's heads, or two are for one layer.
 */
export function foldRotations(
  checkpoint: Checkpoint,
  rotations: readonly ValueRotation[],
): Checkpoint {
  const { config, weights, fingerprint } = checkpoint;
  const { layers, keyValueHeads, headDim } = config;
  if (checkpoint.valueRotations !== undefined) {
    throw new CoupletError("usage", {
      what: "Cannot rotate the model's values",
      why: "they are rotated already",
      remedy: "Start from the checkpoint as it was loaded",
    });
  }
  const byLayer = new Map(rotations.map((rotation) => [rotation.layer, rotation]));
  const unfit = rotations.find((one) =>
    one.layer >= layers || one.keyValueHeads !== keyValueHeads || one.headDim !== headDim
  );
  if (unfit !== undefined || byLayer.size < rotations.length) {
    throw new CoupletError("shape", {
      what: "Cannot rotate the model's values",
      why: unfit === undefined
        ? "a layer has two rotations"
        : `a rotation is for layer ${unfit.layer} and ${unfit.keyValueHeads} heads of ` +
          `${unfit.headDim} channels; the model has layers 0 to ${layers - 1} and ` +
          `${keyValueHeads} heads of ${headDim}`,
      remedy: "Use the rotations that were found for this model",
    });
  }
  return {
    ...checkpoint,
    valueRotations: rotations,
    fingerprint: rotatedFingerprint(fingerprint, rotations),
    weights: {
      ...weights,
      layers: weights.layers.map((layer, i) => {
        const rotation = byLayer.get(i);
        return rotation === undefined ? layer : {
          ...layer,
          value: rotateOutputs(layer.value, rotation),
          output: {
            ...layer.output,
            weight: rotateInputs(layer.output.weight, rotation, config.queryHeads / keyValueHeads),
          },
        };
      }),
    },
  };
}

/** A projection whose outputs are rotated, head by head. */
function rotateOutputs({ weight, bias }: Projection, rotation: ValueRotation): Projection {
  return {
    weight: rotateRows(weight, rotation),
    ...(bias === undefined ? {} : { bias: rotateRows(bias, rotation) }),
  };
}

/** `R` times each head's rows; a bias is one column. */
function rotateRows(weight: Weight, { headDim, axes }: ValueRotation): Weight {
  const values = weightValues(weight);
  const columns = weight.shape[1] ?? 1;
  const rotated = new Float32Array(values.length);
  const sums = new Float64Array(columns);
  for (let row = 0; row < weight.shape[0]!; row++) {
    const first = row - row % headDim;
    sums.fill(0);
    for (let j = 0; j < headDim; j++) {
      const factor = axes[row * headDim + j]!;
      const from = (first + j) * columns;
      for (let i = 0; i < columns; i++) sums[i]! += factor * values[from + i]!;
    }
    rotated.set(sums, row * columns);
  }
  return float32Weight(weight, rotated);
}

/** Each query head's columns times `R^T`; `shared` query heads read a KV head. */
function rotateInputs(weight: Weight, { headDim, axes }: ValueRotation, shared: number): Weight {
  const values = weightValues(weight);
  const columns = weight.shape[1]!;
  const rotated = new Float32Array(values.length);
  for (let first = 0; first < values.length; first += headDim) {
    const head = Math.floor((first % columns) / headDim / shared);
    for (let i = 0; i < headDim; i++) {
      const axis = (head * headDim + i) * headDim;
      let sum = 0;
      for (let j = 0; j < headDim; j++) sum += axes[axis + j]! * values[first + j]!;
      rotated[first + i] = sum;
    }
  }
  return float32Weight(weight, rotated);
}

/** Codebooks for rotated values must not meet the model as it was, nor with other rotations. */
function rotatedFingerprint(
  { name, digest }: ModelFingerprint,
  rotations: readonly ValueRotation[],
): ModelFingerprint {
  return { name: `${name}, values rotated`, digest: rotatedDigest(digest, rotations) };
}
