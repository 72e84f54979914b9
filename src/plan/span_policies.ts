/** What the user of a cache says of spans. */
import type { Policy } from "../schemes/policy.ts";

/** How the spans of one kind are coded, and how many fit. */
export interface SpanPolicy extends Policy {
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
