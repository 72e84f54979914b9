import { Command } from "commander";
import { integerFrom, readCommandLine, usageError } from "../command_line.ts";

/** What the command line asks for. */
export interface ExplorerArguments {
  /** Port to serve on; 0 for any that is free. */
  readonly port: number;
  /** Whether to build and serve nothing. */
  readonly build: boolean;
}

const WHAT = "Cannot start the kernel explorer";

/** Where the page is served if nothing is said. */
const DEFAULT_PORT = 8420;

/**
 * The options that a command line gives, or the help text it asks for.
 *
 * @throws {CoupletError} `usage` where an argument is wrong.
 */
export function parseArguments(
  argv: readonly string[],
): { readonly options: ExplorerArguments } | { readonly help: string } {
  const command = new Command("explorer")
    .description(
      "Builds the kernel explorer, a page of static files, into dist/explorer and serves it on\n" +
        "this machine.",
    )
    .option("--port <number>", "port to serve on, 0 for any", integerFrom(0), DEFAULT_PORT)
    .option("--build", "build and serve nothing", false)
    .addHelpText(
      "after",
      "\nExamples:\n  deno task explorer\n  deno task explorer --port 9000\n" +
        "  deno task explorer --build    # then put dist/explorer on any file server",
    );
  const help = readCommandLine(command, argv, WHAT);
  if (help !== undefined) return { help };
  const options = command.opts<ExplorerArguments>();
  if (options.port > 65535) throw usageError(WHAT, `${options.port} is no port`);
  return { options };
}
