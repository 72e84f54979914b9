/** What methods do to a video. */
import { type Sequence, SIDES } from "@couplet/kv";
import { protectedTokens } from "../../../src/spans/protected_tokens.ts";
import { readBuffer } from "../../../tools/read_buffer.ts";
import { embedTokens } from "../../llama/reference.ts";
import type { SeenVideo, SpanPart, VisionHost } from "../../vision/host.ts";
import { embedVideo } from "../../vision/projector.ts";
import type { Video } from "../../vision/videos.ts";
import type { VisionModel } from "../../vision/vision_model.ts";
import { spanName, type VisionMethod } from "./methods.ts";
import { literalKeys, type LiteralMode, literalValues, wideChannels } from "./vidkv_literal.ts";

/** A video that was read, and all that methods need to know of it. */
export interface EvaluatedVideo {
  readonly host: VisionHost;
  readonly device: GPUDevice;
  readonly model: VisionModel;
  readonly video: Video;
  readonly seen: SeenVideo;
  /** Part of its tokens that methods of two pairs protect. */
  readonly protect: number;
}

/** A sequence that sees a video as a method makes it. */
export interface TreatedVideo {
  readonly sequence: Sequence;
  /** Tokens of each of its parts. */
  readonly parts: readonly number[];
}

/** Makes of a video what a method, the one of that index, makes of it. */
export async function treat(
  evaluated: EvaluatedVideo,
  { treatment }: VisionMethod,
  index: number,
): Promise<TreatedVideo> {
  const { host, seen } = evaluated;
  const whole = [seen.tokens];
  switch (treatment.kind) {
    case "hidden":
      return { sequence: host.compress(seen, []), parts: whole };
    case "literal": {
      const layers = await literalLayers(evaluated, treatment.mode);
      return { sequence: host.substitute(seen, layers), parts: whole };
    }
    case "span": {
      const parts = spanParts(evaluated, treatment.pairs.length, index);
      return {
        sequence: host.compress(seen, parts),
        parts: parts.map(({ indices }) => indices?.length ?? seen.tokens),
      };
    }
  }
}

/** The tokens of each of a method's spans: all, or those that are protected and the others. */
function spanParts(
  { model, video, protect }: EvaluatedVideo,
  parts: number,
  method: number,
): SpanPart[] {
  if (parts === 1) return [{ name: spanName(method, 0) }];
  const selection = protectedTokens({
    visual: embedVideo(model, video.pixels),
    text: embedTokens(model.text, video.questions.flatMap(({ tokenIds }) => tokenIds)),
    width: model.text.config.hiddenSize,
    share: protect,
  });
  return [selection.protected, selection.others].flatMap((indices, part) =>
    indices.length === 0 ? [] : [{ name: spanName(method, part), indices }]
  );
}

/** A video's keys and values, coded by VidKV's arithmetic and decoded. */
async function literalLayers({ device, seen, model }: EvaluatedVideo, mode: LiteralMode) {
  const { keyValueHeads, headDim } = model.text.config;
  return await Promise.all(seen.layers.map(async (buffers) => {
    const [keys, values] = await Promise.all(
      SIDES.map(async (side) =>
        heads(new Float32Array(await readBuffer(device, buffers[side])), keyValueHeads, headDim)
      ),
    ) as [Float64Array[][], Float64Array[][]];
    const wide = wideChannels(keys.flat());
    return {
      keys: tokensOf(keys.map((head) => literalKeys(head, wide))),
      values: tokensOf(values.map((head) => literalValues(head, mode))),
    };
  }));
}

/** `[tokens][heads][headDim]` as `[heads][tokens]` vectors. */
function heads(vectors: Float32Array, count: number, headDim: number): Float64Array[][] {
  const tokens = vectors.length / (count * headDim);
  return Array.from({ length: count }, (_, head) =>
    Array.from({ length: tokens }, (_, token) => {
      const start = (token * count + head) * headDim;
      return new Float64Array(vectors.subarray(start, start + headDim));
    }));
}

/** The inverse of {@linkcode heads}. */
function tokensOf(heads: readonly (readonly Float64Array[])[]): Float32Array<ArrayBuffer> {
  return Float32Array.from(
    heads[0]!.flatMap((_, token) => heads.flatMap((head) => [...head[token]!])),
  );
}
