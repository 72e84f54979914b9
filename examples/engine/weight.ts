/** Weights as checkpoints hold them. */
import { CoupletError, type SafetensorsTensor } from "@couplet/kv";
import { mxfp4Values } from "./mxfp4.ts";

/** The element types weights may be stored in. */
export const WEIGHT_DTYPES = ["F32", "F16", "BF16"] as const;

/** A weight as the checkpoint holds it, its type and shape checked. */
export interface Weight {
  /** Name in the checkpoint. */
  readonly name: string;
  /** Element type of `data`; MXFP4 is that of gpt-oss's experts (mxfp4.ts). */
  readonly dtype: (typeof WEIGHT_DTYPES)[number] | "MXFP4";
  /** `[columns]` or `[rows][columns]`. */
  readonly shape: readonly number[];
  /** Little-endian elements. A view that need not be aligned. */
  readonly data: Uint8Array;
  /** Of MXFP4: exponents of groups of elements. */
  readonly scales?: Uint8Array;
}

/** A projection `y = x W^T + b`. */
export interface Projection {
  /** `[outputs][inputs]`. */
  readonly weight: Weight;
  /** `[outputs]`. */
  readonly bias?: Weight;
}

/**
 * A tensor as a weight.
 *
 * @throws {CoupletError} `file` where its type is none of {@linkcode WEIGHT_DTYPES}; `shape` where its
 * shape is another than that.
 */
export function checkWeight(
  name: string,
  tensor: SafetensorsTensor,
  shape: readonly number[],
): Weight {
  const dtype = WEIGHT_DTYPES.find((known) => known === tensor.dtype);
  if (dtype === undefined) {
    throw new CoupletError("file", {
      what: `Tensor "${name}" cannot be used`,
      why: `its type is ${tensor.dtype}`,
      remedy: `Store the weights as ${WEIGHT_DTYPES.join(", ")}`,
    });
  }
  checkShape(name, tensor, shape);
  return { name, dtype, shape, data: tensor.data };
}

/**
 * A tensor of bytes.
 *
 * @throws {CoupletError} `file` where it is of another type; `shape` where its shape is another.
 */
export function checkBytes(
  name: string,
  tensor: SafetensorsTensor,
  shape: readonly number[],
): Uint8Array {
  if (tensor.dtype !== "U8") {
    throw new CoupletError("file", {
      what: `Tensor "${name}" cannot be used`,
      why: `its type is ${tensor.dtype}`,
      remedy: "Store blocks and scales of MXFP4 as U8, as published",
    });
  }
  checkShape(name, tensor, shape);
  return tensor.data;
}

function checkShape(name: string, tensor: SafetensorsTensor, shape: readonly number[]): void {
  if (tensor.shape.join() !== shape.join()) {
    throw new CoupletError("shape", {
      what: `Tensor "${name}" does not fit config.json`,
      why: `its shape is [${tensor.shape.join(", ")}] and config.json makes it [${
        shape.join(", ")
      }]`,
      remedy: "Check that config.json belongs to the checkpoint",
    });
  }
}

/** A weight's values in float32, row-major. */
export function weightValues(weight: Weight): Float32Array<ArrayBuffer> {
  if (weight.dtype === "MXFP4") return mxfp4Values(weight.data, weight.scales!);
  const count = weight.shape.reduce((product, length) => product * length, 1);
  const values = new Float32Array(count);
  if (weight.dtype === "F32") {
    new Uint8Array(values.buffer).set(weight.data);
    return values;
  }
  const bytes = weight.data.slice();
  if (weight.dtype === "F16") {
    values.set(new Float16Array(bytes.buffer));
  } else {
    // A bfloat16 is the upper half of a float32.
    const halves = new Uint16Array(bytes.buffer);
    const bits = new Uint32Array(values.buffer);
    for (let i = 0; i < count; i++) bits[i] = halves[i]! << 16;
  }
  return values;
}

/** A weight of these values. */
export function float32Weight(weight: Weight, values: Float32Array<ArrayBuffer>): Weight {
  return { ...weight, dtype: "F32", data: new Uint8Array(values.buffer) };
}

/** Every `step`-th of a weight's rows, `count` of them from `first` on. */
export function takeRows(weight: Weight, first: number, step: number, count: number): Weight {
  const rows = weight.shape[0]!;
  const pick = (bytes: Uint8Array): Uint8Array => {
    const width = bytes.length / rows;
    const picked = new Uint8Array(count * width);
    for (let i = 0; i < count; i++) {
      const from = (first + i * step) * width;
      picked.set(bytes.subarray(from, from + width), i * width);
    }
    return picked;
  };
  return {
    ...weight,
    shape: [count, ...weight.shape.slice(1)],
    data: pick(weight.data),
    ...(weight.scales === undefined ? {} : { scales: pick(weight.scales) }),
  };
}
