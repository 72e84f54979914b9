import type { Command } from "commander";
import { CoupletError } from "../src/base/errors.ts";
import type { KernelInfo } from "../src/kernels/kernel.ts";
import { kernelFeatures, parseKernelName } from "../src/kernels/name.ts";
import { BASE_LIMITS, type PlanLimits } from "../src/plan/limits.ts";
import { obstacle } from "../src/kernels/select.ts";
import { type Answer, type Answering, createCommand, EXIT, type Host } from "./command.ts";
import { checkDevice, type DeviceCheck } from "./device_check.ts";
import { kernels } from "./kernels.ts";
import { noAdapter } from "./request_device.ts";
import { formatTable } from "./table.ts";

/** `couplet doctor`. */
export function command(answering: Answering, host: Host): Command {
  return createCommand("doctor", {
    details: "Without an adapter it says why, and what to do.",
    examples: ["doctor", "doctor --json"],
  }).action(answering(() => examine(host)));
}

/** What was found about one adapter. */
interface AdapterFacts {
  readonly name: string;
  /** The first request that returned it. */
  readonly request: string;
  readonly features: readonly string[];
  readonly limits: PlanLimits;
  /** Kernels of the package that run within its limits. */
  readonly kernels: number;
  /** Why each of the others does not. */
  readonly refused: readonly string[];
  /** The result of computing on it, or its error. */
  readonly check: DeviceCheck | { readonly failed: string };
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
    const { description, vendor, architecture, device } = adapter.info;
    const name = description || [vendor, architecture, device].join(" ").trim();
    if (!found.has(name)) found.set(name, await adapterFacts(adapter, name, request));
  }
  return [...found.values()];
}

/** Only the loading of WebGPU fails with an error of this library. */
function webGpuMissing(error: unknown): CoupletError {
  if (error instanceof CoupletError) return error;
  throw error;
}

async function adapterFacts(
  adapter: GPUAdapter,
  name: string,
  request: string,
): Promise<AdapterFacts> {
  // A device consumes its adapter; limits are read first.
  const limits = Object.fromEntries(
    Object.keys(BASE_LIMITS).map((limit) => [limit, adapter.limits[limit as keyof PlanLimits]]),
  ) as unknown as PlanLimits;
  const refused = kernels.flatMap((kernel) =>
    obstacle(kernel, limits) ?? missingFeature(kernel, adapter.features) ?? []
  );
  return {
    name,
    request,
    features: [...adapter.features].sort(),
    limits,
    kernels: kernels.length - refused.length,
    refused,
    check: await checkAdapter(adapter),
  };
}

function missingFeature(
  { name }: KernelInfo,
  features: GPUSupportedFeatures,
): string | undefined {
  const missing = kernelFeatures(parseKernelName(name)).find((feature) => !features.has(feature));
  return missing === undefined ? undefined : `${name} needs the feature ${missing}`;
}

async function checkAdapter(adapter: GPUAdapter): Promise<AdapterFacts["check"]> {
  let device: GPUDevice | undefined;
  try {
    device = await adapter.requestDevice();
    return await checkDevice(device);
  } catch (error) {
    // Anything that a driver throws is a finding.
    return { failed: error instanceof Error ? error.message : String(error) };
  } finally {
    device?.destroy();
  }
}

function describeAdapter(facts: AdapterFacts, width: number): string {
  const { name, request, features, limits, refused, check } = facts;
  return [
    `${name} (${request})`,
    formatTable([
      ["", "features", features.join(", ") || "none"],
      ...Object.entries(limits).map(([limit, value], i) => [
        "",
        i === 0 ? "limits" : "",
        `${limit} ${value}`,
      ]),
      ["", "kernels", `${facts.kernels} of ${kernels.length} run`],
      ...refused.slice(0, 4).map((why) => ["", "", why]),
      ...(refused.length > 4 ? [["", "", `and ${refused.length - 4} more`]] : []),
      ["", "profiles", features.includes("timestamp-query") ? "yes" : "no: no timestamp-query"],
      [
        "",
        "check",
        "failed" in check
          ? `FAILED: ${check.failed}`
          : `${check.kernels.join(", ")}: at most ${check.error.toExponential(1)} off`,
      ],
    ], { width }),
  ].join("\n");
}
