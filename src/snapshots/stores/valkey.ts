/**
 * A store of snapshots in Valkey or Redis, which many machines share. The host brings the client.
 *
 * ```ts ignore
 * import { createClient, RESP_TYPES } from "@redis/client";
 * import { valkeyStore } from "@couplet/kv/stores/valkey";
 *
 * const client = await createClient({ url: "redis://localhost:6379" })
 *   .withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer }).connect();
 * const store = valkeyStore((command) =>
 *   client.sendCommand(command.map((part) => typeof part === "string" ? part : Buffer.from(part)))
 * );
 * ```
 *
 * `docs/snapshots.md` has the same for other clients. It needs Valkey, or Redis 6 or later.
 *
 * @module
 */
import { checkOptions, FUNCTION } from "../../base/check_options.ts";
import { CoupletError } from "../../base/errors.ts";
import {
  asStoreError,
  checkStoreEntry,
  checkStoreKey,
  isStoreKey,
  type SnapshotStore,
} from "../store.ts";
import { VALKEY_FIELDS, type ValkeyStoreOptions } from "./valkey_options.ts";
import { COMMIT, REMOVE, WRITE } from "./valkey_scripts.ts";

export type { SnapshotStore, ValkeyStoreOptions };

/**
 * Sends one command, such as `["GET", "a"]`, and returns the server's reply. Texts may be returned
 * as texts, but values as bytes (`Uint8Array` or `Buffer`).
 */
export type SendCommand = (command: (string | Uint8Array)[]) => Promise<unknown>;

/** Bytes of a chunk. The server does nothing else while it takes or gives one. */
const CHUNK_BYTES = 2 ** 20;

/** Most chunks on their way at a time. */
const TOGETHER = 8;

/** Milliseconds after which an entry that nobody goes on writing is dropped. */
const ABANDONED = 60 * 60 * 1000;

/** Most attempts to read an entry that others keep replacing. */
const ATTEMPTS = 20;

const REMEDY = "Check that the server can be reached and has memory left, and try again";

/**
 * A store in a server.
 *
 * An entry is one hash: an id, the number of bytes, and chunks of 1 MiB. It is written under another
 * name, which expires if the writer crashes, and renamed, so readers see whole entries.
 *
 * @param send Sends a command by the host's client.
 * @throws {CoupletError} `usage` for an invalid option.
 */
export function valkeyStore(send: SendCommand, options: ValkeyStoreOptions = {}): SnapshotStore {
  const invalid = "Cannot use the store";
  checkOptions("usage", invalid, { send: FUNCTION }, { send });
  checkOptions("usage", invalid, VALKEY_FIELDS, options);
  const { prefix = "couplet-snapshots", ttlSeconds } = options;
  // A cluster keeps names with the same text in braces on one server. Renaming needs that.
  const nameOf = (key: string) => `${prefix}:{${key}}`;

  /** Sends a command of several parts. */
  const command = (...parts: (string | Uint8Array)[]) => send(parts);

  /** What fields of an entry hold, and its id. */
  async function fields(key: string, ...names: string[]): Promise<(Uint8Array | undefined)[]> {
    const reply = await command("HMGET", nameOf(key), "id", ...names);
    if (!Array.isArray(reply)) throw new TypeError("the client returns no list for HMGET");
    return reply.map((value) => {
      if (typeof value === "string") {
        throw new TypeError("the client returns values as texts; have it return bytes");
      }
      return value ?? undefined;
    });
  }

  /** An entry that is read once; undefined where it is replaced meanwhile. */
  async function read(
    what: string,
    key: string,
  ): Promise<{ readonly bytes: Uint8Array<ArrayBuffer> | undefined } | undefined> {
    const [id, length, first] = await fields(key, "bytes", "0");
    if (id === undefined && length === undefined && first === undefined) {
      return { bytes: undefined };
    }
    const bytes = Number(text(length));
    if (id === undefined || !Number.isSafeInteger(bytes) || bytes <= 0) throw damaged(what);
    const chunks = Math.ceil(bytes / CHUNK_BYTES);
    const bytesOf = (index: number) => Math.min(CHUNK_BYTES, bytes - index * CHUNK_BYTES);
    if (first?.length !== bytesOf(0)) throw damaged(what);

    /** A chunk, or undefined where it is another entry's by now. */
    const chunk = async (index: number) => {
      const [current, part] = await fields(key, `${index}`);
      if (current === undefined || text(current) !== text(id)) return undefined;
      if (part?.length !== bytesOf(index)) throw damaged(what);
      return part;
    };
    // The last one first: a damaged entry may announce far more than there is.
    const last = chunks === 1 ? first : await chunk(chunks - 1);
    if (last === undefined) return undefined;
    const all = new Uint8Array(bytes);
    all.set(last, (chunks - 1) * CHUNK_BYTES);
    all.set(first);
    for (let start = 1; start < chunks - 1; start += TOGETHER) {
      const indices = range(start, Math.min(start + TOGETHER, chunks - 1));
      const parts = await Promise.all(indices.map(chunk));
      for (const [i, part] of parts.entries()) {
        if (part === undefined) return undefined;
        all.set(part, indices[i]! * CHUNK_BYTES);
      }
    }
    return { bytes: all };
  }

  /** Writes an entry under another name, and renames it. */
  async function write(key: string, content: Uint8Array): Promise<void> {
    const id = crypto.randomUUID();
    const unfinished = `${nameOf(key)}:${id}`;
    const chunks = Math.ceil(content.length / CHUNK_BYTES);
    const part = (index: number) =>
      content.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES);
    const set = (...pairs: (string | Uint8Array)[]) =>
      command("EVAL", WRITE, "1", unfinished, `${ABANDONED}`, ...pairs);
    try {
      await set("id", id, "bytes", `${content.length}`, "0", part(0));
      for (let start = 1; start < chunks; start += TOGETHER) {
        const indices = range(start, Math.min(start + TOGETHER, chunks));
        await Promise.all(indices.map((index) => set(`${index}`, part(index))));
      }
      const milliseconds = ttlSeconds === undefined ? 0 : ttlSeconds * 1000;
      const commit = ["EVAL", COMMIT, "2", unfinished, nameOf(key), `${chunks + 2}`];
      await command(...commit, `${milliseconds}`);
    } catch (cause) {
      await command("UNLINK", unfinished).catch(() => {});
      throw cause;
    }
  }

  return {
    async get(key) {
      checkStoreKey(key);
      const what = `Cannot read the entry ${key}`;
      return await reporting(what, async () => {
        for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
          const found = await read(what, key);
          if (found !== undefined) return found.bytes;
        }
        throw new Error("others keep replacing it");
      });
    },

    async put(key, bytes) {
      checkStoreEntry(key, bytes);
      // Its own copy: the caller's may change while it is sent.
      const content = new Uint8Array(bytes);
      await reporting(`Cannot write the entry ${key}`, () => write(key, content));
    },

    async delete(key) {
      checkStoreKey(key);
      return await reporting(
        `Cannot delete the entry ${key}`,
        async () => Number(await command("EVAL", REMOVE, "1", nameOf(key))) === 1,
      );
    },

    async list() {
      return await reporting("Cannot list the entries", async () => {
        const keys = new Set<string>();
        const [before, after] = [`${prefix}:{`, "}"];
        const match = ["MATCH", `${before}*${after}`, "COUNT", "1000", "TYPE", "hash"];
        let cursor = "0";
        do {
          const [next, names] = await command("SCAN", cursor, ...match) as [unknown, unknown[]];
          for (const name of names.map(text)) {
            const key = name.slice(before.length, -after.length);
            if (isStoreKey(key)) keys.add(key);
          }
          cursor = text(next);
        } while (cursor !== "0");
        return [...keys].sort();
      });
    },

    async has(keys) {
      keys.forEach(checkStoreKey);
      return await reporting("Cannot look for entries", async () => {
        // Without waiting for each other: clients send them together.
        const found = keys.map((key) => command("HEXISTS", nameOf(key), "id"));
        return (await Promise.all(found)).map((one) => Number(one) === 1);
      });
    },
  };
}

async function reporting<T>(what: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (cause) {
    throw asStoreError(what, cause, REMEDY);
  }
}

function range(start: number, end: number): number[] {
  return Array.from({ length: end - start }, (_, i) => start + i);
}

/** A name or a number of the server's, which clients return as text or as bytes. */
function text(value: unknown): string {
  return value instanceof Uint8Array ? new TextDecoder().decode(value) : `${value}`;
}

function damaged(what: string): CoupletError {
  return new CoupletError("store", {
    what,
    why: "it is not whole",
    remedy: "Delete the entry, and store it again",
  });
}
