/** What the example commands share: their default model, readers of options and checks, and how errors end them. */
import { CoupletError } from "@couplet/kv";
import { type Command, CommanderError, Option } from "commander";
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
  for (const one of [command, ...command.commands]) one.options.forEach(describeList);
  try {
    command.parse([...argv], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return help;
    throw usageError(what, error.message.replace(/^error: /, ""));
  }
  return undefined;
}

/** An option with a default that is given, and shown in its help, as it is written on a command line. */
export function optionWithDefault<T>(
  flags: string,
  description: string,
  read: (text: string) => T,
  written: string,
): Option {
  // With spaces, where the help may be wrapped.
  const shown = written.replaceAll(/, */g, ", ");
  return new Option(flags, description).argParser(read).default(read(written), shown);
}

/** Shows a default that is a list of words as words, and not as JSON. */
function describeList(option: Option): void {
  const { defaultValue } = option;
  if (!Array.isArray(defaultValue) || option.defaultValueDescription !== undefined) return;
  option.defaultValueDescription = defaultValue.join(", ") || "none";
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
