/** What the page and its worker say to each other. */
import type { CoupletErrorCode, ErrorParts } from "../../../../mod.ts";
import type { RunResult } from "./run_result.ts";

/** What the page asks for. */
export interface RunRequest {
  /** The kernel. */
  readonly name: string;
  /** Tokens of the sequence that is timed. */
  readonly tokens: number;
  /** Of the random numbers. */
  readonly seed: number;
}

/** What the worker tells. */
export type RunMessage =
  | { readonly kind: "progress"; readonly text: string }
  | { readonly kind: "result"; readonly adapter: string; readonly result: RunResult }
  | { readonly kind: "error"; readonly error: RunError };

/** An error on its way out of the worker. */
export interface RunError {
  /** Absent where the library did not throw it. */
  readonly code?: CoupletErrorCode;
  readonly parts: ErrorParts;
}
