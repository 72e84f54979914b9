/** Options of the store behind HTTP, and what each may be. */
import { type Fields, FUNCTION, having, kind } from "../../base/check_options.ts";
import type { SnapshotStore } from "../store.ts";

/** How a server is spoken to. */
export interface HttpStoreOptions {
  /** Headers of every request, such as `authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Sends requests, for example to sign them or to limit their time. Defaults to `fetch`. */
  readonly fetch?: (url: URL, init: RequestInit) => Promise<Response>;
  /**
   * Keeps copies of what was read, with their ETags: what has not changed is not sent again. A store
   * of its own, of this machine's. Defaults to none.
   */
  readonly copies?: SnapshotStore;
}

/** What each option may be. */
export const HTTP_FIELDS: Fields<HttpStoreOptions> = {
  "headers?": kind(
    "an object of texts",
    (value) =>
      Object(value) === value &&
      Object.values(value as object).every((text) => typeof text === "string"),
  ),
  "fetch?": FUNCTION,
  "copies?": having("a store of snapshots", "get", "put", "delete"),
};
