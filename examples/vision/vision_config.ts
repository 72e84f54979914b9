import { CoupletError } from "@couplet/kv";
import { z } from "zod";
import { parseJson } from "../../cli/json.ts";

const count = z.int().positive();

/** The activations a projector may have, by their names in Hugging Face's configurations. */
const ACTIVATIONS = ["gelu", "gelu_pytorch_tanh"] as const;

/** What `config.json` says of the vision side, under `vision`. */
const visionSchema = z.object({
  /** File of the projector's weights. */
  file: z.string().regex(/^[^/\\]+$/, "it must be a file of the model's folder"),
  /** The token in whose places an image's embeddings go. */
  image_token_id: z.int().nonnegative("it is no token"),
  /** Pixels of a frame's side. */
  frame_size: count,
  /** Pixels of a patch's side. */
  patch_size: count,
  /** Numbers per pixel. */
  channels: z.literal(1, "only grey frames, of one channel, are implemented"),
  /** Most frames of a video. */
  max_frames: count,
  /** Taken off a pixel between 0 and 1. */
  image_mean: z.number(),
  /** Divides what is left. */
  image_std: z.number().positive(),
  /** Between the projector's two layers. */
  projector_hidden_act: z.enum(ACTIVATIONS),
  /** Channels between the projector's two layers. */
  projector_hidden_size: count,
});

const configSchema = z.object({
  vocab_size: count,
  /** The token that begins a text. */
  bos_token_id: z.int().nonnegative("it is no token"),
  vision: visionSchema,
});

/** The vision side of a model. */
export interface VisionConfig {
  /** File of the projector's weights. */
  readonly file: string;
  /** The token that begins a text. */
  readonly beginTokenId: number;
  /** The token in whose places an image's embeddings go. */
  readonly imageTokenId: number;
  /** Pixels of a frame's side. */
  readonly frameSize: number;
  /** Pixels of a patch's side. */
  readonly patchSize: number;
  /** Patches, and so tokens, of a frame. */
  readonly frameTokens: number;
  /** Most frames of a video. */
  readonly maxFrames: number;
  /** Taken off a pixel between 0 and 1. */
  readonly mean: number;
  /** Divides what is left. */
  readonly deviation: number;
  /** Between the projector's two layers. */
  readonly activation: (typeof ACTIVATIONS)[number];
  /** Channels between the projector's two layers. */
  readonly projectorSize: number;
}

/**
 * Reads the vision side of a `config.json`.
 *
 * @throws {CoupletError} `file` where there is none, an entry is missing (an image token, say) or the
 * model has a vision tower, which this host does not run; `shape` where sizes do not divide.
 */
export function parseVisionConfig(text: string): VisionConfig {
  const source = {
    what: "config.json as that of a vision-language model",
    remedy: 'Give a folder whose config.json has an entry "vision", as docs/vision.md lists it',
  };
  const json = parseJson(source, z.record(z.string(), z.unknown()), text);
  if ("vision_config" in json) {
    throw new CoupletError("file", {
      what: `Cannot read ${source.what}`,
      why: "it has a vision_config: an encoder in front of the projector",
      remedy: "This host gives patches to the projector itself; run the encoder elsewhere",
    });
  }
  const { vision, vocab_size, bos_token_id } = parseJson(source, configSchema, text);
  const tokens = { bos_token_id, image_token_id: vision.image_token_id };
  for (const [name, id] of Object.entries(tokens)) {
    if (id >= vocab_size) throw unfit(`${name} ${id} is beyond vocab_size ${vocab_size}`);
  }
  if (vision.frame_size % vision.patch_size !== 0) {
    throw unfit(
      `frame_size ${vision.frame_size} is no multiple of patch_size ${vision.patch_size}`,
    );
  }
  return {
    file: vision.file,
    beginTokenId: bos_token_id,
    imageTokenId: vision.image_token_id,
    frameSize: vision.frame_size,
    patchSize: vision.patch_size,
    frameTokens: (vision.frame_size / vision.patch_size) ** 2,
    maxFrames: vision.max_frames,
    mean: vision.image_mean,
    deviation: vision.image_std,
    activation: vision.projector_hidden_act,
    projectorSize: vision.projector_hidden_size,
  };
}

function unfit(why: string): CoupletError {
  return new CoupletError("shape", {
    what: "config.json describes no vision side this host can run",
    why,
    remedy: "Check that it is the checkpoint's own",
  });
}
