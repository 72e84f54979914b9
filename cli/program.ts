/** The command line as a whole: its commands, and how they end. */
import { type Command, CommanderError } from "commander";
import { CoupletError } from "../src/base/errors.ts";
import { VERSION } from "../src/base/version.ts";
import { usageError } from "./arguments.ts";
import {
  type Answer,
  type Answering,
  createGroup,
  EXIT,
  exitCodeOf,
  type Host,
} from "./command.ts";
import { loadCommand } from "./load_command.ts";
import { printable } from "./printable.ts";
import { repositoryCommand, type RepositoryTask } from "./repository.ts";
import type { CommandName } from "./summaries.ts";
import { wrapLines } from "./table.ts";

const EXIT_CODES = `
Exit codes:
  ${EXIT.done}  done
  ${EXIT.failed}  it could not be done; the message says what, why and what to do
  ${EXIT.usage}  the command line is wrong
  ${EXIT.device}  there is no WebGPU adapter or device to do it on`;

const CALIBRATE_TEXT: RepositoryTask = {
  name: "text",
  task: "calibrate",
  description: "Learns codebooks of a model of the Llama family, as it reads a text.",
  examples: ["calibrate text --model ./Llama-3.2-1B --schemes c4b8 --out codebooks.safetensors"],
};

const EVAL: RepositoryTask = {
  name: "eval",
  task: "eval",
  description: "Measures what compression costs a model: quality, retrieval, errors.",
  examples: ["eval --schemes c4b8,c8b8 --json figures.json"],
};

const BENCH: RepositoryTask = {
  name: "bench",
  task: "bench",
  description: "Times attention beside f16 on shapes of real models, and more.",
  examples: ["bench --quick", "bench host"],
};

/**
 * Runs one command line.
 *
 * @param args The arguments, without the program's name.
 * @returns The exit code.
 * @throws Any other error than {@linkcode CoupletError} is a defect of this program.
 */
export async function runCommandLine(args: readonly string[], terminal: Host): Promise<number> {
  const json = args.includes("--json");
  let exitCode: number = EXIT.done;
  const { width } = terminal;
  const host: Host = {
    ...terminal,
    write: (text) => terminal.write(printable(text)),
    writeError: (text) => terminal.writeError(printable(text)),
  };
  const answering: Answering = (action) => async (...given) => {
    const { data, text, paint, exitCode: code = EXIT.done }: Answer = await action(...given);
    if (json) host.write(`${JSON.stringify(data, null, 2)}\n`);
    else {
      const shown = printable(typeof text === "string" ? text : wrapLines(text(width), width));
      terminal.write(`${paint === undefined ? shown : paint(shown)}\n`);
    }
    exitCode = code;
  };
  try {
    const program = await createProgram(args, answering, host, (code) => exitCode = code);
    await program.parseAsync([...args], { from: "user" });
    return exitCode;
  } catch (thrown) {
    const error = thrown instanceof CommanderError ? commandLineError(thrown) : thrown;
    if (error === undefined) return EXIT.done;
    if (!(error instanceof CoupletError)) throw error;
    if (json) host.write(`${JSON.stringify({ error: describeError(error) }, null, 2)}\n`);
    else host.writeError(`${indented(error.message)}\n`);
    return exitCodeOf(error);
  }
}

async function createProgram(
  args: readonly string[],
  answering: Answering,
  host: Host,
  finish: (exitCode: number) => void,
): Promise<Command> {
  const load = (name: CommandName) => loadCommand(name, args, answering, host);
  const task = (repositoryTask: RepositoryTask) => repositoryCommand(repositoryTask, host, finish);
  const program = createGroup(
    "couplet",
    "KV-cache compression for WebGPU: kernels, plans, codebooks and snapshots.",
  )
    .addHelpText("after", EXIT_CODES)
    .addCommand(
      createGroup("kernels", "Lists, shows, explains and compares kernels.")
        .addCommand(await load("kernels list"))
        .addCommand(await load("kernels show"))
        .addCommand(await load("kernels explain"))
        .addCommand(await load("kernels diff")),
    )
    .addCommand(await load("generate"))
    .addCommand(await load("plan"))
    .addCommand(
      createGroup("calibrate", "Learns codebooks, from samples or on a text.")
        .addCommand(await load("calibrate samples"))
        .addCommand(task(CALIBRATE_TEXT)),
    )
    .addCommand(task(EVAL))
    .addCommand(task(BENCH))
    .addCommand(
      createGroup("codebooks", "Looks into files of codebooks.")
        .addCommand(await load("codebooks info"))
        .addCommand(await load("codebooks verify")),
    )
    .addCommand(
      createGroup("snapshot", "Looks into snapshots of sequences.")
        .addCommand(await load("snapshot info")),
    )
    .addCommand(await load("doctor"));
  settle(program, host);
  program.version(VERSION, "--version", "print the version");
  return program;
}

/** Settings that commander does not inherit to commands that were created separately. */
function settle(command: Command, host: Host): void {
  command
    .exitOverride()
    .allowExcessArguments(false)
    .addHelpText("after", `\ncouplet is ${host.invocation} here.`)
    // Commands that were not loaded have no options or arguments to list.
    .configureHelp({ subcommandTerm: (listed) => listed.name() })
    .configureOutput({
      writeOut: host.write,
      // Errors are printed once, by `runCommandLine`; a group of commands without one prints its
      // help as an error.
      writeErr: command.commands.length > 0 ? host.writeError : () => {},
      outputError: () => {},
      getOutHelpWidth: () => host.width,
      getErrHelpWidth: () => host.width,
    });
  for (const child of command.commands) settle(child, host);
}

/** The error of a command line; undefined where it asked for help. */
function commandLineError(error: CommanderError): CoupletError | undefined {
  if (error.exitCode === 0) return undefined;
  if (error.code === "commander.help") {
    return usageError("Cannot run couplet", "no command was given");
  }
  return usageError(
    "Cannot read the command line",
    error.message.replace(/^error: /, "").replaceAll(/\s*\n\s*/g, " "),
  );
}

/** A message with its further lines indented, so that they do not look like other messages. */
function indented(message: string): string {
  return message.replaceAll("\n", "\n  ");
}

function describeError({ code, parts }: CoupletError) {
  return { code, ...parts };
}
