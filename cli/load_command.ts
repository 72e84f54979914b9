/**
 * Loads a command's module only when the command is called: with their imports, commands are most
 * of the package, and help needs none of it.
 */
import { Command } from "commander";
import { extname } from "node:path";
import { type Answering, type Host, ownName } from "./command.ts";
import { type CommandName, SUMMARIES } from "./summaries.ts";

/** The module of a command, whose file has the command's name. */
interface CommandModule {
  readonly command: (answering: Answering, host: Host) => Command;
}

/** A command, with its options and its action only where the arguments name it. */
export async function loadCommand(
  name: CommandName,
  args: readonly string[],
  answering: Answering,
  host: Host,
): Promise<Command> {
  if (!name.split(" ").every((word) => args.includes(word))) {
    return new Command(ownName(name)).description(SUMMARIES[name]);
  }
  // Deno fetches all remote modules that literal specifiers name before it runs a program, even in
  // `import()`. The commands would fetch the kernels, a thousand files. A computed specifier is
  // fetched when it is imported.
  const own = import.meta.url;
  const file = new URL(`./${name.replace(" ", "_")}${extname(own)}`, own);
  const { command }: CommandModule = await import(file.href);
  return command(answering, host);
}
