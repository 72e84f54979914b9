/**
 * The arguments with which the launcher starts Deno.
 *
 * @module
 */
import { existsSync } from "node:fs";

/**
 * Deno's arguments for one of the launcher's commands.
 *
 * @param command `run`, `test` or `adapter`.
 * @param args What follows it.
 * @returns The arguments, or `undefined` where nothing is to be started.
 * @throws {RangeError} for any other command, and for `run` without a file.
 */
export function commandArguments(
  command: string | undefined,
  args: readonly string[],
): string[] | undefined {
  if (command === "adapter") return undefined;
  if (command === "run") {
    if (args[0] === undefined) throw new RangeError("run needs a file");
    return ["run", "-A", ...args];
  }
  if (command !== "test") {
    throw new RangeError(`Command must be run, test or adapter: current value is ${command}`);
  }
  // Everything from "--" on belongs to the tests themselves.
  const own = args.slice(0, args.includes("--") ? args.indexOf("--") : undefined);
  // A file that is not there counts as named: the runner reports it, instead of running all others.
  const named = own.some((arg) => !arg.startsWith("-") && (arg.endsWith(".ts") || existsSync(arg)));
  return ["test", "-A", "--parallel", ...(named ? [] : ["tests/"]), ...args];
}
