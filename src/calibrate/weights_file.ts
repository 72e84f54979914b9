/**
 * Weights of samples from a file of another program, such as squared gradients from PyTorch.
 *
 * A safetensors file with one tensor per layer and side, named `layers.<layer>.keys` or
 * `layers.<layer>.values`, of shape
 *
 * - `[tokens, keyValueHeads, headDim]`: one weight per channel, such as squared gradients of the
 *   loss,
 * - `[tokens, keyValueHeads, groups]`: one weight per group of channels, or
 * - `[tokens, keyValueHeads]`: one weight per vector,
 *
 * F32 or F64, or BF16 or F16 (which lose small squares). Tokens lie in the samples' order. An
 * optional tensor `layers.<layer>.<side>.scale`, `[keyValueHeads, headDim]`, becomes
 * {@linkcode CalibrationSamples.scale}. Layers and sides without a tensor get no weights.
 *
 * @module
 */
import { checkOptions, type Kind, listOf } from "../base/check_options.ts";
import { FLOATS, NUMBER, orNothing, record } from "../base/data_kinds.ts";
import { SAMPLES } from "./sample_fields.ts";
import { SIDE, type Side } from "../model/side.ts";
import { CoupletError } from "../base/errors.ts";
import { readSafetensors } from "../base/safetensors.ts";
import { floatElements } from "./float_tensor.ts";
import { type CalibrationSamples, tokensOf } from "./samples.ts";

/** The weights of one layer and side. */
export interface CalibrationWeights {
  /** Layer index, from 0. */
  readonly layer: number;
  /** Which side they belong to. */
  readonly side: Side;
  /** Sizes of `weights`, outermost first; undefined where there is only a scale. */
  readonly shape: readonly number[] | undefined;
  /** As {@linkcode CalibrationSamples.weights}. */
  readonly weights: Float32Array<ArrayBuffer> | undefined;
  /** `[keyValueHeads][headDim]`, as {@linkcode CalibrationSamples.scale}. */
  readonly scale: Float32Array<ArrayBuffer> | undefined;
}

const TENSOR_NAME = /^layers\.(0|[1-9][0-9]{0,8})\.(keys|values)(\.scale)?$/;

/**
 * Reads a file of weights. Values are checked where they are used, by `calibrate`.
 *
 * @param bytes The whole file.
 * @throws {CoupletError} `file` where the bytes are not a safetensors file, or hold anything but
 * weights.
 */
export function readWeights(bytes: Uint8Array): readonly CalibrationWeights[] {
  const found = new Map<string, CalibrationWeights>();
  for (const [name, tensor] of readSafetensors(bytes).tensors) {
    const match = TENSOR_NAME.exec(name);
    if (match === null) {
      throw badFile(`it holds "${name}"`, 'Name tensors "layers.<layer>.keys" or ".values"');
    }
    const [, layer, side, isScale] = match;
    const { shape } = tensor;
    if (isScale === undefined ? shape.length !== 2 && shape.length !== 3 : shape.length !== 2) {
      throw badFile(
        `"${name}" has the shape [${shape.join(", ")}]`,
        isScale === undefined
          ? "Give [tokens, KV heads], or that with one weight per channel or group of channels"
          : "Give [KV heads, head dimension]",
      );
    }
    const values = floatElements(tensor);
    if (values === undefined) {
      throw badFile(`"${name}" has the dtype ${tensor.dtype}`, "Write F32, F64, BF16 or F16");
    }
    const key = `${layer}.${side}`;
    const known = found.get(key) ?? {
      layer: Number(layer),
      side: side as Side,
      shape: undefined,
      weights: undefined,
      scale: undefined,
    };
    found.set(
      key,
      isScale === undefined ? { ...known, shape, weights: values } : { ...known, scale: values },
    );
  }
  if (found.size === 0) throw badFile("it holds no tensor", "Write one tensor per layer and side");
  return [...found.values()].sort((a, b) => a.layer - b.layer || (a.side < b.side ? -1 : 1));
}

/**
 * Adds weights from a file to samples. Samples without weights in the file are returned as they
 * are.
 *
 * @throws {CoupletError} `shape` where weights are for other layers, heads or tokens than the
 * samples.
 */
export function withWeights(
  samples: readonly CalibrationSamples[],
  weights: readonly CalibrationWeights[],
): readonly CalibrationSamples[] {
  checkOptions("usage", "Cannot weigh samples", { samples: SAMPLES, weights: weightsKind() }, {
    samples,
    weights,
  });
  const place = ({ layer, side }: { readonly layer: number; readonly side: Side }) =>
    `${side} of layer ${layer}`;
  const sampled = new Set(samples.map(place));
  for (const one of weights) {
    if (!sampled.has(place(one))) throw unfit(one.layer, one.side, "there are no samples of them");
  }
  const byPlace = new Map(weights.map((one) => [place(one), one]));
  return samples.map((one) => {
    const found = byPlace.get(place(one));
    if (found === undefined) return one;
    const { layer, side, shape, scale } = found;
    const { keyValueHeads, headDim } = one;
    if (
      shape !== undefined && (shape[0] !== tokensOf(one) || shape[1] !== keyValueHeads ||
        shape.length === 3 && headDim % shape[2]! !== 0)
    ) {
      throw unfit(
        layer,
        side,
        `they have the shape [${shape.join(", ")}] and the samples are ` +
          `[${tokensOf(one)}, ${keyValueHeads}, ${headDim}]`,
      );
    }
    if (scale !== undefined && scale.length !== keyValueHeads * headDim) {
      throw unfit(layer, side, `their scale has ${scale.length} values`);
    }
    return {
      ...one,
      ...(found.weights === undefined ? {} : { weights: found.weights }),
      ...(scale === undefined ? {} : { scale }),
    };
  });
}

function badFile(why: string, remedy: string): CoupletError {
  return new CoupletError("file", { what: "Cannot read the file of weights", why, remedy });
}

function unfit(layer: number, side: Side, why: string): CoupletError {
  return new CoupletError("shape", {
    what: `Cannot use the weights of the ${side} of layer ${layer}`,
    why,
    remedy: "Compute weights with this model, on the tokens that the samples are taken from",
  });
}

function weightsKind(): Kind<readonly CalibrationWeights[]> {
  return listOf(record<CalibrationWeights>("what readWeights() gives", {
    layer: NUMBER,
    side: SIDE,
    shape: orNothing(listOf(NUMBER)),
    weights: orNothing(FLOATS),
    scale: orNothing(FLOATS),
  }));
}
