/** A project in Node that has the packed npm package and Dawn, as a user's would. */
import assert from "node:assert/strict";
import { cp } from "node:fs/promises";
import { findAdapter } from "../tools/find_adapter.ts";
import { writeNpmPackage } from "../tools/npm_package.ts";
import { ROOT } from "../tools/project.ts";
import tintProject from "../tools/tint/deno.json" with { type: "json" };

/** A compiler newer than what the sources are checked with, whose DOM library knows WebGPU. */
const TYPESCRIPT = "typescript@7.0.2";
const DAWN = tintProject.imports.webgpu.replace("npm:", "");

const programs = new URL("node_project/", import.meta.url);

/** What a program did. */
export interface Ended {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

/** Runs a program. */
export async function end(
  folder: string,
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    cwd: folder,
    env: { NO_COLOR: "1", ...env },
  }).output();
  const [output, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, output: output!, errors: errors! };
}

/** Runs a program that must succeed; gives what it wrote on standard output. */
export async function run(
  folder: string,
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { code, output, errors } = await end(folder, program, args, env);
  assert.equal(code, 0, `${program} ${args.join(" ")}:\n${output}${errors}`);
  return output;
}

/** Folders that are there until the test's process ends. */
export interface Projects {
  /** With the package, Dawn, a compiler, and the programs of `node_project/`. */
  readonly project: string;
  /** With the package alone. Its own modules are CommonJS, as `npm init` has it. */
  readonly bare: string;
}

/** Writes the package, packs it, and installs it. */
export async function installProjects(): Promise<Projects> {
  const folder = await Deno.makeTempDir({ prefix: "couplet_npm_" });
  addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
  const [project, bare] = [`${folder}/project`, `${folder}/bare`];
  await cp(programs, project, { recursive: true });
  await Deno.mkdir(bare);
  await writeManifest(project, { private: true, type: "module" });
  await writeManifest(bare, { private: true, type: "commonjs" });

  const written = "dist/npm";
  await writeNpmPackage(written);
  const [packed]: { filename: string }[] = JSON.parse(
    await run(ROOT + written, "npm", ["pack", "--json", "--pack-destination", folder]),
  );
  const tarball = `../${packed!.filename}`;
  const install = ["install", "--no-audit", "--no-fund", tarball];
  await run(project, "npm", [...install, TYPESCRIPT, DAWN]);
  await run(bare, "npm", install);
  return { project, bare };
}

async function writeManifest(folder: string, manifest: object): Promise<void> {
  await Deno.writeTextFile(`${folder}/package.json`, JSON.stringify(manifest));
}

/** Variables with which Dawn takes SwiftShader: it refuses the llvmpipe of older versions of Mesa. */
export async function dawnEnvironment(): Promise<Readonly<Record<string, string>>> {
  return (await (found ??= findAdapter("swiftshader"))).environment;
}

let found: ReturnType<typeof findAdapter> | undefined;
