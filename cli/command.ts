/**
 * What all commands of `couplet` share: options, examples, and answers.
 */
import { Command } from "commander";
import type { CoupletError } from "../src/base/errors.ts";
import { wrapCommandLine } from "./command_words.ts";
import { type CommandName, SUMMARIES } from "./summaries.ts";

/** A command's result. */
export interface Answer {
  /** For programs, printed by `--json`. */
  readonly data: unknown;
  /** For people; by the columns it may take, or as it is, such as a kernel's text. */
  readonly text: string | ((width: number) => string);
  /** Colours the text, from which control characters have been removed. */
  readonly paint?: (text: string) => string;
  /** Defaults to `done` of {@linkcode EXIT}. */
  readonly exitCode?: number;
}

/** Exit codes, the same for all commands. */
export const EXIT = {
  /** Done. */
  done: 0,
  /**
   * It could not be done, or a check failed. The message says what, why and what to do.
   */
  failed: 1,
  /** The command line is wrong; nothing was done. */
  usage: 2,
  /** There is no WebGPU adapter or device to do it on. */
  device: 3,
} as const;

/** The exit code of an error. */
export function exitCodeOf({ code }: CoupletError): number {
  if (code === "usage") return EXIT.usage;
  return code === "device" ? EXIT.device : EXIT.failed;
}

/** Where a command runs. */
export interface Host {
  /** Writes to the standard output, without adding a line's end. */
  readonly write: (text: string) => void;
  /** Writes to the standard error, without adding a line's end. */
  readonly writeError: (text: string) => void;
  /** Whether text may be coloured. */
  readonly colour: boolean;
  /** Columns that text for people may take. */
  readonly width: number;
  /** WebGPU, where the runtime has it or can load it. */
  readonly gpu: Pick<GPU, "requestAdapter"> | undefined;
  /** The runtime's name and version, and its machine. */
  readonly runtime: string;
  /** The operating system, by Node's name. */
  readonly platform: string;
  /** What people type for `couplet`. */
  readonly invocation: string;
  /**
   * The folder of the repository's checkout, with a slash at its end; absent where the package runs
   * without one.
   */
  readonly checkout: URL | undefined;
}

/** Runs actions: registers each with commander, and prints its answer. */
export type Answering = <Args extends readonly unknown[]>(
  action: (...args: Args) => Answer | Promise<Answer>,
) => (...args: Args) => Promise<void>;

/** The texts of a command besides its summary. */
export interface CommandTexts {
  /** What its help says after the summary. */
  readonly details?: string;
  readonly examples: readonly string[];
}

/** A command without its options; all commands have `--json`. */
export function createCommand(
  name: CommandName,
  { details, examples }: CommandTexts,
): Command {
  const summary = SUMMARIES[name];
  return new Command(ownName(name))
    .description(details === undefined ? summary : `${summary}\n${details}`)
    .summary(summary)
    .option("--json", "print JSON, errors included")
    .addHelpText("after", ({ command }) => describeExamples(examples, command));
}

/** A command's examples, as its help has them. */
export function describeExamples(examples: readonly string[], command: Command): string {
  const width = command.configureOutput().getOutHelpWidth?.() ?? Infinity;
  const lines = examples.map((line) => wrapCommandLine(line.split(" "), width));
  return `\nExamples:\n${lines.join("\n")}`;
}

/** A command's name within its group. */
export function ownName(name: CommandName): string {
  return name.split(" ").at(-1)!;
}

/** A command that only holds others. */
export function createGroup(name: string, description: string): Command {
  // Some subcommands pass options on, so options before their names must be parsed separately.
  return new Command(name).description(description).enablePositionalOptions();
}

/** Adds one to a list, for options that may be given several times. */
export function collect<T>(read: (text: string) => T): (text: string, previous: T[]) => T[] {
  return (text, previous) => [...previous, read(text)];
}
