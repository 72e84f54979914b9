/**
 * The command line: `deno run -A jsr:@couplet/kv/cli --help`, or `deno task couplet --help` in a
 * checkout.
 *
 * ```sh
 * deno run -A jsr:@couplet/kv/cli plan config.json --scheme u8b8 --tokens 8192
 * ```
 *
 * Exit codes are 0 for success, 1 where a command could not be done, 2 where the command line is
 * wrong, and 3 where there is no WebGPU adapter or device. With `--json` a command prints one JSON
 * document on its standard output, errors included: `{ "error": { "code", "what", "why", "remedy" }
 * }`.
 *
 * It runs under Deno. Commands that compute on a device need `--unstable-webgpu`.
 *
 * @module
 */
import { existsSync } from "node:fs";
import type { Host } from "./command.ts";
import { runCommandLine } from "./program.ts";

/**
 * Mesa looks for a Wayland display, and prints an error each time where no folder for its socket is
 * named, as on a machine without a desktop.
 */
function nameRuntimeFolder(): void {
  if (Deno.build.os !== "linux" || Deno.env.get("XDG_RUNTIME_DIR")) return;
  Deno.env.set("XDG_RUNTIME_DIR", "/nonexistent");
}

/** The process this runs in. */
function processHost(): Host {
  const checkout = new URL("../", import.meta.url);
  return {
    write: (text) => writeAll(Deno.stdout, text),
    writeError: (text) => writeAll(Deno.stderr, text),
    colour: Deno.stdout.isTerminal() && !Deno.noColor,
    width: Deno.stdout.isTerminal() ? Deno.consoleSize().columns : 100,
    gpu: navigator.gpu,
    checkout: isCheckout(checkout) ? checkout : undefined,
  };
}

/** Whether a folder is a checkout and not the published package. */
function isCheckout(folder: URL): boolean {
  return folder.protocol === "file:" && existsSync(new URL("tools/launch.ts", folder));
}

/** Writes a whole text. The program ends when the reader has closed the pipe, as `head` does. */
function writeAll(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += stream.writeSync(bytes.subarray(at));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) Deno.exit(0);
    throw error;
  }
}

if (import.meta.main) {
  nameRuntimeFolder();
  Deno.exit(await runCommandLine(Deno.args, processHost()));
}
