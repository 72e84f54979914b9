import { Command } from "commander";
import { resolve } from "node:path";
import { integerFrom, readCommandLine, usageError } from "../command_line.ts";

/** What the command line asks for. */
export interface PlaygroundArguments {
  /** Port to serve on; 0 for any that is free. */
  readonly port: number;
  /** Folder to build into, without serving it; none to serve the page. */
  readonly out?: string;
}

const WHAT = "Cannot start the playground";

/** Where the page is served if nothing is said. */
const DEFAULT_PORT = 8430;

/**
 * The options that a command line gives, or the help text it asks for.
 *
 * @throws {CoupletError} `usage` where an argument is wrong.
 */
export function parseArguments(
  argv: readonly string[],
): { readonly options: PlaygroundArguments } | { readonly help: string } {
  const command = new Command("playground")
    .description(
      "Builds the playground, a page of static files on which a small model writes with its cache\n" +
        "in f16 and in few bits, and serves it on this machine.",
    )
    .option("--port <number>", "port to serve on, 0 for any", integerFrom(0), DEFAULT_PORT)
    .option("--out <dir>", "build into this folder, whose content is replaced, and serve nothing")
    .addHelpText(
      "after",
      "\nExamples:\n  deno task playground\n  deno task playground --port 9000\n" +
        "  deno task playground --out site    # then put the folder on any file server",
    );
  const help = readCommandLine(command, argv, WHAT);
  if (help !== undefined) return { help };
  const { port, out } = command.opts<PlaygroundArguments>();
  if (port > 65535) throw usageError(WHAT, `${port} is no port`);
  if (out === "") throw usageError(WHAT, "--out names no folder");
  return { options: { port, ...(out === undefined ? {} : { out: resolve(out) }) } };
}
