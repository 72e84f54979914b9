import { Command } from "commander";
import { integerFrom, readCommandLine, usageError } from "../command_line.ts";
import {
  addCacheOptions,
  type CacheArguments,
  checkCacheArguments,
} from "../engine/cache_arguments.ts";

/** What the command line asks for; both processes read the same one. */
export interface ServeManyArguments extends CacheArguments {
  /** Address of the Valkey or Redis server. */
  readonly server: string;
  /** What all prompts begin with, or `@` and the file that holds it; an address of 1862 where absent. */
  readonly prefix?: string;
  /** Most tokens of it. */
  readonly prefixTokens: number;
  /** The text that follows the prefix. */
  readonly prompt: string;
  /** Most tokens to add. */
  readonly tokens: number;
  /** What names in the server begin with; new ones for each run where absent. */
  readonly name?: string;
}

const WHAT = "Cannot serve";

/**
 * The options that a command line gives, or the help text it asks for.
 *
 * @throws {CoupletError} `usage` or `scheme`, where an argument is wrong.
 */
export function parseServeManyArguments(
  argv: readonly string[],
): { readonly options: ServeManyArguments } | { readonly help: string } {
  const command = addCacheOptions(
    new Command("serve-many")
      .description("Shares a prompt's prefix among processes through Valkey or Redis.")
      .option("--server <url>", "the server", "redis://localhost:6379")
      .option("--prefix <text>", "what all prompts begin with, or @ and a file that holds it")
      .option("--prefix-tokens <n>", "most tokens of it", integerFrom(1), 400)
      .option("--prompt <text>", "what follows it", " In conclusion,")
      .option("--tokens <n>", "most tokens to add", integerFrom(1), 16)
      .option("--name <prefix>", "what names in the server begin with"),
  );
  const help = readCommandLine(command, argv, WHAT);
  if (help !== undefined) return { help };
  const options = command.opts<ServeManyArguments>();
  checkCacheArguments(options, WHAT);
  if (options.prefix === "" || options.prompt === "") {
    throw usageError(WHAT, "the prompt or the prefix is empty");
  }
  return { options };
}
