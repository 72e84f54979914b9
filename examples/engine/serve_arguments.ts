import { Command } from "commander";
import { integerFrom, readCommandLine, usageError } from "../command_line.ts";
import { addCacheOptions, type CacheArguments, checkCacheArguments } from "./cache_arguments.ts";

/** What the command line asks for. */
export interface ServeArguments extends CacheArguments {
  /** The texts to continue. */
  readonly prompts: readonly string[];
  /** What all of them begin with, or `@` and the file that holds it. */
  readonly prefix?: string;
  /** Directory in which prefixes are stored. */
  readonly store?: string;
  /** Most tokens to draft for each prompt and pass. */
  readonly draft: number;
  /** Most tokens to add to each prompt. */
  readonly tokens: number;
}

const WHAT = "Cannot serve";

/**
 * The options and prompts that a command line gives, or the help text it asks for.
 *
 * @throws {CoupletError} `usage` or `scheme`, where an argument is wrong.
 */
export function parseServeArguments(
  argv: readonly string[],
): { readonly options: ServeArguments } | { readonly help: string } {
  const command = addCacheOptions(
    new Command("serve")
      .description("Continues several texts together, by the likeliest tokens.")
      .argument("<prompts...>", "the texts to continue")
      .option("--prefix <text>", "what all of them begin with, or @ and a file that holds it")
      .option("--store <dir>", "where the prefix is looked for, and stored once it is computed")
      .option("--draft <n>", "most tokens to draft for each text and pass", integerFrom(0), 4)
      .option("--tokens <n>", "most tokens to add to each text", integerFrom(1), 64),
  );
  const help = readCommandLine(command, argv, WHAT);
  if (help !== undefined) return { help };
  const options: ServeArguments = { ...command.opts(), prompts: command.args };
  checkCacheArguments(options, WHAT);
  if (options.store !== undefined && options.prefix === undefined) {
    throw usageError(WHAT, "--store is given and no --prefix that it could hold");
  }
  if (options.prefix === "" || options.prompts.includes("")) {
    throw usageError(WHAT, "a prompt or the prefix is empty");
  }
  return { options };
}
