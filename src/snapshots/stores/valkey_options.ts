/** Options of the store in Valkey, and what each may be. */
import { type Fields, kind, whole } from "../../base/check_options.ts";

/** Where entries lie, and how long. */
export interface ValkeyStoreOptions {
  /** What all names of the store begin with. Defaults to `couplet-snapshots`. */
  readonly prefix?: string;
  /** Seconds after which an entry is dropped. Defaults to keeping it. */
  readonly ttlSeconds?: number;
}

/** What each option may be. */
export const VALKEY_FIELDS: Fields<ValkeyStoreOptions> = {
  "prefix?": kind(
    "1 to 128 letters, digits, '.', ':', '_' and '-'",
    (value) => typeof value === "string" && /^[a-zA-Z0-9.:_-]{1,128}$/.test(value),
  ),
  "ttlSeconds?": whole(1),
};
