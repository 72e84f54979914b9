/** What an adapter can run of the package, and what it lacks for the rest. */
import { CoupletError } from "../src/base/errors.ts";
import type { KernelInfo } from "../src/kernels/kernel.ts";
import { kernelFeatures, parseKernelName } from "../src/kernels/name.ts";
import { obstacle, storageBuffers } from "../src/kernels/select.ts";
import { BASE_LIMITS, type PlanLimits } from "../src/plan/limits.ts";
import { planCache } from "../src/plan/plan_cache.ts";
import { parseScheme } from "../src/schemes/parse_scheme.ts";
import type { SchemeId } from "../src/schemes/scheme.ts";
import { checkDevice, type DeviceCheck } from "./device_check.ts";
import { kernels } from "./kernels.ts";

/** What was found about one adapter. */
export interface AdapterFacts {
  readonly name: string;
  /** The first request that returned it. */
  readonly request: string;
  /** Whether it computes on the CPU, by its name. */
  readonly software: boolean;
  readonly features: readonly string[];
  readonly limits: PlanLimits;
  /** Kernels of the package that run on it. */
  readonly kernels: number;
  /** Why each of the others does not. */
  readonly refused: readonly string[];
  /** What the others need: how many kernels by a feature or limit that they lack. */
  readonly lacks: readonly Lack[];
  /** Schemes and head dimensions of the package that no cache can be planned with on it. */
  readonly unplannable: readonly { readonly scheme: SchemeId; readonly headDim: number }[];
  /** The result of computing on it, or its error. */
  readonly check: DeviceCheck | { readonly failed: string };
}

/** What some kernels need and the adapter does not have. */
export interface Lack {
  /** A feature, or a limit. */
  readonly what: string;
  readonly kernels: number;
  /** For limits: the most that one of them needs. */
  readonly needed?: number;
}

/** Finds out all that, and computes on the adapter, which a device consumes. */
export async function adapterFacts(
  adapter: GPUAdapter,
  request: string,
): Promise<AdapterFacts> {
  const limits = Object.fromEntries(
    Object.keys(BASE_LIMITS).map((limit) => [limit, adapter.limits[limit as keyof PlanLimits]]),
  ) as unknown as PlanLimits;
  const { features } = adapter;
  const refused = kernels.flatMap((kernel) =>
    obstacle(kernel, limits) ?? missingFeature(kernel, features) ?? []
  );
  const name = adapterName(adapter);
  return {
    name,
    request,
    software: /llvmpipe|lavapipe|swiftshader|warp|basic render/i.test(name),
    features: [...features].sort(),
    limits,
    kernels: kernels.length - refused.length,
    refused,
    lacks: lacks(limits, features),
    unplannable: unplannable(limits),
    check: await checkAdapter(adapter),
  };
}

/** The adapter's name, as its driver gives it. */
export function adapterName({ info }: GPUAdapter): string {
  const { description, vendor, architecture, device } = info;
  return description || [vendor, architecture, device].join(" ").trim();
}

function missingFeature(
  { name }: KernelInfo,
  features: GPUSupportedFeatures,
): string | undefined {
  const missing = kernelFeatures(parseKernelName(name)).find((feature) => !features.has(feature));
  return missing === undefined ? undefined : `${name} needs the feature ${missing}`;
}

/** What kernels need of a limit. */
const NEEDS: Readonly<Partial<Record<keyof PlanLimits, (kernel: KernelInfo) => number>>> = {
  maxComputeWorkgroupStorageSize: ({ workgroupBytes }) => workgroupBytes,
  maxStorageBuffersPerShaderStage: storageBuffers,
};

function lacks(limits: PlanLimits, features: GPUSupportedFeatures): readonly Lack[] {
  const found = new Map<string, { kernels: number; needed?: number }>();
  const add = (what: string, needed?: number) => {
    const { kernels, needed: before = 0 } = found.get(what) ?? { kernels: 0 };
    found.set(what, {
      kernels: kernels + 1,
      ...(needed === undefined ? {} : { needed: Math.max(before, needed) }),
    });
  };
  for (const kernel of kernels) {
    for (const [limit, need] of Object.entries(NEEDS)) {
      if (need(kernel) > limits[limit as keyof PlanLimits]) add(limit, need(kernel));
    }
    for (const feature of kernelFeatures(parseKernelName(kernel.name))) {
      if (!features.has(feature)) add(feature);
    }
  }
  return [...found].map(([what, counts]) => ({ what, ...counts }));
}

/** Whether a device offers at least what every device must: all kernels without a feature fit that. */
function offersDefaults(limits: PlanLimits): boolean {
  return Object.entries(BASE_LIMITS).every(([limit, least]) =>
    limits[limit as keyof PlanLimits] >= least
  );
}

function unplannable(limits: PlanLimits): AdapterFacts["unplannable"] {
  if (offersDefaults(limits)) return [];
  const encoded = kernels.map(({ name }) => parseKernelName(name))
    .filter(({ family, schemes }) => family === "encode" && !parseScheme(schemes[0]!).forSpans)
    .map(({ schemes, size }) => ({ scheme: schemes[0]!, headDim: size! }));
  const pairs = new Map(encoded.map((one) => [`${one.scheme} ${one.headDim}`, one]));
  return [...pairs.values()].filter((one) => !canPlan(one, limits));
}

function canPlan(
  { scheme, headDim }: { readonly scheme: SchemeId; readonly headDim: number },
  limits: PlanLimits,
): boolean {
  try {
    planCache({
      shape: { layers: 1, queryHeads: 1, keyValueHeads: 1, headDim },
      policy: { keys: scheme, values: scheme },
      keys: { space: "as-scored" },
      tiers: { sinks: 0, window: 0 },
      capacity: { sequences: 1, tokens: 64, sequenceTokens: 64, stepTokens: 1, appendTokens: 1 },
      kernels,
      limits,
    });
    return true;
  } catch (error) {
    if (!(error instanceof CoupletError)) throw error;
    return false;
  }
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
