import {
  calibrate,
  type CalibrationSamples,
  type CodebookSet,
  parseScheme,
  type SchemeId,
  type Side,
} from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import { bySide } from "../../src/model/by_side.ts";
import { additiveCodec } from "../../src/schemes/additive_codec.ts";
import { type Checkpoint, layerKeys, modelCacheOptions, type ModelConfig } from "../engine/mod.ts";
import type { RunCoding, TextCoder } from "../eval/coded_run.ts";
import { type CodedSide, SideCoder } from "../eval/side_coder.ts";
import type { Variant } from "./variants.ts";
import { type HeadSpace, headVectors, learnSpace, samplesInSpace } from "./vector_space.ts";

/** What a variant's codebooks are learned from. */
export interface VariantSource {
  readonly device: GPUDevice;
  readonly checkpoint: Checkpoint;
  /** With Fisher weights and query scales, of which a variant takes what it has. */
  readonly samples: readonly CalibrationSamples[];
  readonly seed: number;
  readonly onProgress: (fraction: number) => void;
}

/** What a variant codes with. */
export interface LearnedVariant {
  readonly codebooks: CodebookSet;
  /** By layer and side, and then by KV head; none where vectors are coded as they are. */
  readonly spaces: ReadonlyMap<string, readonly HeadSpace[]>;
}

/** Tells variants apart that are learned differently. */
export function learningId(variant: Variant): string {
  const { scheme, weights, keySpace, space, shareHeads, rotateValues } = variant;
  return JSON.stringify([scheme, weights, keySpace, space, shareHeads, rotateValues]);
}

/** Learns what a variant needs, with what it turns off turned off. */
export async function learnVariant(
  variant: Variant,
  { device, checkpoint, samples, seed, onProgress }: VariantSource,
): Promise<LearnedVariant> {
  const { scheme, keySpace, space, shareHeads = false } = variant;
  const spaces = new Map<string, readonly HeadSpace[]>();
  const inside = samples.map((own) => {
    const weighted = withWeights(own, variant);
    if (space === undefined) return weighted;
    const learned = learnSpace(space, weighted);
    spaces.set(placeId(own.layer, own.side), learned);
    return samplesInSpace(space, learned, weighted);
  });
  const codebooks = await calibrate({
    device,
    kernels: manifest,
    samples: inside,
    schemes: { keys: [scheme], values: [scheme] },
    keySpace,
    model: checkpoint.fingerprint,
    seed,
    shareHeads,
    onProgress: ({ fraction }) => onProgress(fraction),
  });
  return { codebooks, spaces };
}

/** How a variant codes with what was learned. */
export function variantCoding(
  { scheme, keySpace, width }: Variant,
  { codebooks, spaces }: LearnedVariant,
  config: ModelConfig,
): RunCoding {
  const { layers, keyValueHeads, headDim } = config;
  const cacheOptions = modelCacheOptions(config, keySpace);
  const coder = (layer: number, side: Side): TextCoder => {
    const own = new SideCoder({
      scheme,
      layer,
      side,
      keyValueHeads,
      headDim,
      keys: layerKeys(cacheOptions, layer),
      codebooks,
      ...(width === undefined ? {} : { codec: additiveCodec(parseScheme(scheme), width) }),
    });
    const inside = spaces.get(placeId(layer, side));
    return inside === undefined ? own : new SpaceCoder(own, inside, headDim);
  };
  return {
    keySpace,
    layers: Array.from({ length: layers }, (_, layer) => bySide((side) => coder(layer, side))),
  };
}

function placeId(layer: number, side: Side): string {
  return `${layer} ${side}`;
}

/** The samples with what a variant weighs errors by. */
function withWeights(
  { weights, scale, ...samples }: CalibrationSamples,
  { weights: wanted }: Pick<Variant, "weights">,
): CalibrationSamples {
  return {
    ...samples,
    ...(weights !== undefined && wanted.includes("fisher") ? { weights } : {}),
    ...(scale !== undefined && wanted.includes("query") ? { scale } : {}),
  };
}

/** Codes vectors in a space of their own. */
class SpaceCoder implements TextCoder {
  readonly scheme: SchemeId;
  readonly #coder: TextCoder;
  readonly #spaces: readonly HeadSpace[];
  readonly #headDim: number;

  /** @param spaces By KV head. */
  constructor(coder: TextCoder, spaces: readonly HeadSpace[], headDim: number) {
    this.scheme = coder.scheme;
    this.#coder = coder;
    this.#spaces = spaces;
    this.#headDim = headDim;
  }

  code(vectors: Float64Array): CodedSide {
    const headDim = this.#headDim;
    const shape = { values: vectors, keyValueHeads: this.#spaces.length, headDim };
    const entered = this.#spaces.map((space, head) => space.enter(headVectors(shape, head)));
    const place = (token: number, head: number) => (token * this.#spaces.length + head) * headDim;
    const inside = new Float64Array(vectors.length);
    entered.forEach((own, head) =>
      own.inside.forEach((vector, token) => inside.set(vector, place(token, head)))
    );
    const { decoded, codes } = this.#coder.code(inside);
    entered.forEach(({ inside, leave }, head) =>
      inside.forEach((_, token) => {
        const at = place(token, head);
        decoded.set(leave(decoded.slice(at, at + headDim), token), at);
      })
    );
    return { decoded, codes };
  }
}
