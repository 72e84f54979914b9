/**
 * The codecs of the families of schemes. Bundles that only run kernels leave them out.
 */
import { checkOptions, FUNCTION, TEXT } from "../base/check_options.ts";
import { CoupletError } from "../base/errors.ts";
import type { OtherFamily, Scheme, SchemeFamily } from "./scheme.ts";
import { parseScheme } from "./parse_scheme.ts";
import { additiveCodec } from "./additive_codec.ts";
import { coupledCodec } from "./coupled.ts";
import { halfCodec } from "./half.ts";
import { hadamardCodec } from "./hadamard_codec.ts";
import { promotedCodec } from "./promoted.ts";
import { ternaryCodec } from "./ternary.ts";
import { spanCodec } from "./span.ts";
import { turnedCodec } from "./turned_codec.ts";
import { levelsCodec } from "./uniform.ts";
import { vecInferCodec } from "./vecinfer_codec.ts";
import type { Codec } from "./codec.ts";

/** The codec of each family. */
const codecs: Readonly<Record<SchemeFamily, (scheme: Scheme) => Codec>> = {
  half: halfCodec,
  coupled: coupledCodec,
  uniform: levelsCodec,
  promoted: promotedCodec,
  ternary: ternaryCodec,
  hadamard: hadamardCodec,
  span: spanCodec,
  vecinfer: vecInferCodec,
  additive: additiveCodec,
};

const others = new Map<OtherFamily, (scheme: Scheme) => Codec>();

/**
 * Registers the codecs of a family of another program or package.
 *
 * @param codec Returns the codec of one of its schemes.
 */
export function registerCodec(family: OtherFamily, codec: (scheme: Scheme) => Codec): void {
  checkOptions("scheme", "Cannot register codecs", { family: TEXT, codec: FUNCTION }, {
    family,
    codec,
  });
  others.set(family, codec);
}

/**
 * The codec of a scheme.
 *
 * @throws {CoupletError} `scheme` where `parseScheme` did not return the scheme, or its family has
 * no codecs.
 */
export function schemeCodec(scheme: Scheme): Codec {
  const what = `Cannot code vectors with the scheme "${Object(scheme).id}"`;
  if (parseScheme(Object(scheme).id) !== scheme) {
    throw new CoupletError("scheme", {
      what,
      why: "no family of schemes made it",
      remedy: "Take schemes from parseScheme()",
    });
  }
  const { family } = scheme;
  const codec = Object.hasOwn(codecs, family)
    ? codecs[family as SchemeFamily]
    : others.get(family as OtherFamily);
  if (codec === undefined) {
    throw new CoupletError("scheme", {
      what,
      why: `the family ${family} has no codecs`,
      remedy: "Register them (registerCodec)",
    });
  }
  return scheme.positional ? codec(scheme) : turnedCodec(codec(scheme));
}
