/** The npm package, packed, and installed in a project of its own as a user's would be. */
import assert from "node:assert/strict";
import { build, stop } from "esbuild";
import { gzipSync } from "node:zlib";
import { kernels as c8b8 } from "../generated/c8b8/c8b8_d128.ts";
import { BUDGETS } from "../tools/budgets.ts";
import { findAdapter } from "../tools/find_adapter.ts";
import { writeNpmPackage } from "../tools/npm_package.ts";
import { ROOT } from "../tools/project.ts";
import config from "../deno.json" with { type: "json" };
import tintProject from "../tools/tint/deno.json" with { type: "json" };

/** A compiler newer than what the sources are checked with, whose DOM library knows WebGPU. */
const TYPESCRIPT = "typescript@7.0.2";
const DAWN = tintProject.imports.webgpu.replace("npm:", "");

const project = await Deno.makeTempDir({ prefix: "couplet_npm_" });
await install();
addEventListener("unload", () => Deno.removeSync(project, { recursive: true }));

/** Runs a program in the project; gives what it wrote on standard output. */
async function run(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd: string = project,
): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    cwd,
    env: { ...env },
  }).output();
  const text = new TextDecoder().decode(stdout);
  assert.ok(success, `${program} ${args.join(" ")}:\n${text}${new TextDecoder().decode(stderr)}`);
  return text;
}

async function install(): Promise<void> {
  const folder = "dist/npm";
  await writeNpmPackage(folder);
  const packed: { filename: string }[] = JSON.parse(
    await run("npm", ["pack", "--json", "--pack-destination", project], {}, ROOT + folder),
  );
  for (const { name } of Deno.readDirSync(new URL("node_project/", import.meta.url))) {
    await Deno.copyFile(new URL(`node_project/${name}`, import.meta.url), `${project}/${name}`);
  }
  await Deno.writeTextFile(
    `${project}/package.json`,
    JSON.stringify({ private: true, type: "module" }),
  );
  await run("npm", [
    "install",
    "--no-audit",
    "--no-fund",
    `./${packed[0]!.filename}`,
    TYPESCRIPT,
    DAWN,
  ]);
}

Deno.test("the npm package plans a cache in Node, from one set whose kernels load minified", async () => {
  const { kernels, chosen, wgsl } = JSON.parse(await run("node", ["plan.js"]));
  assert.deepEqual(chosen, ["store_d128", "encode_c8b8_d128"]);
  assert.equal(kernels, c8b8.length);
  assert.match(wgsl, /@compute@workgroup_size/);
});

Deno.test("the npm package has declarations that tsc takes, with no check skipped", async () => {
  await run("node_modules/.bin/tsc", [
    "--strict",
    "--noEmit",
    "--exactOptionalPropertyTypes",
    "--module",
    "nodenext",
    "--target",
    "es2024",
    "--lib",
    "es2024,dom,dom.iterable",
    "--types",
    "",
    "consumer.ts",
  ]);
});

Deno.test("the npm package has every entry but those for Deno alone, and depends on nothing", async () => {
  const installed = JSON.parse(
    await Deno.readTextFile(`${project}/node_modules/@couplet/kv/package.json`),
  );
  assert.equal(installed.dependencies, undefined);
  assert.equal(installed.sideEffects, false);
  const wanted = Object.keys(config.exports).filter((entry) =>
    !["./cli", "./generate"].includes(entry)
  );
  assert.deepEqual(Object.keys(installed.exports), wanted);
  const imports = wanted.map((entry) => `await import("@couplet/kv${entry.slice(1)}");`);
  await run("node", ["--input-type=module", "--eval", imports.join("\n")]);
});

Deno.test("a bundle made from the npm package keeps to the engine's budget, with the kernels of its set alone", async () => {
  const contents = `
    import { createCache, decodeCodebooks, planCache, requiredFeatures, requiredLimits } from "@couplet/kv";
    import { kernels } from "@couplet/kv/kernels/c8b8_d128";
    export { createCache, decodeCodebooks, planCache, requiredFeatures, requiredLimits };
    export const load = () => kernels;
  `;
  const { metafile, outputFiles } = await build({
    stdin: { contents, resolveDir: project },
    absWorkingDir: project,
    bundle: true,
    splitting: true,
    minify: true,
    format: "esm",
    outdir: "unused",
    entryNames: "entry",
    metafile: true,
    write: false,
  });
  await stop();
  const texts = Object.keys(metafile.inputs).filter((path) => path.endsWith(".wgsl.js"));
  assert.equal(texts.length, c8b8.length);
  const entry = outputFiles.find(({ path }) => path.endsWith("/entry.js"))!;
  const rows = 2_000;
  assert.ok(gzipSync(entry.contents, { level: 9 }).length < BUDGETS.engine.ceiling + rows);
});

Deno.test("the npm package attends on Dawn in Node as its reference does", async () => {
  // Dawn refuses llvmpipe, which lacks a feature that it asks of Vulkan.
  const { environment } = await findAdapter("swiftshader");
  const { adapter, codedTokens, error } = JSON.parse(await run("node", ["attend.js"], environment));
  assert.match(adapter, /SwiftShader/);
  assert.equal(codedTokens, 70 + 1 + 20 + 1 - 1 - 3);
  // The plan may choose kernels that keep tables of scores in f16.
  assert.ok(error < 2e-3, `the largest difference is ${error}`);
});
