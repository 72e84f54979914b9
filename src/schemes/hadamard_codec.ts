/** The codecs of schemes that code vectors after a Hadamard rotation. */
import type { Codec } from "./codec.ts";
import type { Scheme } from "./scheme.ts";
import { latticeCodec } from "./lattice.ts";
import { turboQuantCodec } from "./turbo_quant.ts";

/** The codec of a scheme of the family. */
export function hadamardCodec(scheme: Scheme): Codec {
  return turboQuantCodec(scheme) ?? latticeCodec(scheme);
}
