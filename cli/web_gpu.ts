/** WebGPU of the runtime, or of the npm package `webgpu`, which is Dawn. */
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { CoupletError } from "../src/base/errors.ts";
import type { Host } from "./command.ts";

/** The npm package. Its name is no literal where it is imported, so that Deno does not fetch it. */
const DAWN = "webgpu";

interface Dawn {
  create(flags: string[]): GPU;
  readonly globals: Readonly<Record<string, unknown>>;
}

/** WebGPU of this process. Node's is loaded when an adapter is requested. */
export function findWebGpu(): Host["gpu"] {
  const { gpu } = globalThis.navigator ?? {};
  if (gpu !== undefined || process.versions.deno !== undefined) return gpu;
  return { requestAdapter: async (options) => await (await loadDawn()).requestAdapter(options) };
}

/** Dawn crashes when the collector takes an object that it still uses. */
let dawn: GPU | undefined;

async function loadDawn(): Promise<GPU> {
  if (dawn === undefined) {
    const { create, globals } = await importDawn();
    Object.assign(globalThis, globals);
    dawn = create([]);
  }
  return dawn;
}

/**
 * The package beside this one, or in the current folder: `npx` runs programs in a folder of their
 * own.
 */
async function importDawn(): Promise<Dawn> {
  try {
    return await import(DAWN);
  } catch (cause) {
    if (!isMissing(cause)) throw unusable(cause);
  }
  try {
    const require = createRequire(join(process.cwd(), "package.json"));
    return await import(pathToFileURL(require.resolve(DAWN)).href);
  } catch (cause) {
    throw isMissing(cause) ? notInstalled(cause) : unusable(cause);
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error &&
    (error.code === "ERR_MODULE_NOT_FOUND" || error.code === "MODULE_NOT_FOUND");
}

const WHAT = "Cannot compute on a device";

function notInstalled(cause: unknown): CoupletError {
  return new CoupletError("device", {
    what: WHAT,
    why: "Node has no WebGPU of its own, and the npm package webgpu is not installed",
    remedy: "Install it beside: npm install webgpu",
  }, { cause });
}

function unusable(cause: unknown): CoupletError {
  return new CoupletError("device", {
    what: WHAT,
    why: `the npm package webgpu cannot be loaded: ${
      cause instanceof Error ? cause.message : cause
    }`,
    remedy: "Install the newest: npm install webgpu@latest",
  }, { cause });
}
