/** Kinds of spans, with the code that plans and caches need for them. */
import { compileSpanLayer } from "./compiled_span.ts";
import { PageRows } from "./page_rows.ts";
import { checkSpanPolicies, planSpans, resolveSpans } from "../plan/plan_spans.ts";
import type { SpanKinds } from "../plan/options.ts";
import type { SpanPolicies } from "../plan/span_policies.ts";
import { registerPlanner } from "../plan/spans.ts";
import { createSpanBuffers } from "./span_buffers.ts";
import { SpanLayer } from "./span_layer.ts";
import { SpanRoom } from "./span_room.ts";
import { SpanStore } from "./span_store.ts";
import { registerSpans, type SpanSupport } from "./spans.ts";

const SUPPORT: SpanSupport = {
  compile: (device, { spans }) =>
    Promise.all(
      spans.map((span) =>
        Promise.all(span.layers.map((_, layer) => compileSpanLayer(device, span, layer)))
      ),
    ),

  allocate: (device, { spans }, codebooks, { spanExact }) =>
    spans.map((span, kind) => createSpanBuffers(device, span, codebooks[kind]!, spanExact!)),

  create: (device, { spans }, compiled, buffers, shared, pageTable, parameters) =>
    new SpanStore(spans.map((span, kind) => {
      const { options } = span;
      const { pages, layers } = buffers[kind]!;
      const own = { ...shared, pages };
      return new SpanRoom(
        span,
        compiled[kind]!.map((kernels, layer) =>
          new SpanLayer(device, options, layer, kernels, layers[layer]!, own)
        ),
        parameters,
        new PageRows(device, options, pageTable, pages, parameters),
      );
    })),
};

/**
 * Kinds of spans for a cache: tokens of images, videos or documents whose keys and values are
 * complete when they are handed over ({@linkcode Cache.addSpan}). They are coded at once, by
 * schemes of their own, and seen whole by every later query. Programs without spans leave their
 * code out.
 *
 * ```ts
 * import { spanKinds } from "@couplet/kv";
 *
 * const spans = spanKinds({ image: { keys: "sc1", values: "sc1", tokens: 2304, count: 4 } });
 * ```
 *
 * @param policies By name: lower-case letters, digits and underscores, a letter first.
 * @throws {CoupletError} `shape` for a name or a value that cannot be.
 */
export function spanKinds(policies: SpanPolicies): SpanKinds {
  checkSpanPolicies(policies);
  // A copy, because the host may change its own.
  const own = structuredClone(policies);
  const kinds: SpanKinds = {
    policies: own,
    resolve: (options) => resolveSpans(own, options),
  };
  registerPlanner(kinds, planSpans);
  registerSpans(kinds, SUPPORT);
  return kinds;
}
