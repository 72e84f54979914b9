/** Stores that processes share: two write an entry at once while another reads it, and both are killed. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { serveFiles } from "../helpers/file_server.ts";
import { openShared, type SharedStore } from "../helpers/shared_stores.ts";
import { patterned } from "../helpers/store_conformance.ts";
import { findValkey, startValkey } from "../helpers/valkey_server.ts";
import { describeEntry } from "../helpers/written_entries.ts";

const program = await findValkey();

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "couplet-store-" });
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The stores, each at a place of its own. */
const PLACES: Readonly<
  Record<SharedStore, (use: (place: string) => Promise<void>) => Promise<void>>
> = {
  directory: withFolder,
  deno_kv: (use) => withFolder((folder) => use(`${folder}/store.sqlite`)),
  async http(use) {
    const server = serveFiles();
    try {
      await use(`${server.url}/snapshots`);
    } finally {
      await server.close();
    }
  },
  async valkey(use) {
    await using server = await startValkey(program!);
    await use(server.url);
  },
};

/** Starts a process that writes to a store. */
function startWriter(kind: SharedStore, place: string, writer: number): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "tests/helpers/store_writer.ts", kind, place, `${writer}`],
    cwd: fileURLToPath(new URL("../../", import.meta.url)),
    stdout: "piped",
  }).spawn();
}

/** Waits until a process has printed some lines. Its output may be read no more then. */
async function lines(child: Deno.ChildProcess, count: number): Promise<void> {
  let seen = 0;
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  while (seen < count) {
    const { value, done } = await reader.read();
    assert.ok(!done, "the writer has ended");
    seen += value.split("\n").length - 1;
  }
  // Read on, or the writer would wait for a reader.
  (async () => {
    while (!(await reader.read()).done);
  })().catch(() => {});
}

for (const [kind, withPlace] of Object.entries(PLACES) as [SharedStore, typeof withFolder][]) {
  Deno.test({
    name: `an entry of ${kind} is whole while two processes write it and when they are killed` +
      (kind === "valkey" ? " (ignored without valkey-server or redis-server on PATH)" : ""),
    ignore: kind === "valkey" && program === undefined,
    fn: () =>
      withPlace(async (place) => {
        const { store, close } = await openShared(kind, place);
        const writers = [1, 2].map((writer) => startWriter(kind, place, writer));
        try {
          let ready = false;
          const started = Promise.all(writers.map((writer) => lines(writer, 4)))
            .finally(() => ready = true);
          const found = new Set<string>();
          while (!ready) {
            found.add(describeEntry(await store.get("entry")));
            await new Promise((resolve) => setTimeout(resolve));
          }
          await started;
          found.delete("absent");
          for (let i = 0; i < 5; i++) found.add(describeEntry(await store.get("entry")));
          for (const writer of writers) writer.kill("SIGKILL");
          for (const writer of writers) await writer.status;
          found.add(describeEntry(await store.get("entry")));
          assert.deepEqual([...found].filter((one) => !/^whole, of [12]$/.test(one)), []);
          assert.deepEqual(await store.list(), ["entry"]);
          await store.put("entry", patterned(100_000, 1));
          assert.deepEqual(await store.get("entry"), patterned(100_000, 1));
        } finally {
          for (const writer of writers) {
            try {
              writer.kill("SIGKILL");
            } catch {
              // It has ended.
            }
            await writer.status;
          }
          close();
        }
      }),
  });
}
