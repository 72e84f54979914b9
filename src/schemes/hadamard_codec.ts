/** The codecs of schemes whose codes describe a vector that was rotated by a Hadamard matrix. */
import type { Codec } from "./codec.ts";
import type { Scheme } from "./scheme.ts";
import { latticeCodec } from "./lattice.ts";
import { turboQuantCodec } from "./turbo_quant.ts";

/** The codec of a scheme of the family. */
export function hadamardCodec(scheme: Scheme): Codec {
  return turboQuantCodec(scheme) ?? latticeCodec(scheme);
}
