import type { Cache, ExactTiers, KeySpace, Sequence, Side } from "@couplet/kv";
import { heldTokens } from "./held_tokens.ts";
import { readBuffer } from "../../tools/read_buffer.ts";

/** The coded tokens of one context, layer and side, decoded. */
export interface DecodedTokens {
  /** Position of the first. */
  readonly first: number;
  /** `[tokens][keyValueHeads][headDim]`, in the space that they are coded in. */
  readonly vectors: ArrayLike<number>;
}

/** How a run holds what is compared. */
export interface CodedContexts {
  readonly keySpace: KeySpace;
  readonly tiers: ExactTiers;
  /** Tokens that leave the window together. */
  readonly block: number;
  /** Undefined where no token is coded. */
  decode(context: number, layer: number, side: Side): Promise<DecodedTokens | undefined>;
}

/** How a cache holds contexts, one sequence each. */
export function cachedContexts(
  device: GPUDevice,
  cache: Cache,
  sequences: readonly Sequence[],
): CodedContexts {
  const { keys: { space }, tiers, block } = cache.plan.options;
  return {
    keySpace: space,
    tiers,
    block,
    async decode(context, layer, side) {
      const { first, count } = heldTokens(cache, sequences[context]!, layer);
      return count === 0 ? undefined : {
        first: tiers.sinks + first,
        vectors: await decode(device, cache, sequences[context]!, layer, side),
      };
    },
  };
}

/** The coded tokens of a sequence that a layer holds, `[tokens][keyValueHeads][headDim]`, decoded. */
async function decode(
  device: GPUDevice,
  cache: Cache,
  sequence: Sequence,
  layer: number,
  side: Side,
): Promise<Float32Array> {
  const { layers, tiers } = cache.plan.options;
  const { first, count } = heldTokens(cache, sequence, layer);
  const output = device.createBuffer({
    size: count * layers[layer]!.keyValueHeads * layers[layer]!.headDim * 4,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC,
  });
  const encoder = device.createCommandEncoder();
  cache.encodeRead(encoder, sequence, layer, {
    side,
    first: tiers.sinks + first,
    count,
    output: { buffer: output },
  });
  device.queue.submit([encoder.finish()]);
  const decoded = new Float32Array(await readBuffer(device, output));
  output.destroy();
  return decoded;
}
