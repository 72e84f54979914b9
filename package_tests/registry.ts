/** A registry as JSR is one, over local HTTP, that has what JSR would get of this package and nothing else. */
import assert from "node:assert/strict";
import config from "../deno.json" with { type: "json" };
import { publishedFiles, writeJsrPackage } from "../tools/jsr_package.ts";
import { ROOT } from "../tools/project.ts";

/** A file that the registry was asked for. */
export interface Request {
  /** Its path in the package; that of metadata is behind a slash. */
  readonly path: string;
  /** Bytes of the answer. */
  readonly bytes: number;
}

/** What became of a program. */
export interface Outcome {
  /** What it wrote on standard output. */
  readonly output: string;
  /** What it fetched, in order. */
  readonly requests: readonly Request[];
}

/** A registry that serves. */
export interface Registry {
  /**
   * Runs Deno with this registry for JSR, and with nothing of it in its cache.
   *
   * @param folder The current folder.
   * @param args Deno's arguments.
   */
  run(folder: string, args: readonly string[]): Promise<Outcome>;
  /** Ends it. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Where the package is written, relative to the checkout. */
export const FOLDER = "dist/jsr";

const { name, version, exports } = config;
const imports: Readonly<Record<string, string>> = config.imports;

/** What specifiers of this package begin with. */
export const PACKAGE: string = `jsr:${name}@${version}`;

/** A module as `deno publish` sends it: with the specifiers that the configuration gives names to. */
function publishedText(text: string): string {
  return text.replaceAll(
    /(?<=\b(?:from|import)\s+|@ts-types=)"([^"./][^"]*)"/g,
    (quoted, name: string) => imports[name] === undefined ? quoted : JSON.stringify(imports[name]),
  );
}

async function checksum(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return `sha256-${[...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** Path to content of all that the registry has. */
async function publishedContents(): Promise<ReadonlyMap<string, Uint8Array<ArrayBuffer>>> {
  await writeJsrPackage(FOLDER);
  const encoder = new TextEncoder();
  const contents = new Map<string, Uint8Array<ArrayBuffer>>();
  const manifest: Record<string, { readonly size: number; readonly checksum: string }> = {};
  for (const path of publishedFiles()) {
    const file = `${ROOT}${FOLDER}/${path}`;
    const bytes = path.endsWith(".ts")
      ? encoder.encode(publishedText(await Deno.readTextFile(file)))
      : await Deno.readFile(file);
    contents.set(`/${name}/${version}/${path}`, bytes);
    manifest[`/${path}`] = { size: bytes.length, checksum: await checksum(bytes) };
  }
  const versions = { latest: version, versions: { [version]: {} } };
  contents.set(`/${name}/meta.json`, encoder.encode(JSON.stringify(versions)));
  contents.set(
    `/${name}/${version}_meta.json`,
    encoder.encode(JSON.stringify({ manifest, exports })),
  );
  return contents;
}

/** The folder of npm's packages in the cache that this process uses. */
async function npmCache(): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  const { npmCache }: { npmCache: string } = JSON.parse(new TextDecoder().decode(stdout));
  return npmCache;
}

let published: ReturnType<typeof publishedContents> | undefined;

/** Starts a registry. The package is written once. */
export async function serveRegistry(): Promise<Registry> {
  const contents = await (published ??= publishedContents());
  // Those are npm's to serve.
  const npm = await npmCache();
  let requests: Request[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, ({ url }) => {
    const { pathname } = new URL(url);
    const bytes = contents.get(pathname);
    const path = pathname.replace(`/${name}/${version}/`, "");
    requests.push({ path, bytes: bytes?.length ?? 0 });
    const type = pathname.endsWith(".ts") ? "application/typescript" : "application/json";
    return bytes === undefined
      ? new Response(null, { status: 404 })
      : new Response(bytes, { headers: { "content-type": type } });
  });
  return {
    async run(folder, args) {
      requests = [];
      const cache = await Deno.makeTempDir({ prefix: "couplet_cache_" });
      try {
        await Deno.symlink(npm, `${cache}/npm`, { type: "dir" });
        const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
          args: [...args],
          cwd: folder,
          env: {
            NO_COLOR: "1",
            DENO_DIR: cache,
            JSR_URL: `http://127.0.0.1:${server.addr.port}/`,
          },
        }).output();
        assert.ok(success, new TextDecoder().decode(stderr));
        return { output: new TextDecoder().decode(stdout).trim(), requests };
      } finally {
        await Deno.remove(cache, { recursive: true });
      }
    },
    async [Symbol.asyncDispose]() {
      await server.shutdown();
    },
  };
}
