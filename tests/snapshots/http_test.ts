import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import sirv from "sirv";
import { CoupletError, type SnapshotStore } from "../../mod.ts";
import { directoryStore } from "../../src/snapshots/stores/directory.ts";
import { httpStore, type HttpStoreOptions } from "../../src/snapshots/stores/http.ts";
import { type Answer, type Asked, serveAnswers, serveFiles } from "../helpers/file_server.ts";
import { memoryStore } from "../helpers/memory_store.ts";
import { patterned, STORE_CRITERIA } from "../helpers/store_conformance.ts";

/** An error of a store that says this. */
function says(message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof CoupletError && error.code === "store", `${error}`);
    assert.match(error.message, message);
    return true;
  };
}

const COPIES: Readonly<Record<string, () => HttpStoreOptions>> = {
  "": () => ({}),
  " with copies": () => ({ copies: memoryStore() }),
};

for (const [copies, makeOptions] of Object.entries(COPIES)) {
  for (const criterion of STORE_CRITERIA) {
    Deno.test(`httpStore${copies} ${criterion.name}`, async () => {
      const server = serveFiles();
      try {
        await criterion.run(httpStore(`${server.url}/snapshots`, makeOptions()));
      } finally {
        await server.close();
      }
    });
  }
}

Deno.test("httpStore reads what directoryStore wrote, from a server of files that is not for it, and says that it cannot be written to", async () => {
  const directory = await Deno.makeTempDir({ prefix: "couplet-" });
  const serve = sirv(directory, { dev: true, etag: true });
  const server = createServer((request, response) =>
    serve(request, response, () => {
      response.statusCode = request.method === "GET" || request.method === "HEAD" ? 404 : 405;
      response.end();
    })
  );
  try {
    await directoryStore(directory).put("a", patterned(200_000, 1));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const store = httpStore(`http://127.0.0.1:${port}/`, { copies: memoryStore() });
    for (const seed of [1, 1, 2]) {
      await directoryStore(directory).put("a", patterned(200_000 + seed, seed));
      assert.deepEqual(await store.get("a"), patterned(200_000 + seed, seed));
    }
    assert.equal(await store.get("b"), undefined);
    assert.deepEqual(await store.has!(["b", "a"]), [false, true]);
    // This server takes every method for GET.
    await assert.rejects(store.list(), says(/no.* list of names in JSON|answers 404/));
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("httpStore keeps the address's query, sends its headers, and sends by its own fetch", async () => {
  const asked: string[] = [];
  const server = serveFiles({
    onRequest: ({ method, url, headers }) =>
      asked.push(`${method} ${url.slice(server.url.length)} ${headers.get("authorization")}`),
  });
  try {
    let sent = 0;
    const store = httpStore(new URL(`${server.url}/a/b/?token=x`), {
      headers: { authorization: "Bearer 1" },
      fetch: (url, init) => {
        sent++;
        return fetch(url, init);
      },
    });
    await store.put("k", patterned(3, 1));
    await store.get("k");
    await store.list();
    await store.delete("k");
    assert.deepEqual(
      asked,
      ["PUT /a/b/k.safetensors", "GET /a/b/k.safetensors", "GET /a/b/"].concat(
        ["HEAD", "DELETE"].map((method) => `${method} /a/b/k.safetensors`),
      ).map((line) => `${line}?token=x Bearer 1`),
    );
    assert.equal(sent, asked.length);
  } finally {
    await server.close();
  }
});

Deno.test("httpStore sends what the bytes were when it was called, however late its fetch sends them", async () => {
  const server = serveFiles();
  try {
    const store = httpStore(server.url, {
      async fetch(url, init) {
        // As one does that signs requests.
        await new Promise((resolve) => setTimeout(resolve));
        return await fetch(url, init);
      },
    });
    const bytes = patterned(50, 1);
    const written = store.put("a", bytes);
    bytes.fill(0);
    await written;
    assert.deepEqual(await store.get("a"), patterned(50, 1));
  } finally {
    await server.close();
  }
});

Deno.test("httpStore does not receive again what it has a copy of, until it changes or is gone", async () => {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const asked: (string | null)[] = [];
  const server = serveFiles({
    files,
    onRequest: ({ headers }) => asked.push(headers.get("if-none-match")),
  });
  try {
    const copies = memoryStore();
    const open = () => httpStore(server.url, { copies });
    for (const seed of [1, 2]) {
      files.set("/a.safetensors", patterned(100_000, seed));
      for (let reader = 0; reader < 2; reader++) {
        assert.deepEqual(await open().get("a"), patterned(100_000, seed));
      }
    }
    const [none, first, old, second] = asked;
    assert.deepEqual([none, first], [null, old]);
    assert.notEqual(second, old);
    assert.deepEqual(await copies.list(), ["a"]);
    files.clear();
    assert.equal(await open().get("a"), undefined);
    assert.deepEqual(await copies.list(), []);
    // Bytes that are no copy.
    for (const bytes of [patterned(3, 1), Uint8Array.of(9, 0, 0, 0, 1)]) {
      files.set("/a.safetensors", patterned(10, 3));
      await copies.put("a", bytes);
      assert.deepEqual(await open().get("a"), patterned(10, 3));
    }
  } finally {
    await server.close();
  }
});

const ENTRY = patterned(100_000, 1);
const OTHER = patterned(90_000, 2);

/** An answer with an entry, or what of it is sent. */
function whole(bytes: Uint8Array, headers: Record<string, string>, sent = bytes.length): Answer {
  const length = { "content-length": `${bytes.length}` };
  return { status: 200, headers: { ...length, ...headers }, body: bytes.subarray(0, sent) };
}

/** An answer with a part. */
function part(bytes: Uint8Array, from: number, etag: string, sent = bytes.length): Answer {
  return {
    status: 206,
    headers: {
      etag,
      "content-length": `${bytes.length - from}`,
      "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}`,
    },
    body: bytes.subarray(from, sent),
  };
}

const TAG = { etag: '"1"' };

/** What a server does, and what comes of it. Each answer is for one request; the last one for all that follow. */
const SERVERS: readonly {
  readonly what: string;
  readonly answers: readonly Answer[];
  /** The range and its condition of each request, where it has one. */
  readonly ranges: readonly (string | undefined)[];
  readonly gives: Uint8Array | RegExp | undefined;
}[] = [
  {
    what: "goes on where a connection was cut, twice",
    answers: [
      whole(ENTRY, TAG, 40_000),
      part(ENTRY, 40_000, '"1"', 70_000),
      part(ENTRY, 70_000, '"1"'),
    ],
    ranges: [undefined, 'bytes=40000- if "1"', 'bytes=70000- if "1"'],
    gives: ENTRY,
  },
  {
    what: "begins again where the server has no ranges",
    answers: [whole(ENTRY, TAG, 40_000), whole(ENTRY, TAG)],
    ranges: [undefined, 'bytes=40000- if "1"'],
    gives: ENTRY,
  },
  {
    what: "begins again where the entry was replaced between two ranges",
    answers: [whole(ENTRY, TAG, 40_000), whole(OTHER, { etag: '"2"' })],
    ranges: [undefined, 'bytes=40000- if "1"'],
    gives: OTHER,
  },
  {
    what: "refuses a range of another version and length",
    answers: [whole(ENTRY, TAG, 40_000), part(OTHER, 40_000, '"2"')],
    ranges: [undefined, 'bytes=40000- if "1"'],
    gives: /answers 206/,
  },
  {
    what: "refuses a range of another version of the same length",
    answers: [whole(ENTRY, TAG, 40_000), part(patterned(ENTRY.length, 2), 40_000, '"2"')],
    ranges: [undefined, 'bytes=40000- if "1"'],
    gives: /answers 206/,
  },
  {
    what: "refuses a range of another length",
    answers: [whole(ENTRY, TAG, 40_000), part(OTHER, 40_000, '"1"')],
    ranges: [undefined, 'bytes=40000- if "1"'],
    gives: /answers 206/,
  },
  {
    what: "refuses a range from elsewhere",
    answers: [whole(ENTRY, TAG, 40_000), part(ENTRY, 39_999, '"1"')],
    ranges: [undefined, 'bytes=40000- if "1"'],
    gives: /answers 206/,
  },
  {
    what: "asks for no range by a weak ETag, which may be that of other bytes",
    answers: [whole(ENTRY, { etag: 'W/"1"' }, 40_000), whole(OTHER, { etag: 'W/"1"' })],
    ranges: [undefined, undefined],
    gives: OTHER,
  },
  {
    what: "asks for no range without an ETag",
    answers: [whole(ENTRY, {}, 40_000), whole(ENTRY, {})],
    ranges: [undefined, undefined],
    gives: ENTRY,
  },
  {
    what: "gives nothing where the entry was deleted between two ranges",
    answers: [whole(ENTRY, TAG, 40_000), { status: 404 }],
    ranges: [undefined, 'bytes=40000- if "1"'],
    gives: undefined,
  },
  {
    what: "gives up where a server always cuts at the same place",
    answers: [whole(ENTRY, {}, 40_000)],
    ranges: [undefined, undefined, undefined, undefined, undefined],
    gives: /Check the connection/,
  },
  {
    what: "gives up where a server sends nothing of what it announces",
    answers: [whole(ENTRY, TAG, 0)],
    ranges: [undefined, undefined, undefined, undefined, undefined],
    gives: /Check the connection/,
  },
  {
    what: "refuses an entry without bytes",
    answers: [{ status: 200, headers: { "content-length": "0" } }],
    ranges: [undefined, undefined, undefined, undefined, undefined],
    gives: /0 of 0 bytes came/,
  },
  {
    what: "takes an entry whose length the server does not tell",
    answers: [{ status: 200, body: ENTRY }],
    ranges: [undefined],
    gives: ENTRY,
  },
  {
    what: "refuses a page that stands for whatever is not there",
    answers: [whole(ENTRY, { "content-type": "text/html; charset=utf-8" })],
    ranges: [undefined],
    gives: /answers with a page.*404/,
  },
  {
    what: "refuses what is compressed for transport",
    answers: [whole(ENTRY, { "content-encoding": "gzip", ...TAG })],
    ranges: [undefined],
    gives: /compressed.*as they are/,
  },
];

for (const { what, answers, ranges, gives } of SERVERS) {
  Deno.test(`httpStore ${what}`, async () => {
    const asked: (string | undefined)[] = [];
    const server = serveAnswers(({ headers }) => {
      const range = headers.get("range");
      asked.push(range === null ? undefined : `${range} if ${headers.get("if-range")}`);
      return answers[Math.min(asked.length, answers.length) - 1]!;
    });
    try {
      const found = httpStore(server.url).get("a");
      if (gives instanceof RegExp) await assert.rejects(found, says(gives));
      else assert.deepEqual(await found, gives);
      assert.deepEqual(asked, ranges);
    } finally {
      await server.close();
    }
  });
}

/** A store that gets these responses, in order, the last one again and again; and what it asked for. */
function answered(
  answers: readonly ((init: RequestInit) => Response)[],
  more: HttpStoreOptions = {},
) {
  const asked: RequestInit[] = [];
  const store = httpStore("https://files.example", {
    ...more,
    fetch: (_, init) => {
      asked.push(init);
      return Promise.resolve(answers[Math.min(asked.length, answers.length) - 1]!(init));
    },
  });
  return { store, asked };
}

/** A response whose body breaks off behind these bytes. */
function cut(bytes: Uint8Array<ArrayBuffer>, status: number, headers: Record<string, string>) {
  let given = false;
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      if (given) controller.error(new Error("cut"));
      else controller.enqueue(bytes);
      given = true;
    },
  }, { highWaterMark: 0 });
  return new Response(body, { status, headers });
}

Deno.test("httpStore asks for files as they are, past a browser's cache, and its own headers win", async () => {
  const headers = { accept: "text/html", "content-type": "text/plain", "x-mine": "1" };
  const { store, asked } = answered(
    [() => new Response(null), () => Response.json([]), () => new Response(ENTRY)],
    { headers },
  );
  await store.put("a", ENTRY);
  await store.list();
  await store.get("a");
  const plain = { "accept-encoding": "identity", ...headers };
  assert.deepEqual(asked.map(({ headers }) => headers), [
    { ...plain, "content-type": "application/octet-stream" },
    { ...plain, accept: "application/json" },
    plain,
  ]);
  assert.deepEqual(asked.map(({ cache }) => cache), ["no-cache", "no-cache", "no-cache"]);
});

Deno.test("httpStore goes on as long as each transfer brings something new, and ends where they only grow", async () => {
  const bytes = patterned(9, 1);
  let from = 0;
  const one = () => {
    const range = `bytes ${from}-8/9`;
    const part = bytes.slice(from, ++from);
    if (from === 1) return cut(part, 200, { etag: '"1"', "content-length": "9" });
    const headers = { etag: '"1"', "content-range": range };
    return from === 9 ? new Response(part, { status: 206, headers }) : cut(part, 206, headers);
  };
  assert.deepEqual(await answered([one]).store.get("a"), bytes);

  // More bytes than were announced, and more each time.
  let requests = 0;
  const more = () => {
    if (++requests > 20) throw new Error("without end");
    return new Response(patterned(10 + requests, 1), { headers: { "content-length": "10" } });
  };
  await assert.rejects(answered([more]).store.get("a"), says(/of 10 bytes came/));
});

Deno.test("httpStore takes 410 for what is not there, a page for no file, and a file that goes while it is deleted for gone", async () => {
  const status = (status: number) => () => new Response(null, { status });
  const page = () => new Response(null, { headers: { "content-type": "text/html" } });
  assert.equal(await answered([status(410)]).store.get("a"), undefined);
  assert.deepEqual(await answered([status(410)]).store.has!(["a"]), [false]);
  await assert.rejects(answered([page]).store.has!(["a"]), says(/answers with a page/));
  for (const gone of [404, 410]) {
    const { store, asked } = answered([status(200), status(gone)]);
    assert.equal(await store.delete("a"), false);
    assert.deepEqual(asked.map(({ method }) => method), ["HEAD", "DELETE"]);
  }
});

Deno.test("httpStore keeps copies by any ETag, in stores that give parts of buffers, until it deletes them", async () => {
  const kept = memoryStore();
  const copies: SnapshotStore = {
    ...kept,
    async get(key) {
      const found = await kept.get(key);
      if (found === undefined) return undefined;
      const all = new Uint8Array(found.length + 5).fill(255);
      all.set(found, 5);
      return all.subarray(5);
    },
  };
  const etag = '"\u00e9\u00e9"';
  const { store, asked } = answered([
    () => new Response(ENTRY, { headers: { etag } }),
    () => new Response(null, { status: 304, headers: { etag } }),
    () => new Response(null, { status: 404 }),
  ], { copies });
  for (let turn = 0; turn < 2; turn++) assert.deepEqual(await store.get("a"), ENTRY);
  assert.equal((asked[1]!.headers as Record<string, string>)["if-none-match"], etag);
  assert.deepEqual(await copies.list(), ["a"]);
  assert.equal(await store.delete("a"), false);
  assert.deepEqual(await copies.list(), []);
});

/** What is done, and statuses that forbid it, with what the error says. */
const REFUSALS: readonly (readonly [
  run: (store: SnapshotStore) => Promise<unknown>,
  statuses: Readonly<Record<number, RegExp>>,
])[] = [
  [(store) => store.get("a"), {
    304: /304/,
    400: /400/,
    401: /headers or a fetch/,
    403: /unless one may list/,
    429: /later/,
    500: /server's log/,
    503: /server's log/,
  }],
  [(store) => store.put("a", ENTRY), {
    403: /the right/,
    404: /404/,
    405: /is for reading/,
    412: /conditions/,
    413: /larger files/,
    501: /is for reading/,
    507: /Make room/,
  }],
  [(store) => store.delete("a"), { 403: /the right/, 500: /log/ }],
  [(store) => store.has!(["a"]), { 403: /the right/, 405: /405/, 500: /log/ }],
  [(store) => store.list(), { 403: /the right/, 404: /404/ }],
];

Deno.test("httpStore says what to do about every refusal of a server", async () => {
  for (const [run, statuses] of REFUSALS) {
    for (const [status, message] of Object.entries(statuses)) {
      const server = serveAnswers(() => ({
        status: Number(status),
        headers: { "content-length": "0" },
      }));
      await assert.rejects(run(httpStore(server.url)), says(message), `${run} ${status}`);
      await server.close();
    }
  }
});

/** What a folder's list may be, and what is read of it. */
const LISTS: readonly (readonly [json: string, keys: readonly string[] | undefined])[] = [
  ['["b.safetensors", "a.safetensors", "A.safetensors", "c.txt"]', ["a", "b"]],
  // nginx: autoindex_format json.
  ['[{ "name":"a.safetensors", "type":"file", "size":1 }, { "name":"d", "type":"directory" }]', [
    "a",
  ]],
  ["[]", []],
  ["<html>", undefined],
  ["{}", undefined],
  ["[1]", undefined],
  ["[null]", undefined],
];

for (const [json, keys] of LISTS) {
  Deno.test(`httpStore reads the list ${json}`, async () => {
    const asked: Asked[] = [];
    const server = serveAnswers((one) => {
      asked.push(one);
      return { status: 200, body: new TextEncoder().encode(json) };
    });
    try {
      const list = httpStore(`${server.url}/folder`).list();
      if (keys === undefined) await assert.rejects(list, says(/list of names in JSON.*list\(\)/));
      else assert.deepEqual(await list, keys);
      assert.deepEqual(asked.map(({ path }) => path), ["/folder/"]);
      assert.equal(asked[0]!.headers.get("accept"), "application/json");
    } finally {
      await server.close();
    }
  });
}

Deno.test("httpStore says where the server cannot be reached", async () => {
  const server = serveFiles();
  await server.close();
  const store = httpStore(server.url);
  await assert.rejects(store.get("a"), says(/can be reached/));
  await assert.rejects(store.put("a", ENTRY), says(/can be reached/));
});

Deno.test("httpStore refuses addresses and options that are none", () => {
  for (const address of ["snapshots", "file:///a", "", undefined]) {
    assert.throws(() => httpStore(address as string), /http: or https:/);
  }
  for (const options of [{ headers: { a: 1 } }, { fetch: 1 }, { copies: {} }, { cache: true }]) {
    assert.throws(() => httpStore("http://a", options as never), CoupletError);
  }
});
