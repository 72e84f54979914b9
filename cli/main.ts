/**
 * The command line: `npx @couplet/kv --help` in Node, `deno run -A jsr:@couplet/kv/cli --help` in
 * Deno, or `deno task couplet --help` in a checkout.
 *
 * ```sh
 * npx @couplet/kv plan config.json --scheme u8b8 --tokens 8192
 * ```
 *
 * Exit codes are 0 for success, 1 where a command could not be done, 2 where the command line is
 * wrong, and 3 where there is no WebGPU adapter or device. With `--json` a command prints one JSON
 * document on its standard output, errors included: `{ "error": { "code", "what", "why", "remedy" }
 * }`.
 *
 * Commands that compute on a device need `--unstable-webgpu` in Deno, and the npm package `webgpu` in
 * Node.
 *
 * @module
 */
import { existsSync } from "node:fs";
import process from "node:process";
import type { Host } from "./command.ts";
import { outputWidth } from "./output_width.ts";
import { runCommandLine } from "./program.ts";
import { findWebGpu } from "./web_gpu.ts";

const { deno, node } = process.versions;

/**
 * Mesa looks for a Wayland display, and prints an error each time where no folder for its socket is
 * named, as on a machine without a desktop.
 */
function nameRuntimeFolder(): void {
  if (process.platform !== "linux" || process.env.XDG_RUNTIME_DIR) return;
  process.env.XDG_RUNTIME_DIR = "/nonexistent";
}

/** The process this runs in. */
function processHost(): Host {
  const { stdout, stderr, env, platform, arch } = process;
  const folder = new URL("../", import.meta.url);
  const checkout = isCheckout(folder) ? folder : undefined;
  return {
    write: (text) => void stdout.write(text),
    writeError: (text) => void stderr.write(text),
    colour: stdout.isTTY && !env.NO_COLOR,
    width: outputWidth(),
    gpu: findWebGpu(),
    runtime: `${deno === undefined ? `Node ${node}` : `Deno ${deno}`} on ${platform} ${arch}`,
    platform,
    invocation: deno === undefined
      ? "npx @couplet/kv"
      : checkout === undefined
      ? "deno run -A --unstable-webgpu jsr:@couplet/kv/cli"
      : "deno task couplet",
    checkout,
  };
}

/** Whether a folder is a checkout and not the published package. */
function isCheckout(folder: URL): boolean {
  return folder.protocol === "file:" && existsSync(new URL("tools/launch.ts", folder));
}

/** Runs the command line of this process, and ends it. */
export async function main(): Promise<never> {
  nameRuntimeFolder();
  const { stdout } = process;
  // The reader has closed the pipe, as `head` does.
  stdout.on("error", ({ code }: NodeJS.ErrnoException) => process.exit(code === "EPIPE" ? 0 : 1));
  const exitCode = await runCommandLine(process.argv.slice(2), processHost());
  await new Promise((written) => stdout.write("", written));
  // Dawn's threads would keep the process alive.
  process.exit(exitCode);
}

if (import.meta.main) await main();
