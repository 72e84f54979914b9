/**
 * Transformers.js as a host: keys and values are compressed between its runs, such as those of a
 * prompt, and restored.
 *
 * Its attention is an operator inside the model's session and cannot be replaced: while a model
 * runs, its keys and values are uncompressed. A cache saves the memory of everything that waits.
 *
 * It has no dependency: the caller passes the classes of `@huggingface/transformers` and of the
 * ONNX Runtime it uses.
 *
 * ```ts
 * import type { Cache } from "@couplet/kv";
 * import { appendPastKeyValues, type PastKeyValues } from "@couplet/kv/hosts/transformers";
 *
 * // Compresses the `past_key_values` that `generate()` returns. They can then be disposed of.
 * async function park(device: GPUDevice, cache: Cache, past: PastKeyValues) {
 *   const sequence = cache.createSequence();
 *   await appendPastKeyValues(device, cache, sequence, past);
 *   return sequence;
 * }
 * ```
 *
 * @module
 */
import type { Cache } from "../cache/cache.ts";
import { cacheInternals } from "../cache/internals.ts";
import { checkOptions, FUNCTION, kind } from "../base/check_options.ts";
import { CoupletError } from "../base/errors.ts";
import { SIDES } from "../model/side.ts";
import type { Sequence } from "../cache/sequences.ts";
import {
  appendOrtTensors,
  type OrtLayer,
  type OrtTensor,
  type OrtTensorClass,
  readOrtTensors,
} from "./ort.ts";

/** The properties of a transformers.js tensor that are read. */
export interface TransformersTensor {
  /** The ONNX Runtime tensor inside. */
  readonly ort_tensor: OrtTensor;
}

/** The entries of a `DynamicCache` by name, `past_key_values.<layer>.key` and `.value`. */
export type PastKeyValues<Tensor = TransformersTensor> = Readonly<Record<string, Tensor>>;

/** The suffix of an entry's name, by side. */
const SUFFIX = { keys: "key", values: "value" } as const;

/**
 * Appends to a sequence what a `DynamicCache` holds beyond its length, and submits it. The
 * `DynamicCache` may be disposed of afterwards.
 *
 * @param cache Planned with `ortLayout()` and keys `{ space: "as-scored" }`: models for
 * transformers.js cache them after the rotary embedding.
 * @param past A `DynamicCache`, of one sequence.
 * @throws {CoupletError} `shape` where an entry is missing, left over, or does not match the plan;
 * otherwise as `appendOrtTensors()` does.
 */
export async function appendPastKeyValues(
  device: GPUDevice,
  cache: Cache,
  sequence: Sequence,
  past: PastKeyValues,
): Promise<void> {
  cacheInternals(cache);
  checkOptions("usage", "Cannot append the past keys and values", {
    past: kind("a DynamicCache", (value) => Object(value) === value),
  }, { past });
  const { layers } = cache.plan.options;
  const tensor = (name: string): OrtTensor => {
    const found = past[name]?.ort_tensor;
    if (found === undefined) throw foreign(`it has no entry "${name}"`);
    return found;
  };
  const tensors = layers.map((_, layer): OrtLayer => ({
    keys: tensor(entryName(layer, "keys")),
    values: tensor(entryName(layer, "values")),
  }));
  const known = new Set(layers.flatMap((_, layer) => SIDES.map((side) => entryName(layer, side))));
  const extra = Object.keys(past).find((name) => !known.has(name));
  if (extra !== undefined) throw foreign(`its entry "${extra}" belongs to no layer of the plan`);
  await appendOrtTensors(device, cache, sequence, tensors);
}

/**
 * Reads the vectors of a sequence into entries of a new `DynamicCache`, for `generate({
 * past_key_values })`. It submits the commands.
 *
 * @param cache Planned with `ortLayout()`.
 * @param OrtTensor The class `Tensor` of the ONNX Runtime that transformers.js uses.
 * @param Tensor The class `Tensor` of transformers.js, which wraps it.
 * @throws {CoupletError} as `readOrtTensors()` does.
 */
export function readPastKeyValues<Inner, Outer>(
  device: GPUDevice,
  cache: Cache,
  sequence: Sequence,
  OrtTensor: OrtTensorClass<Inner>,
  Tensor: new (inner: Inner) => Outer,
): Record<string, Outer> {
  checkOptions("usage", "Cannot read the past keys and values", { Tensor: FUNCTION }, { Tensor });
  const layers = readOrtTensors(device, cache, sequence, OrtTensor);
  return Object.fromEntries(
    layers.flatMap((tensors, layer) =>
      SIDES.map((side) => [entryName(layer, side), new Tensor(tensors[side])] as const)
    ),
  );
}

function entryName(layer: number, side: keyof typeof SUFFIX): string {
  return `past_key_values.${layer}.${SUFFIX[side]}`;
}

function foreign(why: string): CoupletError {
  return new CoupletError("shape", {
    what: "Cannot append the past keys and values",
    why,
    remedy: "Plan the cache for the model that the DynamicCache comes from",
  });
}
