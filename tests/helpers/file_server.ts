/** Servers of files, for the store behind HTTP. */

/** A server that runs. */
export interface RunningServer {
  /** Its address. */
  readonly url: string;
  /** Ends it. */
  close(): Promise<void>;
}

/** How a server serves files. */
export interface FileServerOptions {
  /** Its files by path; they may be changed by others. */
  readonly files?: Map<string, Uint8Array<ArrayBuffer>>;
  /** Hears of every request. */
  readonly onRequest?: (request: Request) => void;
}

/** A server that gives, takes and deletes files, with ETags and ranges, and lists them. */
export function serveFiles(
  { files = new Map(), onRequest }: FileServerOptions = {},
): RunningServer {
  const tags = new WeakMap<Uint8Array, string>();
  const tagOf = (file: Uint8Array) => {
    if (!tags.has(file)) tags.set(file, `"${crypto.randomUUID()}"`);
    return tags.get(file)!;
  };
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {}, onError: () => new Response(null) },
    async (request) => {
      onRequest?.(request);
      const { pathname } = new URL(request.url);
      if (pathname.endsWith("/")) {
        const names = [...files.keys()].filter((path) => path.startsWith(pathname));
        return Response.json(names.map((path) => ({ name: path.slice(pathname.length) })));
      }
      if (request.method === "PUT") {
        files.set(pathname, await request.bytes());
        return new Response(null, { status: 204 });
      }
      const file = files.get(pathname);
      if (file === undefined) return new Response("Not found", { status: 404 });
      if (request.method === "DELETE") {
        files.delete(pathname);
        return new Response(null, { status: 204 });
      }
      const headers = { etag: tagOf(file), "content-length": `${file.length}` };
      if (request.method === "HEAD") return new Response(null, { headers });
      if (request.headers.get("if-none-match") === tagOf(file)) {
        return new Response(null, { status: 304, headers: { etag: tagOf(file) } });
      }
      return new Response(file, { headers });
    },
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    close: () => server.shutdown(),
  };
}

/** What a request said. */
export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: Headers;
}

/** What is answered, byte for byte. */
export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

/** A server that answers as it is told and then closes the connection, wherever that is in an answer. */
export function serveAnswers(
  answer: (asked: Asked) => Answer,
): RunningServer {
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  async function serve(connection: Deno.Conn): Promise<void> {
    const { status, headers = {}, body = new Uint8Array(0) } = answer(await readHead(connection));
    const lines = [
      `HTTP/1.1 ${status} Told`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
      "connection: close",
    ];
    await writeAll(connection, new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\n`));
    await writeAll(connection, body);
    await connection.closeWrite();
    connection.close();
  }
  const serving = (async () => {
    for await (const connection of listener) serve(connection).catch(() => {});
  })();
  return {
    url: `http://127.0.0.1:${listener.addr.port}`,
    async close() {
      listener.close();
      await serving;
    },
  };
}

async function readHead(connection: Deno.Conn): Promise<Asked> {
  let head = "";
  const buffer = new Uint8Array(4096);
  while (!head.includes("\r\n\r\n")) {
    const count = await connection.read(buffer);
    if (count === null) throw new Error("there is no request");
    head += new TextDecoder("latin1").decode(buffer.subarray(0, count));
  }
  const [line, ...fields] = head.slice(0, head.indexOf("\r\n\r\n")).split("\r\n");
  const [method, path] = line!.split(" ");
  const headers = new Headers(fields.map((field): [string, string] => {
    const colon = field.indexOf(":");
    return [field.slice(0, colon), field.slice(colon + 1).trim()];
  }));
  return { method: method!, path: path!, headers };
}

async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let start = 0; start < bytes.length;) start += await connection.write(bytes.subarray(start));
}
