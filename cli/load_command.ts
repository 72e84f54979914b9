/**
 * Loads commands when they are called: with all they import, they are most of the package, and help
 * of all takes none.
 */
import { Command } from "commander";
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
  // Deno fetches what literal specifiers of remote modules name before it runs a program, on demand
  // or not: with the commands come the kernels, a thousand files. Of a specifier that is computed
  // it knows nothing.
  const file = new URL(`./${name.replace(" ", "_")}.ts`, import.meta.url);
  const { command }: CommandModule = await import(file.href);
  return command(answering, host);
}
