/** A store in a real server, where one is on PATH: valkey-server or redis-server of Debian. */
import assert from "node:assert/strict";
import { Redis } from "ioredis";
import { CoupletError } from "../../mod.ts";
import { type SendCommand, valkeyStore } from "../../src/snapshots/stores/valkey.ts";
import { encryptedStore } from "../../src/snapshots/stores/encrypted.ts";
import { rejects } from "../helpers/refusals.ts";
import { checkBytes, patterned, STORE_CRITERIA } from "../helpers/store_conformance.ts";
import {
  connectValkey,
  findValkey,
  startValkey,
  type ValkeyConnection,
  type ValkeyServer,
} from "../helpers/valkey_server.ts";

const program = await findValkey();
const MIB = 2 ** 20;

let server: ValkeyServer | undefined;

Deno.test.beforeAll(async () => {
  if (program !== undefined) server = await startValkey(program);
});

Deno.test.afterAll(async () => await server?.[Symbol.asyncDispose]());

/** Runs a test with a client of the server, which is empty then. */
function testValkey(
  name: string,
  test: (connection: ValkeyConnection, url: string) => Promise<void>,
): void {
  Deno.test({
    name: `${name} (ignored without valkey-server or redis-server on PATH)`,
    ignore: program === undefined,
    async fn() {
      using connection = await connectValkey(server!.url);
      await connection.send(["FLUSHALL"]);
      await test(connection, server!.url);
    },
  });
}

function says(message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof CoupletError && error.code === "store", `${error}`);
    assert.match(error.message, message);
    return true;
  };
}

/** All names in a server. */
async function names({ send }: ValkeyConnection): Promise<string[]> {
  return (await send(["KEYS", "*"]) as Buffer[]).map(String).sort();
}

for (const criterion of STORE_CRITERIA) {
  testValkey(`valkeyStore ${criterion.name}`, (connection) => criterion.run(connection.store()));
}

testValkey("valkeyStore is one of ioredis, too, and holds encrypted entries", async (_, url) => {
  const redis = new Redis(url);
  try {
    const send: SendCommand = ([command, ...args]) =>
      redis.callBuffer(
        `${command}`,
        ...args.map((part) => typeof part === "string" ? part : Buffer.from(part)),
      );
    const store = valkeyStore(send);
    await store.put("a", patterned(3 * MIB + 5, 1));
    checkBytes(await store.get("a"), patterned(3 * MIB + 5, 1));
    assert.deepEqual(await store.list(), ["a"]);
    assert.deepEqual(await store.has!(["b", "a"]), [false, true]);
    const key = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, [
      "encrypt",
      "decrypt",
    ]);
    await encryptedStore(store, key).put("e", patterned(MIB, 2));
    checkBytes(await encryptedStore(store, key).get("e"), patterned(MIB, 2));
    await rejects(encryptedStore(store, key).get("a"), "encryption");
    assert.ok(await store.delete("a"));
  } finally {
    redis.disconnect();
  }
});

testValkey(
  "valkeyStore writes in every chunk what the bytes were when it was called",
  async (connection) => {
    const bytes = patterned(2 * MIB + 5, 1);
    const written = connection.store().put("a", bytes);
    bytes.fill(0);
    await written;
    checkBytes(await connection.store().get("a"), patterned(2 * MIB + 5, 1));
  },
);

testValkey(
  "valkeyStore keeps stores of other prefixes apart, and touches nothing else",
  async (connection) => {
    const { send } = connection;
    const others = [
      ["SET", "couplet-snapshots:{text}", "mine"],
      ["HSET", "couplet-snapshots:{hash}", "field", "mine"],
      ["SET", "other", "mine"],
    ];
    for (const command of others) await send(command);
    const [one, two] = [connection.store(), connection.store({ prefix: "couplet-snapshots:b" })];
    await one.put("a", patterned(2 * MIB, 1));
    await two.put("a", patterned(2 * MIB, 2));
    checkBytes(await one.get("a"), patterned(2 * MIB, 1));
    assert.ok(await one.delete("a"));
    checkBytes(await two.get("a"), patterned(2 * MIB, 2));
    assert.deepEqual(await two.list(), ["a"]);
    await assert.rejects(one.get("text"), says(/WRONGTYPE/));
    await assert.rejects(one.delete("text"), says(/WRONGTYPE/));
    await assert.rejects(one.put("text", patterned(9, 1)), says(/WRONGTYPE/));
    await assert.rejects(one.put("hash", patterned(9, 1)), says(/in use for something else/));
    assert.equal(await one.delete("hash"), false);
    assert.equal(await one.get("hash"), undefined);
    assert.deepEqual(await one.has!(["hash"]), [false]);
    assert.deepEqual(await names(connection), [
      "couplet-snapshots:b:{a}",
      "couplet-snapshots:{hash}",
      "couplet-snapshots:{text}",
      "other",
    ]);
    assert.equal(`${await send(["GET", "couplet-snapshots:{text}"])}`, "mine");
  },
);

testValkey(
  "valkeyStore drops entries after ttlSeconds, and unfinished ones an hour after their writer stopped",
  async (connection) => {
    const { send } = connection;
    const name = "couplet-snapshots:{a}";
    const ttl = async (name: string) => Number(await send(["PTTL", name]));
    await connection.store({ ttlSeconds: 60 }).put("a", patterned(2 * MIB, 1));
    const left = await ttl(name);
    assert.ok(left > 0 && left <= 60_000, `${left}`);
    await connection.store().put("a", patterned(2 * MIB, 2));
    assert.equal(await ttl(name), -1);
    // As if the time were over.
    await connection.store({ ttlSeconds: 1000 }).put("a", patterned(2 * MIB, 3));
    await send(["PEXPIRE", name, "0"]);
    assert.equal(await connection.store().get("a"), undefined);

    let sent = 0;
    const stopping = valkeyStore(async (command) => {
      // The writer is gone before its last chunk; it cannot clean up either.
      if (++sent > 2) throw new Error("gone");
      return await send(command);
    });
    await assert.rejects(stopping.put("a", patterned(5 * MIB, 1)), says(/gone/));
    const [unfinished, ...more] = await names(connection);
    assert.match(unfinished!, /^couplet-snapshots:\{a\}:[0-9a-f-]{36}$/);
    assert.deepEqual(more, []);
    const rest = await ttl(unfinished!);
    assert.ok(rest > 3_000_000 && rest <= 3_600_000, `${rest}`);
    assert.deepEqual(await connection.store().list(), []);
    assert.equal(await connection.store().get("a"), undefined);
  },
);

testValkey(
  "valkeyStore does not put an entry in place of which parts were dropped meanwhile",
  async (connection) => {
    const { send } = connection;
    await connection.store().put("a", patterned(MIB, 1));
    let sent = 0;
    const store = valkeyStore(async (command) => {
      // As eviction does, or an hour's wait: after the first chunk.
      if (++sent === 2) await send(["UNLINK", command[3]!]);
      return await send(command);
    });
    await assert.rejects(store.put("a", patterned(3 * MIB, 2)), says(/were dropped before/));
    checkBytes(await connection.store().get("a"), patterned(MIB, 1));
    assert.deepEqual(await names(connection), ["couplet-snapshots:{a}"]);
  },
);

/** What can be wrong with an entry. */
const DAMAGES: readonly (readonly [what: string, ...command: string[]])[] = [
  ["its first chunk", "HDEL", "0"],
  ["a chunk of the middle", "HDEL", "1"],
  ["its last chunk", "HDEL", "3"],
  ["its id", "HDEL", "id"],
  ["its length", "HDEL", "bytes"],
  ["a length that is none", "HSET", "bytes", "x"],
  ["a length of more than there is", "HSET", "bytes", `${2 ** 50}`],
  ["a short first chunk", "HSET", "0", "x"],
  ["a short chunk", "HSET", "2", "x"],
];

testValkey(
  "valkeyStore refuses damaged entries, replaces them, and deletes those it can tell to be its own",
  async (connection) => {
    const store = connection.store();
    for (const [what, command, ...args] of DAMAGES) {
      await store.put("a", patterned(3 * MIB + 1, 1));
      await connection.send([command!, "couplet-snapshots:{a}", ...args]);
      await assert.rejects(store.get("a"), says(/not whole.*store it again/), what);
      if (what === "its id") {
        await assert.rejects(store.put("a", patterned(9, 2)), says(/in use/), what);
        await connection.send(["UNLINK", "couplet-snapshots:{a}"]);
        continue;
      }
      await store.put("a", patterned(9, 2));
      checkBytes(await store.get("a"), patterned(9, 2), what);
      await connection.send([command!, "couplet-snapshots:{a}", ...args]);
      assert.ok(await store.delete("a"), what);
      assert.deepEqual(await names(connection), []);
    }
  },
);

testValkey(
  "valkeyStore never mixes an entry with the one that replaces it while it is read",
  async (connection) => {
    const { send } = connection;
    const writer = connection.store();
    await writer.put("a", patterned(4 * MIB, 0));
    let seed = 0;
    let reads = 0;
    const reader = valkeyStore(async (command) => {
      // Between two chunks, a few times.
      if (command[0] === "HMGET" && ++reads % 3 === 0 && seed < 4) {
        await writer.put("a", patterned(3 * MIB - ++seed, seed));
      }
      return await send(command);
    });
    checkBytes(await reader.get("a"), patterned(3 * MIB - 4, 4));
    assert.equal(seed, 4);
    const restless = valkeyStore(async (command) => {
      await writer.put("a", patterned(MIB + (++seed % 7) + 1, seed));
      return await send(command);
    });
    await assert.rejects(restless.get("a"), says(/keep replacing it/));
  },
);

testValkey(
  "valkeyStore reports a server without memory, and keeps the entry before",
  async (connection) => {
    const { send } = connection;
    const store = connection.store();
    await store.put("a", patterned(MIB, 1));
    const used = /used_memory:(\d+)/.exec(`${await send(["INFO", "memory"])}`)![1];
    await send(["CONFIG", "SET", "maxmemory", `${Number(used) + 5 * MIB}`]);
    await assert.rejects(store.put("a", patterned(20 * MIB, 2)), says(/OOM|maxmemory/));
    checkBytes(await store.get("a"), patterned(MIB, 1));
    assert.deepEqual(await names(connection), ["couplet-snapshots:{a}"]);
    await send(["CONFIG", "SET", "maxmemory", "0"]);
    await store.put("a", patterned(2 * MIB, 3));
    checkBytes(await store.get("a"), patterned(2 * MIB, 3));
  },
);

testValkey(
  "valkeyStore reports a client that is closed, or that returns texts for bytes",
  async (connection, url) => {
    const { send } = connection;
    await connection.store().put("a", patterned(9, 1));
    const texts = valkeyStore(async (command) => {
      const reply = await send(command);
      return Array.isArray(reply) ? reply.map((one) => one && `${one}`) : reply;
    });
    await assert.rejects(texts.get("a"), says(/values as texts; have it return bytes/));
    await assert.rejects(valkeyStore(() => Promise.resolve("OK")).get("a"), says(/no list/));
    const closed = await connectValkey(url);
    closed[Symbol.dispose]();
    for (
      const act of [
        () => closed.store().get("a"),
        () => closed.store().put("a", patterned(1, 1)),
        () => closed.store().delete("a"),
        () => closed.store().list(),
        () => closed.store().has!(["a"]),
      ]
    ) await assert.rejects(act(), says(/closed.*server can be reached/), `${act}`);
  },
);

Deno.test("valkeyStore lists what all scans find, each entry once, and nothing that is none", async () => {
  const asked: unknown[] = [];
  const pages: Record<string, [string, string[]]> = {
    "0": ["7", ["couplet-snapshots:{b}", "couplet-snapshots:{A}"]],
    "7": ["3", []],
    "3": ["0", ["couplet-snapshots:{a}", "couplet-snapshots:{b}", "couplet-snapshots:{}"]],
  };
  const store = valkeyStore(([name, cursor]) => {
    asked.push(name);
    return Promise.resolve(pages[`${cursor}`]);
  });
  assert.deepEqual(await store.list(), ["a", "b"]);
  assert.deepEqual(asked, ["SCAN", "SCAN", "SCAN"]);
});

testValkey("valkeyStore keeps entries for as many seconds as it is told", async (connection) => {
  const { send } = connection;
  await valkeyStore(send, { ttlSeconds: 1000 }).put("a", patterned(9, 1));
  const left = Number(await send(["PTTL", "couplet-snapshots:{a}"]));
  // A test may take a while, but not so long.
  assert.ok(left > 500_000 && left <= 1_000_000, `${left} ms`);
});

Deno.test("valkeyStore refuses options that are none", () => {
  const send: SendCommand = () => Promise.resolve(null);
  for (
    const options of [
      { prefix: "" },
      { prefix: "a*" },
      { prefix: "{a}" },
      { ttlSeconds: 0 },
      { ttlSeconds: 0.5 },
      { ttl: 1 },
    ]
  ) {
    assert.throws(
      () => valkeyStore(send, options),
      (error) => error instanceof CoupletError && error.code === "usage",
      JSON.stringify(options),
    );
  }
  assert.throws(() => valkeyStore({} as never), CoupletError);
});
