import { checkOptions } from "../base/check_options.ts";
import { raise } from "../base/raise.ts";
import { type SafetensorsTensor, writeSafetensors } from "../base/safetensors.ts";
import { SAMPLES } from "./sample_fields.ts";
import { encodeMetadata, ORIGIN_FIELDS, type SampleOrigin } from "./sample_origin.ts";
import { type CalibrationSamples, tokensOf } from "./samples.ts";
import { isIndex, POSITIONS, SCALE_SUFFIX, WEIGHTS_SUFFIX } from "./samples_file.ts";

const WHAT = "Cannot write the samples";

/**
 * Writes samples as a file that `readSamples` and `couplet calibrate samples` read. A file has one
 * list of positions and one rotary embedding, those of all samples that have any.
 *
 * @param origin Where the samples come from. Calibration writes it into the codebooks.
 * @throws {CoupletError} `usage` where a layer and side is listed twice; `shape` where sizes do not
 * divide, or samples differ in tokens, positions or rotary embedding.
 */
export function writeSamples(
  samples: readonly CalibrationSamples[],
  origin: SampleOrigin = {},
): Uint8Array<ArrayBuffer> {
  checkOptions("usage", WHAT, { samples: SAMPLES, origin: ORIGIN_FIELDS }, { samples, origin });
  const tensors = new Map<string, SafetensorsTensor>();
  for (const one of samples) {
    const { layer, side, values, weights, scale, keyValueHeads, headDim } = one;
    const name = `layers.${layer}.${side}`;
    if (!isIndex(layer)) raise("shape", WHAT, `the layer ${layer} is no index`, "Count from 0");
    if (tensors.has(name)) {
      raise("usage", WHAT, `the ${side} of layer ${layer} come twice`, "Join them (joinSamples)");
    }
    const tokens = tokensOf(one);
    tensors.set(name, floatTensor(one, values, [tokens, keyValueHeads, headDim]));
    if (weights !== undefined) {
      const perHead = weights.length / (tokens * keyValueHeads);
      const shape = [tokens, keyValueHeads, ...(perHead === 1 ? [] : [perHead])];
      tensors.set(name + WEIGHTS_SUFFIX, floatTensor(one, weights, shape));
    }
    if (scale !== undefined) {
      tensors.set(name + SCALE_SUFFIX, floatTensor(one, scale, [keyValueHeads, headDim]));
    }
  }
  const positions = sharedPositions(samples);
  if (positions !== undefined) {
    const data = new Uint8Array(Int32Array.from(positions).buffer);
    tensors.set(POSITIONS, { dtype: "I32", shape: [positions.length], data });
  }
  const [rope, ...others] = distinct(samples.map(({ rope }) => rope));
  if (others.length > 0) differ("rotary embeddings");
  return writeSafetensors({
    metadata: encodeMetadata({ ...origin, ...(rope && { rope }) }),
    tensors,
  });
}

function floatTensor(
  { layer, side }: CalibrationSamples,
  { buffer, byteOffset, byteLength, length }: Float32Array,
  shape: readonly number[],
): SafetensorsTensor {
  if (!shape.every(Number.isSafeInteger) || shape.reduce((a, b) => a * b, 1) !== length) {
    raise(
      "shape",
      WHAT,
      `${length} numbers of the ${side} of layer ${layer} are not [${shape.join(", ")}]`,
      "Give [tokens][keyValueHeads][headDim], and weights and scales that divide it",
    );
  }
  // All machines with WebGPU are little-endian, as files are.
  return { dtype: "F32", shape, data: new Uint8Array(buffer, byteOffset, byteLength) };
}

/** The positions of all samples that have any; undefined where none has. */
function sharedPositions(samples: readonly CalibrationSamples[]): readonly number[] | undefined {
  const [positions, ...others] = distinct(
    samples.map(({ positions }) => positions && Array.from(positions)),
  );
  if (others.length > 0) differ("positions");
  const bad = positions?.find((position) => !isIndex(position));
  if (bad !== undefined) {
    raise("shape", WHAT, `a token has the position ${bad}`, "Count each sequence's tokens from 0");
  }
  if (positions !== undefined && samples.some((one) => tokensOf(one) !== positions.length)) {
    differ("numbers of tokens");
  }
  return positions;
}

/** Those that are given, each once. */
function distinct<T>(all: readonly (T | undefined)[]): readonly T[] {
  return [
    ...new Map(all.filter((one) => one !== undefined).map((one) => [JSON.stringify(one), one]))
      .values(),
  ];
}

function differ(what: string): never {
  raise(
    "shape",
    WHAT,
    `layers and sides have different ${what}`,
    "Take all samples from the same tokens of one model, or write a file of each",
  );
}
