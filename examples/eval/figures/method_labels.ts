import { parseScheme, type SchemeId } from "@couplet/kv";
import { pairName } from "../../../cli/scheme_pair.ts";
import type { MethodFigures } from "./results.ts";

/** What methods may differ in besides their schemes. */
const PARTS: Readonly<Record<string, (method: MethodFigures) => string>> = {
  weights: ({ weights }) => weights,
  keys: ({ keySpace }) => keySpace,
  tiers: tiersLabel,
};

/** Whether methods differ in a part. */
function varies(methods: readonly MethodFigures[], part: (method: MethodFigures) => string) {
  return new Set(methods.map(part)).size > 1;
}

/** What tells a method from the others of its evaluation, in few words: what all share is left out. */
export function methodLabels(methods: readonly MethodFigures[]): readonly string[] {
  const parts = [
    ({ name }: MethodFigures) => name,
    ...Object.values(PARTS).filter((part) => varies(methods, part)),
  ];
  return methods.map((method) => parts.map((part) => part(method)).join(", "));
}

/** What all methods share of that, by its name. */
export function sharedLabel([first, ...others]: readonly MethodFigures[]): string {
  if (first === undefined) return "";
  return Object.entries(PARTS).filter(([, part]) => !varies([first, ...others], part))
    .map(([name, part]) => `${name}: ${part(first)}`).join("; ");
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
  return pairName({ keys: schemeFamily(policy.keys), values: schemeFamily(policy.values) });
}

/** The letters that a scheme's id begins with, and the channels that share a code where they share a codebook. */
function schemeFamily(id: SchemeId): string {
  const { channels, centroids } = parseScheme(id);
  return `${/^\D+/.exec(id)?.[0] ?? id}${centroids > 0 ? channels : ""}`;
}
