/** Finds the kernels of a scheme's family. */
import { checkOptions, FUNCTION, having, isA, kind, TEXT } from "../../src/base/check_options.ts";
import { CoupletError } from "../../src/base/errors.ts";
import type { OtherFamily, Scheme, SchemeFamily, SchemeId } from "../../src/schemes/scheme.ts";
import { parseScheme } from "../../src/schemes/parse_scheme.ts";
import { additiveKernels } from "./additive.ts";
import { coupledKernels } from "./coupled.ts";
import { hadamardKernels } from "./hadamard.ts";
import { halfKernels } from "./half.ts";
import { promotedKernels } from "./promoted.ts";
import { ternaryKernels } from "./ternary.ts";
import type { SchemeKernels } from "./scheme_kernels.ts";
import { spanKernels } from "./span.ts";
import { uniformKernels } from "./uniform.ts";
import { vecInferKernels } from "./vecinfer.ts";

/** Returns the kernels of a family's scheme at one head dimension. */
export type FamilyKernels = (scheme: Scheme, headDim: number) => SchemeKernels;

const ROOMS: Readonly<Record<SchemeFamily, FamilyKernels>> = {
  half: halfKernels,
  coupled: coupledKernels,
  uniform: uniformKernels,
  promoted: promotedKernels,
  ternary: ternaryKernels,
  hadamard: hadamardKernels,
  span: spanKernels,
  vecinfer: vecInferKernels,
  additive: additiveKernels,
};

const others = new Map<OtherFamily, FamilyKernels>();

/** Path to text of all templates of registered families. */
export const otherTemplates = new Map<string, string>();

/**
 * Registers the kernels of a family of another program or package: {@linkcode generateKernels} then
 * accepts its schemes.
 *
 * @param templates Its templates and partials by path, such as `encode_ternary.wgsl.hbs` and
 * `partials/load_ternary.hbs`. A partial is found by its name, so no other may have the same.
 */
export function registerKernels(
  family: OtherFamily,
  kernels: FamilyKernels,
  templates: Readonly<Record<string, string>>,
): void {
  const texts = kind<typeof templates>(
    "an object of texts by path",
    (value) => isA("Object", value) && Object.values(value as object).every(TEXT[1]),
  );
  checkOptions(
    "scheme",
    "Cannot register kernels",
    { family: TEXT, kernels: FUNCTION, templates: texts },
    { family, kernels, templates },
  );
  others.set(family, kernels);
  for (const [path, text] of Object.entries(templates)) otherTemplates.set(path, text);
}

/**
 * The kernels of a scheme at one head dimension.
 *
 * @throws {CoupletError} `scheme` where no family of schemes knows the id, or its family has no
 * kernels.
 */
export function schemeKernels(id: SchemeId, headDim: number): SchemeKernels {
  const scheme = parseScheme(id);
  const { family } = scheme;
  const room = Object.hasOwn(ROOMS, family)
    ? ROOMS[family as SchemeFamily]
    : others.get(family as OtherFamily);
  if (room === undefined) {
    throw new CoupletError("scheme", {
      what: `Cannot generate kernels for ${id}`,
      why: `the family ${family} has none`,
      remedy: "Register what they are made of (registerKernels)",
    });
  }
  const kernels = room(scheme, headDim);
  checkOptions("scheme", `Cannot generate kernels for ${id}`, {
    kernels: having("what SchemeKernels has", "codecs", "keyVariants", "score", "mix"),
  }, { kernels });
  return kernels;
}
