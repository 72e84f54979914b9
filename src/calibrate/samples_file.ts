/**
 * Samples of keys and values from a file of another program, such as activations from PyTorch.
 *
 * A safetensors file with one tensor per layer and side, named `layers.<layer>.keys` or
 * `layers.<layer>.values`, of shape `[tokens, keyValueHeads, headDim]`, F32 or F64, or BF16 or F16.
 *
 * @module
 */
import { checkOptions } from "../base/check_options.ts";
import { list } from "../base/data_kinds.ts";
import { SAMPLES } from "./sample_fields.ts";
import { CoupletError } from "../base/errors.ts";
import { readSafetensors } from "../base/safetensors.ts";
import type { Side } from "../model/side.ts";
import { floatElements } from "./float_tensor.ts";
import type { CalibrationSamples } from "./samples.ts";

const TENSOR_NAME = /^layers\.(0|[1-9][0-9]{0,8})\.(keys|values)$/;

/**
 * Reads a file of samples. Values are checked where they are used, by `calibrate`.
 *
 * @param bytes The whole file.
 * @returns One entry for each layer and side, in order of layers, keys first.
 * @throws {CoupletError} `file` where the bytes are not a safetensors file, or hold anything but
 * samples.
 */
export function readSamples(bytes: Uint8Array): readonly CalibrationSamples[] {
  const samples = [...readSafetensors(bytes).tensors].map(([name, tensor]): CalibrationSamples => {
    const match = TENSOR_NAME.exec(name);
    if (match === null) {
      throw badFile(`it holds "${name}"`, 'Name tensors "layers.<layer>.keys" or ".values"');
    }
    const [tokens, keyValueHeads, headDim] = tensor.shape;
    if (tensor.shape.length !== 3 || tokens! * keyValueHeads! * headDim! === 0) {
      throw badFile(
        `"${name}" has the shape [${tensor.shape.join(", ")}]`,
        "Give [tokens, KV heads, head dimension]",
      );
    }
    const values = floatElements(tensor);
    if (values === undefined) {
      throw badFile(`"${name}" has the dtype ${tensor.dtype}`, "Write F32, F64, BF16 or F16");
    }
    return {
      layer: Number(match[1]),
      side: match[2] as Side,
      keyValueHeads: keyValueHeads!,
      headDim: headDim!,
      values,
    };
  });
  if (samples.length === 0) throw badFile("it holds no tensor", "Write one per layer and side");
  return samples.sort((a, b) => a.layer - b.layer || (a.side < b.side ? -1 : 1));
}

/**
 * Samples of several files as one: the tokens of each layer and side one after the other, in the
 * files' order.
 *
 * @throws {CoupletError} `shape` where files differ in a layer's heads or channels.
 */
export function joinSamples(
  files: readonly (readonly CalibrationSamples[])[],
): readonly CalibrationSamples[] {
  checkOptions("usage", "Cannot join samples", { files: list("a list of lists", SAMPLES) }, {
    files,
  });
  const bySide = Map.groupBy(files.flat(), ({ layer, side }) => `${side} of layer ${layer}`);
  return [...bySide].map(([name, parts]) => {
    const [first] = parts;
    for (const { keyValueHeads, headDim } of parts) {
      if (keyValueHeads === first!.keyValueHeads && headDim === first!.headDim) continue;
      throw new CoupletError("shape", {
        what: `Cannot join the samples of the ${name}`,
        why: `one file has ${first!.keyValueHeads} heads of ${
          first!.headDim
        } channels and another ${keyValueHeads} of ${headDim}`,
        remedy: "Take all samples from one model",
      });
    }
    const values = new Float32Array(parts.reduce((sum, part) => sum + part.values.length, 0));
    let at = 0;
    for (const part of parts) {
      values.set(part.values, at);
      at += part.values.length;
    }
    const { positions: _, ...others } = first!;
    const positions = parts.flatMap(({ positions }) => positions ? Array.from(positions) : []);
    return { ...others, values, ...(positions.length > 0 ? { positions } : {}) };
  });
}

function badFile(why: string, remedy: string): CoupletError {
  return new CoupletError("file", { what: "Cannot read the file of samples", why, remedy });
}
