/**
 * Files of samples of keys and values from other programs, such as activations from PyTorch:
 * `couplet-samples`, described in docs/formats.md.
 *
 * A safetensors file with one tensor per layer and side, named `layers.<layer>.keys` or
 * `layers.<layer>.values`, of shape `[tokens, keyValueHeads, headDim]`, F32 or F64, or BF16 or F16.
 * All else may be absent: each token's position, weights and scales of the samples, and metadata.
 *
 * @module
 */
import {
  readSafetensors,
  type SafetensorsDtype,
  type SafetensorsTensor,
} from "../base/safetensors.ts";
import type { RopeParameters } from "../model/model.ts";
import type { Side } from "../model/side.ts";
import { floatElements } from "./float_tensor.ts";
import { integerElements } from "./integer_tensor.ts";
import { badSamples, parseMetadata, type SampleOrigin } from "./sample_origin.ts";
import type { CalibrationSamples } from "./samples.ts";

/** The tensor with the position of each token in its sequence. */
export const POSITIONS = "positions";

/** What the names of weights and scales add to that of the vectors they belong to. */
export const WEIGHTS_SUFFIX = ".weights";
export const SCALE_SUFFIX = ".scale";

const TENSOR_NAME = /^(layers\.(0|[1-9][0-9]{0,8})\.(keys|values))(\.weights|\.scale)?$/;

/** The largest layer or position. */
const MOST_INDEX = 999_999_999;

/** Whether a number can be a layer or a position in a file of samples. */
export function isIndex(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= MOST_INDEX;
}

type Tensors = ReadonlyMap<string, SafetensorsTensor>;

/**
 * Reads a file of samples. Values are checked where they are used, by `calibrate`.
 *
 * @param bytes The whole file.
 * @returns One entry for each layer and side, in order of layers, keys first.
 * @throws {CoupletError} `file` where the bytes are not a safetensors file, or hold anything but
 * samples.
 */
export function readSamples(bytes: Uint8Array): readonly CalibrationSamples[] {
  const { metadata, tensors } = readSafetensors(bytes);
  const { rope } = parseMetadata(metadata);
  const positions = readPositions(tensors);
  const samples = [...tensors.keys()].flatMap((name) => {
    if (name === POSITIONS) return [];
    const [, vectors, layer, side, part] = TENSOR_NAME.exec(name) ?? [];
    if (vectors === undefined) {
      throw badSamples(`it holds "${name}"`, 'Name tensors "layers.<layer>.keys" or ".values"');
    }
    if (part !== undefined) {
      if (tensors.has(vectors)) return [];
      throw badSamples(`it holds "${name}" without "${vectors}"`, "Write both, or neither");
    }
    return [readSide(name, Number(layer), side as Side, tensors, positions, rope)];
  });
  if (samples.length === 0) throw badSamples("it holds no tensor", "Write one per layer and side");
  return samples.sort((a, b) => a.layer - b.layer || (a.side < b.side ? -1 : 1));
}

/**
 * Reads where the samples of a file come from. A file without metadata does not tell it.
 *
 * @param bytes The whole file.
 * @throws {CoupletError} `file` where the bytes are not a safetensors file, or its metadata are of
 * another version or damaged.
 */
export function readSampleOrigin(bytes: Uint8Array): SampleOrigin {
  const { rope: _, ...origin } = parseMetadata(readSafetensors(bytes).metadata);
  return origin;
}

function readSide(
  name: string,
  layer: number,
  side: Side,
  tensors: Tensors,
  positions: readonly number[] | undefined,
  rope: RopeParameters | undefined,
): CalibrationSamples {
  const { shape } = tensors.get(name)!;
  const [tokens = 0, keyValueHeads = 0, headDim = 0] = shape;
  if (shape.length !== 3 || tokens * keyValueHeads * headDim === 0) {
    throw badShape(name, shape, "[tokens, KV heads, head dimension]");
  }
  if (positions !== undefined && positions.length !== tokens) {
    throw badSamples(
      `"${name}" has ${tokens} tokens and "${POSITIONS}" ${positions.length}`,
      "Write all layers of the same tokens, or no positions",
    );
  }
  const weights = tensors.get(name + WEIGHTS_SUFFIX);
  if (
    weights !== undefined && (![2, 3].includes(weights.shape.length) ||
      weights.shape[0] !== tokens || weights.shape[1] !== keyValueHeads ||
      headDim % (weights.shape[2] ?? 1) !== 0)
  ) {
    throw badShape(
      name + WEIGHTS_SUFFIX,
      weights.shape,
      `[${tokens}, ${keyValueHeads}], or that with one weight per channel or group of channels`,
    );
  }
  const scale = tensors.get(name + SCALE_SUFFIX);
  if (scale !== undefined && `${scale.shape}` !== `${[keyValueHeads, headDim]}`) {
    throw badShape(name + SCALE_SUFFIX, scale.shape, `[${keyValueHeads}, ${headDim}]`);
  }
  return {
    layer,
    side,
    keyValueHeads,
    headDim,
    values: floats(name, tensors),
    ...(weights && { weights: floats(name + WEIGHTS_SUFFIX, tensors) }),
    ...(scale && { scale: floats(name + SCALE_SUFFIX, tensors) }),
    ...(positions && { positions }),
    ...(rope && side === "keys" && { rope }),
  };
}

function readPositions(tensors: Tensors): readonly number[] | undefined {
  const tensor = tensors.get(POSITIONS);
  if (tensor === undefined) return undefined;
  if (tensor.shape.length !== 1) throw badShape(POSITIONS, tensor.shape, "[tokens]");
  const positions = integerElements(tensor);
  if (positions === undefined) throw badDtype(POSITIONS, tensor.dtype, "I32, I64 or U32");
  const bad = positions.find((position) => !isIndex(position));
  if (bad !== undefined) {
    throw badSamples(`a token has the position ${bad}`, `Use positions from 0 to ${MOST_INDEX}`);
  }
  return positions;
}

function floats(name: string, tensors: Tensors): Float32Array<ArrayBuffer> {
  const tensor = tensors.get(name)!;
  const values = floatElements(tensor);
  if (values === undefined) throw badDtype(name, tensor.dtype, "F32, F64, BF16 or F16");
  return values;
}

function badShape(name: string, shape: readonly number[], wanted: string) {
  return badSamples(`"${name}" has the shape [${shape.join(", ")}]`, `Give ${wanted}`);
}

function badDtype(name: string, dtype: SafetensorsDtype, wanted: string) {
  return badSamples(`"${name}" has the dtype ${dtype}`, `Write ${wanted}`);
}
