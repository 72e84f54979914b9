/** Runs the example for Node. */
import { build, stop } from "esbuild";
import { findAdapter, type FoundAdapter, NoAdapterError } from "../../tools/find_adapter.ts";
import { ROOT, runDeno } from "../../tools/project.ts";

const FOLDER = `${ROOT}examples/hosts/node_dawn`;

/**
 * Bundles the example, as Node reads no TypeScript, and runs it.
 *
 * @returns What it wrote.
 * @throws {Error} with what Node wrote where it fails.
 */
export async function runNode(): Promise<string> {
  await runDeno(["install", "--frozen", "--quiet", "--config", `${FOLDER}/deno.json`]);
  const program = `${FOLDER}/dist/main.mjs`;
  await build({
    absWorkingDir: ROOT,
    entryPoints: [`${FOLDER}/main.ts`],
    outfile: program,
    external: ["webgpu"],
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    logLevel: "warning",
  });
  await stop();
  const { environment } = await adapterForDawn();
  const { success, stdout, stderr } = await new Deno.Command("node", {
    args: [program],
    env: { ...environment },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  if (!success) throw new Error(`Node failed: ${text(stderr)}`);
  return text(stdout);
}

/** A GPU, or SwiftShader: Dawn refuses the llvmpipe of older versions of Mesa. */
async function adapterForDawn(): Promise<FoundAdapter> {
  try {
    return await findAdapter("hardware");
  } catch (error) {
    if (!(error instanceof NoAdapterError)) throw error;
    return await findAdapter("swiftshader");
  }
}
