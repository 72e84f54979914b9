import { parseScheme, type SchemeId } from "@couplet/kv";
import type { MethodFigures } from "./results.ts";

/** What tells a method from the others of its evaluation, in few words: what all share is left out. */
export function methodLabels(methods: readonly MethodFigures[]): readonly string[] {
  const varies = (of: (method: MethodFigures) => unknown) => new Set(methods.map(of)).size > 1;
  const parts: ((method: MethodFigures) => string)[] = [({ name }) => name];
  if (varies(({ weights }) => weights)) parts.push(({ weights }) => weights);
  if (varies(({ keySpace }) => keySpace)) parts.push(({ keySpace }) => keySpace);
  if (varies(tiersLabel)) parts.push(tiersLabel);
  return methods.map((method) => parts.map((part) => part(method)).join(", "));
}

/** A method's exact tiers, such as `window 64, sinks 4`. */
export function tiersLabel(
  { window, sinks, allCoded }: Pick<MethodFigures, "window" | "sinks" | "allCoded">,
): string {
  if (allCoded) return "every token coded";
  return window + sinks === 0 ? "codes alone" : `window ${window}, sinks ${sinks}`;
}

/**
 * What a curve of quality against bits is drawn for: schemes that couple as many channels in the same way,
 * at any number of bits; policies that differ by layer by their names.
 */
export function methodFamily({ name, policy }: MethodFigures): string {
  if (policy.layers !== undefined) return name;
  const [keys, values] = [schemeFamily(policy.keys), schemeFamily(policy.values)];
  return keys === values ? keys : `${keys}/${values}`;
}

/** The letters that a scheme's id begins with, and the channels that share a code where they share a codebook. */
function schemeFamily(id: SchemeId): string {
  const { channels, centroids } = parseScheme(id);
  return `${/^\D+/.exec(id)?.[0] ?? id}${centroids > 0 ? channels : ""}`;
}
