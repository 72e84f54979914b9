/** What the page and its worker say to each other. */
import type { ErrorParts } from "@couplet/kv";
import type { PlaygroundDocument, Settings } from "./document.ts";

/** What the page asks for. */
export type Command =
  /** Comes first: loads everything, and a document, or the one that was kept. */
  | { readonly kind: "open"; readonly document?: PlaygroundDocument }
  /** Writes until it is told to pause, anew if the prompt is another. */
  | { readonly kind: "run"; readonly promptText: string }
  /** Writes one token, anew if the prompt is another. */
  | { readonly kind: "step"; readonly promptText: string }
  | { readonly kind: "pause" }
  /** Leaves the prompt and what was written of it. */
  | { readonly kind: "clear" }
  | { readonly kind: "change"; readonly settings: Settings }
  | { readonly kind: "keep" }
  /** Deletes what was kept. */
  | { readonly kind: "forget" };

/** What the worker tells. */
export type Message =
  | { readonly kind: "loading"; readonly what: string; readonly fraction?: number }
  | { readonly kind: "state"; readonly state: SessionState }
  /** A command was refused; all is as before. */
  | { readonly kind: "refused"; readonly parts: ErrorParts }
  /** Nothing works here. */
  | { readonly kind: "failed"; readonly code?: string; readonly parts: ErrorParts }
  /** The device is gone; another worker can go on. */
  | { readonly kind: "lost"; readonly parts: ErrorParts };

/** Bytes of a cache. */
export interface CacheMemory {
  readonly parts: Readonly<
    Record<"codes" | "exact" | "codebooks" | "tables" | "scratch" | "free", number>
  >;
  /** What holds something between steps. */
  readonly used: number;
  /** All of the parts. */
  readonly allocated: number;
  /** The same cache for a longer text: bytes between steps. */
  readonly long: { readonly tokens: number; readonly bytes: number };
}

/** One of the two caches, and what was written with it. */
export interface Side {
  readonly memory: CacheMemory;
  /** Tokens that it holds, and of those the ones held as codes. */
  readonly tokens: { readonly all: number; readonly coded: number };
  /** Text of each token written. */
  readonly pieces: readonly string[];
  readonly tokensPerSecond?: number;
}

/** Whether the document is kept in the browser. */
export type Kept =
  | { readonly state: "nothing" }
  | { readonly state: "kept"; readonly tokens: number }
  | { readonly state: "failed"; readonly parts: ErrorParts };

/** Everything the page shows. */
export interface SessionState {
  readonly adapter: string;
  readonly document: PlaygroundDocument;
  readonly half: Side;
  readonly coded: Side;
  readonly running: boolean;
  /** What just happened, in a sentence. */
  readonly status: string;
  readonly kept: Kept;
  /** Tokens that the model was made for. */
  readonly mostTokens: number;
  /** Schemes that can be chosen. */
  readonly schemes: readonly string[];
  readonly learned: { readonly source: string; readonly tokens: number };
}
