/** Commands that run tasks of the repository, which the published package does not hold. */
import { Command } from "commander";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { CoupletError } from "../src/base/errors.ts";
import { describeExamples, EXIT, type Host } from "./command.ts";

/** A task of the repository as a command. */
export interface RepositoryTask {
  /** The command's name. */
  readonly name: string;
  /** The task in `deno.json`. */
  readonly task: string;
  readonly description: string;
  readonly examples: readonly string[];
}

/** A command that passes all its arguments on to a task. */
export function repositoryCommand(
  repositoryTask: RepositoryTask,
  host: Host,
  finish: (exitCode: number) => void,
): Command {
  const { name, task, description, examples } = repositoryTask;
  return new Command(name)
    .description(
      `${description}\nNeeds a checkout of the repository. Arguments and paths are those of deno task ${task}.`,
    )
    .summary(description)
    .argument("[arguments...]", `passed on; deno task ${task} --help lists them`)
    .allowUnknownOption()
    .passThroughOptions()
    .addHelpText("after", ({ command }) => describeExamples(examples, command))
    .action(async (args: string[]) => finish(await runTask(repositoryTask, args, host)));
}

async function runTask(
  { task }: RepositoryTask,
  args: readonly string[],
  { checkout }: Host,
): Promise<number> {
  if (checkout === undefined) {
    throw new CoupletError("file", {
      what: `Cannot run the task ${task}`,
      why: "it is a program of the repository, which the published package does not hold",
      remedy: `Clone the repository and run deno task ${task} there`,
    });
  }
  const config = fileURLToPath(new URL("deno.json", checkout));
  const child = spawn(process.execPath, ["task", "--quiet", "--config", config, task, ...args], {
    stdio: "inherit",
  });
  const [code] = await once(child, "exit");
  return Object.values<number>(EXIT).includes(code) ? code : EXIT.failed;
}
