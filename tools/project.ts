/**
 * Runs the small projects beside this file. Each has a big npm package that only some tasks need, so
 * each has its own `deno.json` and lock file, and is installed on its first run.
 *
 * @module
 */
import { fileURLToPath } from "node:url";

/** The checkout's folder, with a slash at its end. */
export const ROOT: string = fileURLToPath(new URL("../", import.meta.url));

/** What a child process is given besides its arguments. */
export interface RunOptions {
  /** What it reads on standard input. */
  readonly input?: string;
  /** Variables besides this process's own. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Ends it. */
  readonly signal?: AbortSignal;
}

/** What a process wrote. */
export interface ProgramOutput {
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a file of such a project in a process of its own.
 *
 * @param project Its folder's name.
 * @param file The file to run.
 * @param args The file's arguments.
 * @returns What it wrote on standard output.
 * @throws {Error} with the process's own reason where it fails.
 */
export async function runProject(
  project: string,
  file: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  return (await projectOutput(project, file, args, options)).stdout;
}

/** As {@linkcode runProject}, with what it wrote on standard error. */
export async function projectOutput(
  project: string,
  file: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<ProgramOutput> {
  const folder = `${ROOT}tools/${project}`;
  return await denoOutput(
    ["run", "-A", "--frozen", "--config", `${folder}/deno.json`, `${folder}/${file}`, ...args],
    options,
  );
}

/**
 * Runs Deno in a child process.
 *
 * @returns What it wrote on standard output.
 * @throws {Error} with the reason it gave where it fails.
 */
export async function runDeno(
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  return (await denoOutput(args, options)).stdout;
}

async function denoOutput(
  args: readonly string[],
  options: RunOptions,
): Promise<ProgramOutput> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args],
    env: { ...options.environment, NO_COLOR: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  }).spawn();
  const input = new Blob([options.input ?? ""]).stream();
  // A child that ends early breaks the pipe; its own error says more.
  const [{ success, signal, ...output }] = await Promise.all([
    child.output(),
    input.pipeTo(child.stdin).catch(() => {}),
  ]);
  const [stdout, stderr] = [output.stdout, output.stderr].map((bytes) =>
    new TextDecoder().decode(bytes)
  );
  if (!success) throw new Error(failureReason(stderr!, signal));
  return { stdout: stdout!, stderr: stderr! };
}

/** Deno's own "error: ..." line where there is one, else the last line, else the signal. */
function failureReason(stderr: string, signal: Deno.Signal | null): string {
  const lines = stderr.trim().split("\n");
  // Mesa's complaint about this variable looks like an error of Deno, and is none.
  const error = lines.find((line) => /^error: (?!XDG)/.test(line));
  return error?.slice("error: ".length) || lines.at(-1) || `ended by ${signal}`;
}
