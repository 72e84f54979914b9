import { CoupletError, type SpanPolicy } from "@couplet/kv";
import { LITERAL_CODECS, type LiteralCodec } from "./literal_codecs.ts";
import { parseSpanSchemes, type SpanSchemes } from "./span_schemes.ts";

/** What a method does to a video. */
export type Treatment =
  /** All tokens in one span, or those most like the questions in the first of two. */
  | { readonly kind: "span"; readonly schemes: readonly SpanSchemes[]; readonly remap: number }
  /** Codecs without kernels, on the CPU. */
  | { readonly kind: "literal"; readonly codec: LiteralCodec }
  /** Questions alone. */
  | { readonly kind: "hidden" };

/** One way of holding a video: what a row of the evaluation is about. */
export interface VisionMethod {
  readonly name: string;
  readonly treatment: Treatment;
}

/** The least that a method can come to. */
export const HIDDEN: VisionMethod = { name: "no video", treatment: { kind: "hidden" } };

/** Other methods to the letter. */
export const LITERALS: readonly VisionMethod[] = LITERAL_CODECS.map((codec) => ({
  name: codec.name,
  treatment: { kind: "literal", codec },
}));

/**
 * The methods of a list: schemes of spans, or two of these with a plus between: the first for the tokens
 * that are protected, the second for the others.
 *
 * @param remaps Ranges to take off the scores of a span; 0 for none.
 * @throws {CoupletError} `scheme` where a scheme is unknown, `usage` where the list has another form.
 */
export function parseVisionMethods(list: string, remaps: readonly number[]): VisionMethod[] {
  return list.split(",").flatMap((item) => {
    const schemes = item.split("+").map(parseSpanSchemes);
    if (schemes.length > 2) {
      throw new CoupletError("usage", {
        what: `Cannot read the method "${item.trim()}"`,
        why: `it has ${schemes.length} pairs of schemes`,
        remedy: 'Write one, or two for protected and other tokens, such as "kc2+sc1"',
      });
    }
    return remaps.map((remap): VisionMethod => ({
      name: schemes.map(({ id }) => id).join("+") + (remap > 0 ? ` remap ${remap}` : ""),
      treatment: { kind: "span", schemes, remap },
    }));
  });
}

/** The spans of a plan that a method uses, by name, each with room for a video. */
export function methodSpans(
  { treatment }: VisionMethod,
  index: number,
  tokens: number,
): Readonly<Record<string, SpanPolicy>> {
  if (treatment.kind !== "span") return {};
  const { schemes, remap } = treatment;
  return Object.fromEntries(schemes.map(({ id: _id, ...policy }, part) => [
    spanName(index, part),
    { ...policy, tokens, count: 1, ...(remap > 0 ? { remap: { tau: remap } } : {}) },
  ]));
}

/** What a method's span is called in the plan. */
export function spanName(method: number, part: number): string {
  return `method_${method}_part_${part}`;
}
