import type { EmbeddedTokens } from "../engine/mod.ts";
import { embedVideo } from "./projector.ts";
import type { VisionModel } from "./vision_model.ts";

/** What a model reads before the first question: the token that begins a text, then a video. */
export interface VideoPrompt {
  /** The beginning, then the image token for every visual token. */
  readonly tokenIds: readonly number[];
  /** The video, in place of the image tokens. */
  readonly embedded: EmbeddedTokens;
}

/** Tokens before the video. */
export const TOKENS_BEFORE_VIDEO = 1;

/**
 * A video as a prompt.
 *
 * @param pixels `[frames][frameSize][frameSize]`, grey.
 * @throws {CoupletError} `shape` where the pixels are no whole frames, none or too many.
 */
export function videoPrompt(model: VisionModel, pixels: Uint8Array): VideoPrompt {
  const { vision: { beginTokenId, imageTokenId }, text } = model;
  const vectors = embedVideo(model, pixels);
  const tokens = vectors.length / text.config.hiddenSize;
  return {
    tokenIds: [beginTokenId, ...new Array<number>(tokens).fill(imageTokenId)],
    embedded: { first: TOKENS_BEFORE_VIDEO, vectors },
  };
}
