/** The generator from the published files, loaded over HTTP into a folder that holds nothing of the repository. */
import assert from "node:assert/strict";
import config from "../deno.json" with { type: "json" };
import { ROOT } from "../tools/project.ts";

const imports: Readonly<Record<string, string>> = config.imports;

/** Whether `deno publish` takes a file. */
function isPublished(path: string): boolean {
  return config.publish.include.some((part) =>
    part.endsWith("/") ? path.startsWith(part) : path === part
  );
}

/** A module as `deno publish` sends it: with the specifiers that the configuration gives names to. */
function publishedText(text: string): string {
  return text.replaceAll(
    /(?<=\b(?:from|import)\s+)"([^"./][^"]*)"/g,
    (quoted, name: string) => imports[name] === undefined ? quoted : JSON.stringify(imports[name]),
  );
}

/** Serves the published files; other paths are not found. */
function servePackage(): Deno.HttpServer<Deno.NetAddr> {
  return Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async ({ url }) => {
    const path = new URL(url).pathname.slice(1);
    if (!isPublished(path)) return new Response(null, { status: 404 });
    const text = await Deno.readTextFile(ROOT + path).catch(() => undefined);
    if (text === undefined) return new Response(null, { status: 404 });
    return new Response(publishedText(text), {
      headers: { "content-type": "application/typescript" },
    });
  });
}

const GENERATE = `
import { generateKernels, writeFiles } from "@couplet/kv/generate";
const files = generateKernels({ pairs: ["c4b6/c2b3"], headDims: [48] });
writeFiles(new URL("./my_kernels/", import.meta.url), files);
`;

const PLAN = `
import { planCache } from "@couplet/kv";
import { manifest } from "./my_kernels/manifest.ts";
const { layers } = planCache({
  shape: { layers: 1, queryHeads: 2, keyValueHeads: 1, headDim: 48 },
  policy: { keys: "c4b6", values: "c2b3" },
  keys: { space: "as-scored" },
  tiers: { sinks: 1, window: 3 },
  capacity: { sequences: 1, tokens: 100, sequenceTokens: 100, stepTokens: 50, appendTokens: 50 },
  kernels: manifest,
});
const { encodeKeys } = layers[0]!;
console.log(encodeKeys.name, (await encodeKeys.load()).wgsl.includes("HEAD_DIM: u32 = 48u"));
`;

Deno.test("the generator runs from the published files, imported or as a command, and a plan takes what it gives", async () => {
  const folder = await Deno.makeTempDir({ prefix: "couplet_generate_" });
  const server = servePackage();
  const { port } = server.addr;
  const origin = `http://127.0.0.1:${port}/`;
  try {
    await Deno.writeTextFile(
      `${folder}/deno.json`,
      JSON.stringify({
        imports: {
          "@couplet/kv": `${origin}mod.ts`,
          "@couplet/kv/generate": new URL(config.exports["./generate"], origin).href,
        },
      }),
    );
    await Deno.writeTextFile(`${folder}/generate.ts`, GENERATE);
    await Deno.writeTextFile(`${folder}/plan.ts`, PLAN);
    // Deno takes modules of registries without being told so, and of other hosts not.
    const run = async (...args: string[]): Promise<string> => {
      const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "--check", `--allow-import=${server.addr.hostname}:${port}`, ...args],
        cwd: folder,
        env: { NO_COLOR: "1" },
      }).output();
      assert.ok(success, new TextDecoder().decode(stderr));
      return new TextDecoder().decode(stdout).trim();
    };
    const file = `${folder}/my_kernels`;
    // Nothing but that folder may be read or written: templates come as modules.
    await run(
      `--reload=${origin}`,
      `--allow-read=${file}`,
      `--allow-write=${file}`,
      "generate.ts",
    );
    assert.equal(await run("plan.ts"), "encode_c4b6_d48 true");

    const args = ["generate", "--pair", "c4b6/c2b3", "--head-dim", "48", "--out", "by_command"];
    await run(
      "--allow-read",
      "--allow-write",
      "--allow-env",
      "--allow-sys",
      new URL(config.exports["./cli"], origin).href,
      ...args,
    );
    const sets = async (out: string) =>
      await Deno.readTextFile(`${folder}/${out}/sets/c4b6_c2b3_d48.ts`);
    assert.equal(await sets("by_command"), await sets("my_kernels"));
  } finally {
    await server.shutdown();
    await Deno.remove(folder, { recursive: true });
  }
});
