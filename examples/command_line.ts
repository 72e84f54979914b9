/** What the example commands share: their default model, readers of options and checks, and how errors end them. */
import { CoupletError } from "@couplet/kv";
import { type Command, CommanderError } from "commander";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { usageError } from "../cli/arguments.ts";
import { exitCodeOf } from "../cli/command.ts";
import { printable } from "../cli/printable.ts";

export {
  checkWritable,
  integerFrom,
  listOf,
  numberFrom,
  oneOf,
  usageError,
} from "../cli/arguments.ts";
export { printable } from "../cli/printable.ts";

/** The project's own small model, beside the tests that check it. */
export const FIXTURE_MODEL: string = fileURLToPath(
  new URL("../tests/fixtures/tiny-llama", import.meta.url),
);

/** The project's own small vision-language model. */
export const VISION_FIXTURE_MODEL: string = fileURLToPath(
  new URL("../tests/fixtures/tiny-vlm", import.meta.url),
);

/**
 * Reads a command line into `command`, without printing or exiting.
 *
 * @param addCommands Adds commands of the command's own, which inherit that.
 * @returns The help text where it is asked for.
 * @throws {CoupletError} `usage` where an argument is wrong; a reader's own error as it is.
 */
export function readCommandLine(
  command: Command,
  argv: readonly string[],
  what: string,
  addCommands: (command: Command) => void = () => {},
): string | undefined {
  let help = "";
  command
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ writeOut: (text) => help += text, writeErr: () => {} });
  addCommands(command);
  try {
    command.parse([...argv], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return help;
    throw usageError(what, error.message.replace(/^error: /, ""));
  }
  return undefined;
}

/** Runs a program; an error a user can mend ends it with a sentence and no stack, and the exit code of couplet's commands. */
export async function runProgram(main: (argv: readonly string[]) => Promise<void>): Promise<void> {
  try {
    await main(Deno.args);
  } catch (error) {
    if (!(error instanceof CoupletError)) throw error;
    console.error(printable(error.message));
    // Unlike Deno.exit(), it tells a progress bar.
    process.exit(exitCodeOf(error));
  }
}
