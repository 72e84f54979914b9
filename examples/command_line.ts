/** What the example commands share: their default model, readers of options and checks, and how errors end them. */
import { CoupletError } from "@couplet/kv";
import { type Command, CommanderError, InvalidArgumentError } from "commander";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

/** The project's own small model, beside the tests that check it. */
export const FIXTURE_MODEL: string = fileURLToPath(
  new URL("../tests/fixtures/tiny-llama", import.meta.url),
);

/** A reader of integers of at least `least`. */
export function integerFrom(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || !Number.isSafeInteger(value)) {
      throw new InvalidArgumentError(`It must be an integer from ${least}.`);
    }
    return value;
  };
}

/** An argument that is wrong; `what` cannot be done because of it. */
export function usageError(what: string, why: string): CoupletError {
  return new CoupletError("usage", {
    what,
    why: why.replace(/\.$/, ""),
    remedy: "See --help for all options",
  });
}

/**
 * Reads a command line into `command`, without printing or exiting.
 *
 * @returns The help text where it is asked for.
 * @throws {CoupletError} `usage` where an argument is wrong; a reader's own error as it is.
 */
export function readCommandLine(
  command: Command,
  argv: readonly string[],
  what: string,
): string | undefined {
  let help = "";
  command
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ writeOut: (text) => help += text, writeErr: () => {} });
  try {
    command.parse([...argv], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return help;
    throw usageError(what, error.message.replace(/^error: /, ""));
  }
  return undefined;
}

/**
 * Finds out now, not after minutes of work, that there is no place for a file.
 *
 * @throws {CoupletError} `file` where there is none.
 */
export async function checkWritable(path: string | undefined): Promise<void> {
  if (path === undefined) return;
  const folder = await Deno.stat(dirname(path)).catch(() => undefined);
  const present = await Deno.stat(path).catch(() => undefined);
  if (!folder?.isDirectory || present?.isDirectory) {
    throw new CoupletError("file", {
      what: `Cannot write to ${path}`,
      why: present?.isDirectory ? "it is a folder" : `there is no folder ${dirname(path)}`,
      remedy: "Pass the path of a file in a folder that exists",
    });
  }
}

/** Runs a program; an error a user can mend ends it with a sentence and no stack. */
export async function runProgram(main: (argv: readonly string[]) => Promise<void>): Promise<void> {
  try {
    await main(Deno.args);
  } catch (error) {
    if (!(error instanceof CoupletError)) throw error;
    console.error(error.message);
    Deno.exit(1);
  }
}
