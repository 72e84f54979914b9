/** Kinds of spans on the command line. */
import { InvalidArgumentError } from "commander";
import { spanKinds } from "../src/cache/span_kinds.ts";
import type { SpanKinds } from "../src/plan/options.ts";
import type { SpanPolicies } from "../src/plan/span_policies.ts";
import { schemeArgument } from "./schemes.ts";

/** A kind of span: its name, schemes, tokens of one, and how many. */
const SPAN =
  /^(?<name>[a-z][a-z0-9_]*)=(?<keys>[a-z0-9]+)(?:\/(?<values>[a-z0-9]+))?:(?<tokens>[1-9]\d*)(?:x(?<count>[1-9]\d*))?$/;

/** Adds a kind of span to those before, as commander's parser of a repeatable option. */
export function parseSpan(text: string, before: SpanPolicies): SpanPolicies {
  const found = SPAN.exec(text)?.groups;
  if (found === undefined) {
    throw new InvalidArgumentError("Give a kind of span such as image=sc1:576x4.");
  }
  const { name, keys, values = keys, tokens, count = "1" } = found;
  const policy = {
    keys: schemeArgument(keys!),
    values: schemeArgument(values!),
    tokens: Number(tokens) * Number(count),
    count: Number(count),
  };
  return { ...before, [name!]: policy };
}

/** Kinds of spans, or undefined where there are none. */
export function readSpans(policies: SpanPolicies): SpanKinds | undefined {
  return Object.keys(policies).length === 0 ? undefined : spanKinds(policies);
}

/** The same kinds, uncompressed. */
export function f16Spans(policies: SpanPolicies): SpanKinds | undefined {
  return readSpans(
    Object.fromEntries(
      Object.entries(policies)
        .map(([name, policy]) => [name, { ...policy, keys: "f16", values: "f16" }]),
    ),
  );
}
