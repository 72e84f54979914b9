import { having, type Kind, listOf } from "../base/check_options.ts";
import { raise } from "../base/raise.ts";
import type { KernelInfo } from "./kernel.ts";
import { bindingSpace } from "./bindings.ts";
import {
  type KernelFamily,
  type KernelNameParts,
  type KeyVariant,
  parseKernelName,
} from "./name.ts";
import { kernelSetEntry, kernelSetName } from "./set.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { SchemeId } from "../schemes/scheme.ts";

/** The limits of a device that decide whether a kernel runs on it. */
export type KernelLimits = Pick<
  GPUSupportedLimits,
  | "maxComputeWorkgroupStorageSize"
  | "maxStorageBuffersPerShaderStage"
  | "maxComputeInvocationsPerWorkgroup"
>;

/** What a kernel must do. */
export interface KernelQuery {
  /** The family. */
  readonly family: KernelFamily;
  /** Schemes in the order of the name. */
  readonly schemes: readonly SchemeId[];
  /** Channels per head; absent for families whose kernels serve any. */
  readonly headDim?: number;
  /** Variants that fit. Defaults to none. */
  readonly variants?: readonly KeyVariant[];
}

/** What a list of kernels may be. */
export const KERNELS: Kind<readonly KernelInfo[]> = listOf(
  having(
    `a kernel, as ${kernelSetEntry("u8b8_d128")} has`,
    "name",
    "bindings",
    "overrides",
    "load",
  ),
);

/** Storage buffers a kernel binds. */
export function storageBuffers(kernel: KernelInfo): number {
  return kernel.bindings.filter((name) => bindingSpace(name) !== "uniform").length;
}

/** Why a kernel cannot run under `limits`, or undefined where it can. */
export function obstacle(kernel: KernelInfo, limits: KernelLimits): string | undefined {
  if (kernel.workgroupBytes > limits.maxComputeWorkgroupStorageSize) {
    return `${kernel.name} needs ${kernel.workgroupBytes} bytes of workgroup memory and the device offers ${limits.maxComputeWorkgroupStorageSize}`;
  }
  const bound = storageBuffers(kernel);
  if (bound > limits.maxStorageBuffersPerShaderStage) {
    return `${kernel.name} binds ${bound} storage buffers and the device offers ${limits.maxStorageBuffersPerShaderStage}`;
  }
  return undefined;
}

/**
 * Names that were parsed. Plans look at every row several times per layer, and parsing is slower.
 */
const parsed = new WeakMap<KernelInfo, KernelNameParts>();

/** The parts of a row's name. */
export function kernelParts(kernel: KernelInfo): KernelNameParts {
  let parts = parsed.get(kernel);
  if (parts === undefined) parsed.set(kernel, parts = parseKernelName(kernel.name));
  return parts;
}

/** The rows that match a query, on any device. */
export function coveringKernels(
  kernels: readonly KernelInfo[],
  query: KernelQuery,
): KernelInfo[] {
  const schemes = query.schemes.join();
  return kernels.filter((kernel) => {
    const parts = kernelParts(kernel);
    return parts.family === query.family && parts.size === query.headDim &&
      parts.schemes.join() === schemes &&
      (parts.variant === undefined
        ? query.variants === undefined
        : query.variants?.includes(parts.variant) === true);
  });
}

/**
 * The row that matches a query.
 *
 * @throws {CoupletError} `kernel` where there is none, naming the nearest rows, the set that has
 * the wanted one and the command that generates it; `limits` where there is one that the device
 * cannot run.
 */
export function requireKernel(
  kernels: readonly KernelInfo[],
  query: KernelQuery,
  limits: KernelLimits,
): KernelInfo {
  const covering = coveringKernels(kernels, query);
  const kernel = covering.find((kernel) => obstacle(kernel, limits) === undefined);
  if (kernel !== undefined) return kernel;
  const what = `Cannot find a kernel to ${query.family}${
    query.schemes.map((scheme) => ` ${scheme}`).join(" and")
  }${query.headDim === undefined ? "" : ` at head dimension ${query.headDim}`}${
    query.variants?.join() === "anchored" ? ", for anchored keys" : ""
  }`;
  const [beyond] = covering;
  if (beyond !== undefined) {
    raise(
      "limits",
      what,
      obstacle(beyond, limits)!,
      "Request the device with the limits requiredLimits() gives",
    );
  }
  raise(
    "kernel",
    what,
    `none of the ${kernels.length} kernels given does it; the nearest are ${
      nearest(kernels, query)
    }`,
    remedy(query),
  );
}

function remedy({ family, schemes, headDim, variants }: KernelQuery): string {
  if (variants?.join() === "mrope") {
    return 'Hand the keys over as they are scored ({ space: "as-scored" })';
  }
  if (headDim === undefined) return "Pass all kernels of a set: each has this one";
  if (headDim % 16 > 0 || headDim > 512) {
    return "Fill heads up with zeros to a multiple of 16 channels up to 512, and give the model's own scale";
  }
  // Kernels that depend on no scheme are in every set of the head dimension.
  const wanted: readonly SchemeId[] = schemes.length > 0 ? schemes : ["f16"];
  const entry = kernelSetEntry(kernelSetName({ family, schemes: wanted, size: headDim }));
  const flags = wanted.map((scheme) => ` --scheme ${scheme}`).join("");
  return `Pass \`kernels\` of "${entry}" as well or, where there is none, ` +
    `generate them with @couplet/kv/cli: couplet generate${flags} --head-dim ${headDim} --out ./my_kernels`;
}

/**
 * Names of up to four rows of the same family, nearest in bits per channel and then in head
 * dimension.
 */
function nearest(kernels: readonly KernelInfo[], query: KernelQuery): string {
  const rate = (schemes: readonly SchemeId[]) =>
    schemes.reduce((sum, scheme) => sum + parseScheme(scheme).bits, 0);
  const apart = (kernel: KernelInfo) => {
    const { schemes, size = 0 } = kernelParts(kernel);
    return 1e4 * Math.abs(rate(schemes) - rate(query.schemes)) +
      Math.abs(size - (query.headDim ?? 0));
  };
  return kernels
    .filter((kernel) => kernelParts(kernel).family === query.family)
    .sort((a, b) => apart(a) - apart(b))
    .slice(0, 4)
    .map(({ name }) => name)
    .join(", ") || "none";
}
