import { Command } from "commander";
import { integerFrom, numberFrom, readCommandLine } from "../command_line.ts";
import { addCacheOptions, type CacheArguments, checkCacheArguments } from "./cache_arguments.ts";

/** What the command line asks for. */
export interface ChatOptions extends CacheArguments {
  /** The text to continue. */
  readonly prompt: string;
  /** Most tokens to add. */
  readonly tokens: number;
  /** 0 for the likeliest token. */
  readonly temperature: number;
  /** Whether the text may outgrow the model's context: its oldest tokens are then forgotten. */
  readonly shift: boolean;
}

const WHAT = "Cannot start";

/**
 * The options that a command line gives, or the help text it asks for.
 *
 * @throws {CoupletError} `usage` or `scheme`, where an argument is wrong.
 */
export function parseArguments(
  argv: readonly string[],
): { readonly options: ChatOptions } | { readonly help: string } {
  const command = addCacheOptions(
    new Command("chat")
      .description("Continues a text with a compressed KV cache.")
      .option("--prompt <text>", "the text to continue", "It was the best of times")
      .option("--tokens <n>", "most tokens to add", integerFrom(0), 64)
      .option("--temperature <t>", "0 takes the likeliest token", numberFrom(0), 0)
      .option(
        "--shift",
        "forget the oldest tokens where the text outgrows the model's context",
        false,
      ),
  );
  const help = readCommandLine(command, argv, WHAT);
  if (help !== undefined) return { help };
  const options = command.opts<ChatOptions>();
  checkCacheArguments(options, WHAT);
  return { options };
}
