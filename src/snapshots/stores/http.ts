/**
 * A store of snapshots behind HTTP: a server of files, or object storage. Any server of files can be
 * read from.
 *
 * ```ts
 * import { httpStore } from "@couplet/kv/stores/http";
 *
 * const store = httpStore("https://files.example/snapshots");
 * ```
 *
 * An entry is the file `<key>.safetensors` at that address, so what a `directoryStore` writes can be
 * served as it is.
 *
 * @module
 */
import { checkOptions, type Kind, kind } from "../../base/check_options.ts";
import { CoupletError } from "../../base/errors.ts";
import {
  checkStoreEntry,
  checkStoreKey,
  isStoreKey,
  type SnapshotStore,
  storeError,
} from "../store.ts";
import { readCopy, writeCopy } from "./http_copies.ts";
import { download } from "./http_download.ts";
import { HTTP_FIELDS, type HttpStoreOptions } from "./http_options.ts";
import { checkIsFile, type Exchange, isNotThere, refusal } from "./http_exchange.ts";

export type { HttpStoreOptions, SnapshotStore };

const ADDRESS: Kind<string | URL> = kind(
  "an address that begins with http: or https:",
  (value) => /^https?:$/.test(URL.parse(`${value}`)?.protocol ?? ""),
);

/** The suffix of entries' files. */
const SUFFIX = ".safetensors";

/** Most requests of one call at a time. */
const TOGETHER = 8;

/**
 * A store at an address.
 *
 * `get` sends GET. A transfer that is cut goes on where it was, by a range that the server gives only
 * if the entry is the same by its strong ETag; otherwise it begins again. `put` sends PUT, and
 * relies on the server to replace a file whole. `delete` sends HEAD and DELETE, and `has` sends
 * HEAD. `list` sends GET for the address itself, and reads a list of names, or of objects with a
 * `name`, in JSON.
 *
 * @param address Of the folder. Its query, if any, is part of every request.
 * @throws {CoupletError} `usage` for an invalid address or option.
 */
export function httpStore(address: string | URL, options: HttpStoreOptions = {}): SnapshotStore {
  const invalid = "Cannot use the store";
  checkOptions("usage", invalid, { address: ADDRESS }, { address });
  checkOptions("usage", invalid, HTTP_FIELDS, options);
  const { copies } = options;

  function urlOf(name: string): URL {
    const url = new URL(address);
    url.pathname = `${url.pathname.replace(/\/$/, "")}/${name}`;
    return url;
  }

  function exchange(what: string, name: string): Exchange {
    const url = urlOf(name);
    // As a method of nothing: browsers refuse to be called as one of the options.
    const send = options.fetch ?? ((url: URL, init: RequestInit) => fetch(url, init));
    return {
      what,
      url,
      async send(method, headers = {}, body) {
        const init: RequestInit = {
          method,
          headers: { "accept-encoding": "identity", ...options.headers, ...headers },
          // A browser's cache may answer only after it asked.
          cache: "no-cache",
          ...(body === undefined ? {} : { body }),
        };
        try {
          return await send(url, init);
        } catch (cause) {
          throw storeError(
            what,
            cause,
            `Check that ${url.origin} can be reached and, from a page, that it allows the page's requests (CORS)`,
          );
        }
      },
    };
  }

  async function isThere(what: string, key: string): Promise<boolean> {
    const to = exchange(what, key + SUFFIX);
    const response = await to.send("HEAD");
    if (isNotThere(response)) return false;
    if (!response.ok) throw await refusal(to, response);
    await checkIsFile(to, response);
    return true;
  }

  return {
    async get(key) {
      checkStoreKey(key);
      const to = exchange(`Cannot read the entry ${key}`, key + SUFFIX);
      const copy = await readCopy(copies, key);
      const first = await to.send("GET", copy === undefined ? {} : { "if-none-match": copy.etag });
      if (copy !== undefined && first.status === 304) return copy.bytes;
      const found = await download(to, first);
      if (copies !== undefined) await writeCopy(copies, key, found);
      return found?.bytes;
    },

    async put(key, bytes) {
      checkStoreEntry(key, bytes);
      const to = exchange(`Cannot write the entry ${key}`, key + SUFFIX);
      // Its own copy: the caller's may change while it is sent.
      const content = new Uint8Array(bytes);
      const type = { "content-type": "application/octet-stream" };
      const response = await to.send("PUT", type, content);
      if (!response.ok) throw await refusal(to, response);
      await response.body?.cancel();
    },

    async delete(key) {
      checkStoreKey(key);
      const what = `Cannot delete the entry ${key}`;
      await copies?.delete(key);
      // Object storage says of every DELETE that it succeeded.
      if (!await isThere(what, key)) return false;
      const to = exchange(what, key + SUFFIX);
      const response = await to.send("DELETE");
      if (isNotThere(response)) return false;
      if (!response.ok) throw await refusal(to, response);
      await response.body?.cancel();
      return true;
    },

    async list() {
      const to = exchange("Cannot list the entries", "");
      const response = await to.send("GET", { accept: "application/json" });
      if (!response.ok) throw await refusal(to, response);
      return namesIn(to, await response.text())
        .filter((name) => name.endsWith(SUFFIX))
        .map((name) => name.slice(0, -SUFFIX.length)).filter(isStoreKey).sort();
    },

    async has(keys) {
      keys.forEach(checkStoreKey);
      const found: boolean[] = [];
      for (let first = 0; first < keys.length; first += TOGETHER) {
        const some = keys.slice(first, first + TOGETHER);
        const what = "Cannot look for entries";
        found.push(...await Promise.all(some.map((key) => isThere(what, key))));
      }
      return found;
    },
  };
}

/** The names in a list of JSON. */
function namesIn({ what, url }: Exchange, json: string): string[] {
  try {
    const list: unknown = JSON.parse(json);
    return (list as unknown[]).map((one) => {
      const name = typeof one === "string" ? one : (one as { name?: unknown }).name;
      if (typeof name !== "string") throw new TypeError("an element of its list has no name");
      return name;
    });
  } catch (cause) {
    throw new CoupletError("store", {
      what,
      why: `${url.origin} does not answer with a list of names in JSON`,
      remedy:
        "Have the server list the folder in JSON, or give the store a list(): { ...httpStore(address), list }",
    }, { cause });
  }
}
