/** Finds the scheme of an id, in its family. */
import {
  checkOptions,
  FLAG,
  FUNCTION,
  having,
  kind,
  oneOf,
  POSITIVE,
  TEXT,
  whole,
} from "../base/check_options.ts";
import { describeValue } from "../base/describe_value.ts";
import { CoupletError } from "../base/errors.ts";
import { additive } from "./additive.ts";
import { coupled } from "./coupled.ts";
import { ggml } from "./ggml.ts";
import { half } from "./half.ts";
import { kivi } from "./kivi.ts";
import { lattice } from "./lattice.ts";
import { promoted } from "./promoted.ts";
import { ternary } from "./ternary.ts";
import { span } from "./span.ts";
import { turboQuant } from "./turbo_quant.ts";
import { vecInfer } from "./vecinfer.ts";
import type {
  CodebookSpec,
  OtherFamily,
  OtherScheme,
  OwnScheme,
  Scheme,
  SchemeId,
} from "./scheme.ts";

/** Each family of schemes parses the ids it knows. */
const families: readonly ((id: SchemeId) => OwnScheme | undefined)[] = [
  half,
  coupled,
  lattice,
  turboQuant,
  kivi,
  promoted,
  ternary,
  ggml,
  span,
  vecInfer,
  additive,
];

const parsed = new Map<string, Scheme>();

/** The scheme an id names, registered or of this package; undefined if there is none. */
function findScheme(id: string): Scheme | undefined {
  let scheme = parsed.get(id);
  // A family returns a scheme for its own ids alone.
  for (const family of families) scheme ??= family(id as SchemeId);
  return scheme;
}

/**
 * The scheme an id names.
 *
 * @param id Any text.
 * @throws {CoupletError} `scheme` where no family of schemes knows the id.
 */
export function parseScheme(id: string): Scheme {
  let scheme = parsed.get(id);
  if (scheme === undefined) {
    if (TEXT[1](id)) scheme = findScheme(id);
    if (scheme === undefined) {
      throw new CoupletError("scheme", {
        what: `Cannot use the scheme ${describeValue(id)}`,
        why: "no scheme has an id of that form",
        remedy:
          'Use "f16", "u8b8", "u4b8", one such as "c4b8" (1, 2, 4, 8 or 16 channels, 1 to 12 bits), or another of docs/formats.md',
      });
    }
    parsed.set(id, scheme);
  }
  return scheme;
}

/** Blocks that a page divides into. */
const BLOCKS: readonly unknown[] = [1, 2, 4, 8, 16, 32, 64];

/**
 * Registers a scheme of another program or package: {@linkcode parseScheme} then returns it, and
 * caches can be planned with it. Register its codec with {@linkcode registerCodec}, and its kernels
 * with `registerKernels()` of `@couplet/kv/generate`. See docs/adding_a_scheme.md.
 *
 * @returns The same object. Its id is one that policies accept.
 * @throws {CoupletError} `scheme` where it is not a scheme, its id has other characters than
 * lower-case letters and digits, the name of its family has no slash, or another scheme has its id.
 */
export function registerScheme(scheme: OtherScheme): Scheme {
  const what = "Cannot register a scheme";
  checkOptions("scheme", what, {
    scheme: {
      id: kind<string>(
        "lower-case letters and digits",
        (id) => TEXT[1](id) && /^[a-z][a-z0-9]*$/.test(id),
      ),
      family: kind<OtherFamily>(
        "a name of two parts, owner/family",
        (name) => TEXT[1](name) && /^[^/]+\/[^/]+$/.test(name),
      ),
      channels: whole(1, 256),
      codeBits: whole(1, 32),
      block: kind<number>("1, 2, 4, 8, 16, 32 or 64 tokens", (tokens) => BLOCKS.includes(tokens)),
      bits: POSITIVE,
      centroids: whole(0),
      codebook: oneOf("learned", "universal", "none"),
      "codebookSpec?": having<CodebookSpec>(
        "{ sharedBy, words }",
        "sharedBy",
        "words",
      ),
      positional: FLAG,
      "keyOffsets?": FUNCTION,
      lossless: FLAG,
      "forSpans?": FLAG,
      layout: FUNCTION,
      work: FUNCTION,
    },
  }, { scheme });
  const own = scheme as Scheme;
  const known = findScheme(own.id);
  if (known !== undefined && known !== own) {
    throw new CoupletError("scheme", {
      what,
      why: `there is a scheme "${own.id}" of the family ${known.family}`,
      remedy: "Choose another id",
    });
  }
  parsed.set(own.id, own);
  return own;
}
