import type { Command } from "commander";
import { CoupletError } from "../src/base/errors.ts";
import { type AdapterFacts, adapterFacts, adapterName } from "./adapter_facts.ts";
import { type Answer, type Answering, createCommand, EXIT, type Host } from "./command.ts";
import { describeAdapter } from "./describe_adapter.ts";
import { kernels } from "./kernels.ts";
import { noAdapter } from "./request_device.ts";

/** `couplet doctor`. */
export function command(answering: Answering, host: Host): Command {
  return createCommand("doctor", {
    details: "Without an adapter it says why, and what to do.",
    examples: ["doctor", "doctor --json"],
  }).action(answering(() => examine(host)));
}

/** The ways to ask for an adapter. */
const REQUESTS: Readonly<Record<string, GPURequestAdapterOptions>> = {
  "high-performance": { powerPreference: "high-performance" },
  "low-power": { powerPreference: "low-power" },
  fallback: { forceFallbackAdapter: true },
};

async function examine(host: Host): Promise<Answer> {
  const { runtime } = host;
  const found = await findAdapters(host);
  const adapters = found instanceof CoupletError ? [] : found;
  const missing = found instanceof CoupletError
    ? found
    : adapters.length === 0
    ? noAdapter("Cannot compute on a device", host)
    : adapters.some(({ check }) => !("failed" in check))
    ? undefined
    : new CoupletError("device", {
      what: "Cannot compute on a device",
      why: "no adapter passes the check",
      remedy: "Update the driver, or install another",
    });
  return {
    data: {
      runtime,
      adapters,
      kernels: kernels.length,
      ...(missing === undefined ? {} : { missing: { code: missing.code, ...missing.parts } }),
    },
    text: (width) =>
      [
        runtime,
        ...adapters.map((adapter) => describeAdapter(adapter, width)),
        ...(missing === undefined ? [] : [
          missing.message,
          "Without a device, kernels, plan, generate, snapshot and calibrate --cpu still work",
        ]),
      ].join("\n\n"),
    exitCode: missing === undefined ? EXIT.done : EXIT.device,
  };
}

/** All adapters that WebGPU returns, each once; the error where there is no WebGPU. */
async function findAdapters({ gpu }: Host): Promise<readonly AdapterFacts[] | CoupletError> {
  const found = new Map<string, AdapterFacts>();
  for (const [request, options] of Object.entries(REQUESTS)) {
    const adapter = await gpu?.requestAdapter(options).catch(webGpuMissing);
    if (adapter instanceof CoupletError) return adapter;
    if (!adapter) continue;
    const name = adapterName(adapter);
    if (!found.has(name)) found.set(name, await adapterFacts(adapter, request));
  }
  return [...found.values()];
}

/** Only the loading of WebGPU fails with an error of this library. */
function webGpuMissing(error: unknown): CoupletError {
  if (error instanceof CoupletError) return error;
  throw error;
}
