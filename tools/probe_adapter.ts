/**
 * Reports, as one line of JSON, the adapter that WebGPU gives a process with this environment, after
 * computing something on it: a driver that only lists an adapter is no use. Exits 1 with the reason
 * where there is none. The launcher runs it in a child process, because the environment counts only
 * from a process's start.
 *
 * @module
 */
import { CoupletError } from "../src/base/errors.ts";
import { requestAdapter, runProbe } from "./adapter.ts";

try {
  const { adapter, report } = await requestAdapter();
  await runProbe(adapter);
  console.log(JSON.stringify(report));
} catch (error) {
  // The launcher has its own remedies, so the reason is enough.
  console.error(error instanceof CoupletError ? error.parts.why : String(error));
  Deno.exit(1);
}
