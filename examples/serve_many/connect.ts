import { createClient, RESP_TYPES } from "@redis/client";
import { CoupletError, type SnapshotStore } from "@couplet/kv";
import { type SendCommand, valkeyStore } from "@couplet/kv/stores/valkey";

/** Seconds for which prefixes are kept. */
const TTL_SECONDS = 3600;

/** A store in a server, and what goes through it. */
export interface Connection {
  readonly store: SnapshotStore;
  /** Bytes sent and received since the last call. */
  moved(): { readonly sent: number; readonly received: number };
  close(): void;
}

/**
 * Connects to a Valkey or Redis server.
 *
 * @param name What names in the server begin with.
 * @throws {CoupletError} `store` where it cannot be reached.
 */
export async function connect(url: string, name: string): Promise<Connection> {
  const client = createClient({ url, socket: { reconnectStrategy: false } })
    .withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  // Commands fail by themselves where the connection does.
  client.on("error", () => {});
  try {
    await client.connect();
  } catch (cause) {
    throw new CoupletError("store", {
      what: `Cannot connect to ${url}`,
      why: (cause as Error).message || "it does not answer",
      remedy: "Start valkey-server or redis-server, or say where one runs (--server)",
    }, { cause });
  }
  let moved = { sent: 0, received: 0 };
  const send: SendCommand = async (command) => {
    const parts = command.map((part) => typeof part === "string" ? part : Buffer.from(part));
    const reply = await client.sendCommand(parts);
    moved.sent += bytesOf(parts);
    moved.received += bytesOf(reply);
    return reply;
  };
  return {
    store: valkeyStore(send, { prefix: name, ttlSeconds: TTL_SECONDS }),
    moved() {
      const before = moved;
      moved = { sent: 0, received: 0 };
      return before;
    },
    close: () => client.destroy(),
  };
}

/** Bytes of a command or a reply, without what the protocol adds. */
function bytesOf(value: unknown): number {
  if (Array.isArray(value)) return value.reduce((sum, part) => sum + bytesOf(part), 0);
  return typeof value === "string" || value instanceof Uint8Array ? value.length : 0;
}
