/** What it takes to cache the heads' keys and values of a model that caches a latent vector (MLA). */
import { type Kind, whole } from "../base/check_options.ts";
import { LARGEST_SHAPE } from "../model/largest_shape.ts";
import type { Json } from "./reading/entries.ts";

const HEADS: Kind<number> = whole(1, LARGEST_SHAPE.queryHeads);
const CHANNELS: Kind<number> = whole(1, LARGEST_SHAPE.headDim);
const WIDTH: Kind<number> = whole(1);

/** The heads of such a model, and what it caches itself. */
export interface LatentHeads {
  /** KV heads, as many as query heads. */
  readonly heads: number;
  /** Channels of a key: those that rotate, and those that do not. */
  readonly headDim: number;
  /** Channels of a value. */
  readonly valueHeadDim: number;
  /** Numbers that the model caches for a token in a layer: the latent vector, and the rotated channels. */
  readonly latent: number;
}

/** The heads that a file describes, or undefined where entries are missing or make no sense. */
export function latentHeads(json: Json): LatentHeads | undefined {
  const get = (name: string, [, accepts]: Kind<number>) => {
    const value = json[name];
    return accepts(value) ? value : NaN;
  };
  const heads = get("num_attention_heads", HEADS);
  const rotated = get("qk_rope_head_dim", CHANNELS);
  const found: LatentHeads = {
    heads,
    headDim: get("qk_nope_head_dim", CHANNELS) + rotated,
    // MiniCPM3 has no entry for it.
    valueHeadDim: "v_head_dim" in json
      ? get("v_head_dim", CHANNELS)
      : get("hidden_size", WIDTH) / heads,
    latent: get("kv_lora_rank", WIDTH) + rotated,
  };
  return Object.values(found).every(Number.isInteger) ? found : undefined;
}

/** What the model caches of a token in a layer, and what its heads would take, in words. */
export function describeLatent({ heads, headDim, valueHeadDim, latent }: LatentHeads): string {
  const bytes = heads * (headDim + valueHeadDim) / 8;
  return `a token has ${latent} numbers in a layer, ${
    2 * latent
  } bytes in f16, and ${bytes} bytes ` +
    `for each bit of a channel if the ${heads} heads' keys of ${headDim} channels and values of ` +
    `${valueHeadDim} are cached in their place`;
}

/** How the heads are cached all the same. */
export function latentRemedy({ heads, headDim, valueHeadDim }: LatentHeads): string {
  return `Choose another model, or compute the heads' keys and values, and plan a cache of those by ` +
    `hand: planCache() with keyValueHeads ${heads}, headDim ${headDim} and valueHeadDim ` +
    `${valueHeadDim}, keys as they are scored, and the model's own scale`;
}
