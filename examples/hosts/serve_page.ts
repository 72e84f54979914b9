/** Builds an example's page and serves it, with the model and the runtime it needs. */
import { CoupletError } from "@couplet/kv";
import { extname } from "node:path";
import { bundlePage } from "../../tools/bundle_page.ts";
import { ROOT, runDeno } from "../../tools/project.ts";
import { loadModel } from "../engine/mod.ts";
import { exportLlama } from "./onnx/llama.ts";
import { examplePrompt } from "./example_prompt.ts";

/** The examples that are pages. */
export const PAGES = ["browser", "onnxruntime_web", "transformers_js"] as const;

/** One of {@linkcode PAGES}. */
export type PageName = (typeof PAGES)[number];

/** A response's body and media type. */
type File = readonly [body: string | Uint8Array<ArrayBuffer>, type: string];

const MODEL = `${ROOT}tests/fixtures/tiny-llama`;

const TYPES: Readonly<Record<string, string>> = {
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

/**
 * Serves an example's page on this machine.
 *
 * @param port 0 for any that is free.
 * @param onResult Told what the page posts: what its example gave, or `{ error }`.
 * @throws {CoupletError} `usage` where the port is in use.
 */
export async function servePage(
  name: PageName,
  port: number,
  onResult: (result: unknown) => void,
): Promise<Deno.HttpServer<Deno.NetAddr>> {
  const folder = `${ROOT}examples/hosts/${name}`;
  let files = new Map<string, File>();
  const server = listen(port, async (request) => {
    const { pathname } = new URL(request.url);
    if (request.method === "POST" && pathname === "/result") {
      onResult(await request.json());
      return new Response();
    }
    const [body, type] = files.get(pathname) ?? await runtimeFile(folder, pathname) ?? [];
    if (body === undefined || type === undefined) return new Response(null, { status: 404 });
    return new Response(body, { headers: { "content-type": type } });
  });
  try {
    files = await pageFiles(name, folder);
  } catch (error) {
    await server.shutdown();
    throw error;
  }
  return server;
}

function listen(
  port: number,
  handler: (request: Request) => Promise<Response>,
): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve({ port, hostname: "localhost", onListen() {} }, handler);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.AddrInUse)) throw cause;
    throw new CoupletError("usage", {
      what: `Cannot serve on port ${port}`,
      why: "another program listens there",
      remedy: "Choose another with --port",
    }, { cause });
  }
}

async function pageFiles(name: PageName, folder: string): Promise<Map<string, File>> {
  const files = name === "browser" ? new Map<string, File>() : await modelFiles(folder);
  const script = '<script type="module" src="/program.js"></script>';
  const page = `<!doctype html><meta charset="utf-8"><title>${name}</title><body>${script}`;
  files.set("/", [page, "text/html"]);
  files.set("/program.js", [await bundlePage(`${folder}/page.ts`), "text/javascript"]);
  return files;
}

/** The model in the folders that transformers.js looks for, and the prompt; the page's packages are installed. */
async function modelFiles(folder: string): Promise<Map<string, File>> {
  await runDeno(["install", "--frozen", "--quiet", "--config", `${folder}/deno.json`]);
  const checkpoint = await loadModel(MODEL);
  const json = "application/json";
  const text = (name: string) => Deno.readTextFile(`${MODEL}/${name}`);
  return new Map<string, File>([
    ["/model/config.json", [await text("config.json"), json]],
    ["/model/tokenizer.json", [await text("tokenizer.json"), json]],
    ["/model/tokenizer_config.json", ['{"tokenizer_class":"PreTrainedTokenizer"}', json]],
    ["/model/generation_config.json", ['{"eos_token_id":0}', json]],
    ["/model/onnx/model.onnx", [exportLlama(checkpoint), "application/octet-stream"]],
    ["/prompt.json", [JSON.stringify(await examplePrompt(checkpoint)), json]],
  ]);
}

/** A file of ONNX Runtime, which loads them itself. */
async function runtimeFile(folder: string, pathname: string): Promise<File | undefined> {
  const [, file] = /^\/ort\/([\w.-]+)$/.exec(pathname) ?? [];
  const type = TYPES[extname(pathname)];
  if (file === undefined || type === undefined) return undefined;
  return [await Deno.readFile(`${folder}/node_modules/onnxruntime-web/dist/${file}`), type];
}
