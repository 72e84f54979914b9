/** Numbers of a cache's spans. */
import type { PageStats } from "./page_pool.ts";

/** The spans of a kind that a cache holds, in numbers. */
export interface SpanStats {
  /** The kind. */
  readonly name: string;
  /** Living spans. */
  readonly count: number;
  /** Their tokens. */
  readonly tokens: number;
  /** Their pages. */
  readonly pages: PageStats;
}
