/** A Valkey or Redis server, where the machine has one, and the stores in it. */
import { createClient, RESP_TYPES } from "@redis/client";
import { stat } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { type SendCommand, valkeyStore } from "../../src/snapshots/stores/valkey.ts";
import type { SnapshotStore } from "../../src/snapshots/store.ts";

const NAMES = ["valkey-server", "redis-server"];

/** The path of a server's program, or undefined where none is on PATH. */
export async function findValkey(): Promise<string | undefined> {
  for (const name of NAMES) {
    for (const folder of (Deno.env.get("PATH") ?? "").split(delimiter)) {
      const path = join(folder, name);
      if (await stat(path).then((info) => info.isFile(), () => false)) return path;
    }
  }
  return undefined;
}

/** A server that runs. */
export interface ValkeyServer extends AsyncDisposable {
  /** Its address. */
  readonly url: string;
}

/** Starts a server of its own, which keeps nothing on the disk. */
export async function startValkey(program: string): Promise<ValkeyServer> {
  // Another process may take the port before the server does.
  for (let attempt = 1;; attempt++) {
    const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
    const { port } = listener.addr;
    listener.close();
    const child = new Deno.Command(program, {
      args: ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"],
      stdout: "piped",
      stderr: "null",
    }).spawn();
    let said = "";
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    let part = await reader.read();
    while (!part.done && !(said += part.value).includes("eady to accept connections")) {
      part = await reader.read();
    }
    if (!part.done) {
      const drained = (async () => {
        while (!(await reader.read()).done);
      })();
      return {
        url: `redis://127.0.0.1:${port}`,
        async [Symbol.asyncDispose]() {
          child.kill("SIGKILL");
          await Promise.all([child.status, drained]);
        },
      };
    }
    await child.status;
    if (attempt === 5) throw new Error(`${program} does not start:\n${said}`);
  }
}

/** A client of a server. */
export interface ValkeyConnection extends Disposable {
  /** Sends a command. */
  readonly send: SendCommand;
  /** A store in the server. */
  store(options?: Parameters<typeof valkeyStore>[1]): SnapshotStore;
}

/** Connects a client to a server, as docs/snapshots.md does. */
export async function connectValkey(url: string): Promise<ValkeyConnection> {
  const client = createClient({ url, socket: { reconnectStrategy: false } })
    .withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  // Commands fail by themselves where the connection does.
  client.on("error", () => {});
  await client.connect();
  const send: SendCommand = (command) =>
    client.sendCommand(
      command.map((part) => typeof part === "string" ? part : Buffer.from(part)),
    );
  return {
    send,
    store: (options) => valkeyStore(send, options),
    [Symbol.dispose]: () => client.destroy(),
  };
}
