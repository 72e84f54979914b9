/** The device the suites measure on, and what must be known of the machine to read their figures. */
import { existsSync } from "node:fs";
import { z } from "zod";
import { OPTIONAL_FEATURES } from "../../mod.ts";
import { describeDevice, requestAdapter, requestTestDevice } from "../../tools/adapter.ts";
import { ADAPTER_KINDS } from "../../tools/adapters.ts";
import { ROOT } from "../../tools/project.ts";

/** Features that kernels or the clock may use, where the adapter has them. */
const FEATURES: readonly GPUFeatureName[] = ["timestamp-query", ...OPTIONAL_FEATURES];

/** A device with every feature of {@linkcode FEATURES} that there is, and the adapter's largest buffers. */
export async function requestBenchDevice(): Promise<GPUDevice> {
  const { adapter } = await requestAdapter();
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  return await requestTestDevice({
    requiredFeatures: FEATURES.filter((name) => adapter.features.has(name)),
    requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
  });
}

/** What figures depend on besides the code and the device. */
const machineSchema = z.object({
  os: z.string(),
  /** Logical processors. */
  processors: z.int(),
  deno: z.string(),
  /** The checkout's commit; null outside a checkout. */
  commit: z.string().nullable(),
  /** Whether the checkout had changes that no commit holds. */
  modified: z.boolean(),
  /** When the run began, ISO 8601. */
  date: z.string(),
});

/** What figures depend on besides the code. */
export const environmentSchema = machineSchema.extend({
  adapter: z.object({ name: z.string(), kind: z.enum(ADAPTER_KINDS), f16: z.boolean() }),
  /** The driver's version; null where the machine does not tell. */
  driver: z.string().nullable(),
  /** Features the device was requested with. */
  features: z.array(z.string()),
  limits: z.object({ maxBufferSize: z.number(), maxStorageBufferBindingSize: z.number() }),
});

/** What figures depend on besides the code and the device. */
export type MachineDescription = z.infer<typeof machineSchema>;

/** What figures depend on besides the code. */
export type Environment = z.infer<typeof environmentSchema>;

/** Describes this machine and this checkout. */
export async function describeMachine(): Promise<MachineDescription> {
  return {
    os: `${Deno.build.os} ${Deno.build.arch}`,
    processors: navigator.hardwareConcurrency,
    deno: Deno.version.deno,
    commit: await git("rev-parse", "HEAD"),
    modified: (await git("status", "--porcelain", "--untracked-files=no") ?? "") !== "",
    date: new Date().toISOString(),
  };
}

/** Describes this machine, its device and this checkout. */
export async function describeEnvironment(device: GPUDevice): Promise<Environment> {
  const { name, kind, f16 } = describeDevice(device);
  const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
  return {
    ...await describeMachine(),
    adapter: { name, kind, f16 },
    driver: await driverVersion(name),
    features: FEATURES.filter((feature) => device.features.has(feature)),
    limits: { maxBufferSize, maxStorageBufferBindingSize },
  };
}

const NVIDIA_VERSION = "/proc/driver/nvidia/version";

/** The driver's version: Mesa's software driver has it in its name, NVIDIA's tells in a file. */
async function driverVersion(adapter: string): Promise<string | null> {
  if (/nvidia/i.test(adapter) && existsSync(NVIDIA_VERSION)) {
    return (await Deno.readTextFile(NVIDIA_VERSION)).split("\n")[0]!.replace(/^.*?:\s*/, "");
  }
  return /\((.*LLVM.*)\)/.exec(adapter)?.[1] ?? null;
}

/** What git prints, or null where there is no git or no checkout. */
async function git(...args: readonly string[]): Promise<string | null> {
  try {
    const { success, stdout } = await new Deno.Command("git", {
      args: [...args],
      cwd: ROOT,
      stderr: "null",
    }).output();
    return success ? new TextDecoder().decode(stdout).trim() : null;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
