/**
 * Kinds of spans. A span is a run of tokens whose keys and values are complete when they are handed
 * over: an image, a video, a document. Its tokens are coded at once, by schemes of their own, and
 * every later query sees all of them. In a plan, a kind of span has options of its own, as if its
 * spans were the sequences of another cache, without sinks or a window.
 */
import { type Fields, kind, POSITIVE, whole } from "../base/check_options.ts";
import { CoupletError } from "../base/errors.ts";
import { PAGE_TOKENS } from "../kernels/constants.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import { LAYER_FIELDS, type LayerPolicy } from "../schemes/policy.ts";
import type { KeyOptions } from "../model/model.ts";

/** How the spans of one kind are coded, and how many fit. */
export interface SpanPolicy extends LayerPolicy {
  /** Most tokens of all its spans together, and of one. */
  readonly tokens: number;
  /** Most living spans. Spans that forks share count once. */
  readonly count: number;
  /**
   * Narrows the range of each query's scores over a span by `tau`: a score `a` becomes `m + (a - m)
   * * max(0, 1 - tau / (M - m))`, where `m` and `M` are the least and the greatest of them
   * (CalibQuant, arXiv 2502.14882, with a factor that is never negative). Only for keys of up to 2
   * bits. Defaults to none.
   */
  readonly remap?: { readonly tau: number };
}

/** Kinds of spans by name: lower-case letters, digits and underscores, a letter first. */
export type SpanPolicies = Readonly<Record<string, SpanPolicy>>;

/** What a kind of span may be. */
const SPAN_FIELDS: Fields<SpanPolicy> = {
  ...LAYER_FIELDS,
  tokens: whole(1),
  count: whole(1),
  "remap?": { tau: POSITIVE },
};

/** What kinds of spans may be. */
export function spansFields(value: unknown): Fields<Record<string, SpanPolicy>> {
  return Object.fromEntries(
    Object.keys(Object(value)).map((name) => [
      name,
      /^[a-z][a-z0-9_]*$/.test(name) ? SPAN_FIELDS : kind(
        `a name of lower-case letters, digits and underscores for spans.${name}`,
        () => false,
      ),
    ]),
  ) as Fields<Record<string, SpanPolicy>>;
}

/** What is particular to a kind of span. */
export interface SpanKind {
  /** Its name. */
  readonly name: string;
  /** What ranges of scores are narrowed by; 0 for nothing. */
  readonly remap: number;
}

/** The options that a kind of span depends on. */
interface Spanned {
  readonly shape: { readonly headDim: number };
  readonly keys: KeyOptions;
  readonly layers: readonly (LayerPolicy & { readonly slidingWindow: number })[];
  readonly capacity: object;
}

function fail(why: string, remedy: string): never {
  throw new CoupletError("shape", { what: "Cannot plan a cache with spans", why, remedy });
}

/**
 * The options of each kind of span.
 *
 * @param options The cache's own.
 * @throws {CoupletError} `shape` where keys reach the cache before their rotary embedding, a layer
 * has a sliding window, or scores are narrowed of keys of more than 2 bits.
 */
export function resolveSpans<Options extends Spanned>(
  spans: SpanPolicies,
  options: Options,
) {
  return Object.entries(spans).map(([name, { keys, values, tokens, count, remap }]) => {
    if (options.keys.space !== "as-scored") {
      fail(
        "a span's tokens have no positions in the cache, so their keys cannot be rotated in it",
        'Hand keys over as they are scored ({ space: "as-scored" })',
      );
    }
    if (options.layers.some(({ slidingWindow }) => slidingWindow > 0)) {
      fail(
        "every later query sees a whole span, and layers have a sliding window",
        "Append the tokens to the sequence instead",
      );
    }
    for (const id of [keys, values]) parseScheme(id).layout(options.shape.headDim);
    const { bits } = parseScheme(keys);
    if (remap !== undefined && bits > 2) {
      fail(
        `the spans "${name}" narrow scores of ${keys}, which has ${bits} bits`,
        "Leave remap out, or use keys of 1 or 2 bits",
      );
    }
    const span: SpanKind = { name, remap: remap?.tau ?? 0 };
    return {
      ...options,
      spans: [],
      span,
      layers: options.layers.map((layer) => ({ ...layer, keys, values, pageTable: 0 })),
      pageTables: [{ slidingWindow: 0 }],
      block: 1,
      tiers: { sinks: 0, window: 0 },
      capacity: {
        ...options.capacity,
        sequences: count,
        tokens,
        sequenceTokens: tokens,
        // All exact vectors of a span are there at once, and others up to the end of a page.
        appendTokens: Math.ceil(tokens / PAGE_TOKENS) * PAGE_TOKENS,
      },
    };
  });
}
