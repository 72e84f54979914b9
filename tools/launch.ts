/**
 * Finds a WebGPU adapter, says which, and starts a program in the environment it needs.
 *
 * Usage: `deno run -A tools/launch.ts COMMAND [--adapter hardware|llvmpipe|swiftshader] [ARGUMENTS]`,
 * where COMMAND is
 *
 * - `run FILE`: a program
 * - `test`: Deno's test runner, on `tests/` unless the arguments name other files
 * - `adapter`: nothing but the adapter's line
 *
 * All other arguments are passed on.
 *
 * @module
 */
import { ADAPTER_VARIABLE } from "./adapter.ts";
import { adapterLine, takeAdapterChoice } from "./adapters.ts";
import { findAdapter, NoAdapterError } from "./find_adapter.ts";
import { commandArguments } from "./launch_arguments.ts";
import { launchEnvironment, TEST_ENVIRONMENT } from "./launch_environment.ts";

try {
  Deno.exit(await launch(Deno.args));
} catch (error) {
  if (!(error instanceof NoAdapterError || error instanceof RangeError)) throw error;
  console.error(error.message);
  // As couplet's commands end: 2 for a wrong command line, 3 where there is nothing to run on.
  Deno.exit(error instanceof NoAdapterError ? 3 : 2);
}

async function launch(args: readonly string[]): Promise<number> {
  const { choice, rest } = takeAdapterChoice(args);
  const [command, ...others] = rest;
  const programArguments = commandArguments(command, others);
  const { report, environment } = await findAdapter(choice);
  console.error(adapterLine(report));
  if (programArguments === undefined) return 0;
  // By path, not as "deno": started through npx, deno need not be on PATH.
  const child = new Deno.Command(Deno.execPath(), {
    args: programArguments,
    env: launchEnvironment(Deno.env.toObject(), {
      ...environment,
      ...(command === "test" ? TEST_ENVIRONMENT : {}),
      [ADAPTER_VARIABLE]: report.name,
    }),
  }).spawn();
  // An interrupt from the keyboard reaches the child as well; the launcher waits for its end.
  Deno.addSignalListener("SIGINT", () => {});
  if (Deno.build.os !== "windows") {
    Deno.addSignalListener("SIGTERM", () => child.kill("SIGTERM"));
  }
  const { code, signal } = await child.status;
  if (signal !== null) console.error(`The program was ended by ${signal}`);
  return code;
}
