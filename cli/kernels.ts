/** The kernels that commands speak of, by name. */
import type { Command } from "commander";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { z } from "zod";
import { manifest } from "../generated/manifest.ts";
import { CoupletError } from "../src/base/errors.ts";
import type { KernelInfo } from "../src/kernels/kernel.ts";
import { parseKernelName } from "../src/kernels/name.ts";
import type { SchemeId } from "../src/schemes/scheme.ts";
import { collect } from "./command.ts";
import { checkFile } from "./files.ts";
import { nearestText } from "./nearest.ts";

/** Every kernel the package has. */
export const kernels: readonly KernelInfo[] = manifest;

/** What {@linkcode addKernelsOption} adds. */
export interface KernelsArguments {
  /** Manifests of other kernels. */
  readonly kernels: readonly string[];
}

/** Adds the option that {@linkcode loadKernels} reads. */
export function addKernelsOption(command: Command): Command {
  return command.option(
    "--kernels <manifest>",
    "kernels of your own besides: a manifest of couplet generate (repeatable)",
    collect(String),
    [],
  );
}

const manifestSchema = z.object({
  manifest: z.array(z.object({
    name: z.string(),
    bindings: z.array(z.string()),
    workgroupBytes: z.number(),
    load: z.function(),
  })),
});

/**
 * The package's kernels and those of manifests that couplet generate wrote; where names are equal,
 * the package's are used.
 *
 * @throws {CoupletError} `file` where a module cannot be loaded, or has no manifest.
 */
export async function loadKernels(args: KernelsArguments): Promise<readonly KernelInfo[]> {
  const all = new Map(kernels.map((kernel) => [kernel.name, kernel]));
  for (const path of args.kernels) {
    for (const kernel of await loadManifest(path)) {
      if (!all.has(kernel.name)) all.set(kernel.name, kernel);
    }
  }
  return [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function loadManifest(path: string): Promise<readonly KernelInfo[]> {
  const remedy = "Give the manifest.ts or manifest.js of a folder that couplet generate wrote";
  await checkFile(path, { what: `the kernels of ${path}`, remedy });
  try {
    const module = await import(pathToFileURL(resolve(path)).href);
    manifestSchema.parse(module);
    const own: readonly KernelInfo[] = module.manifest;
    for (const { name } of own) parseKernelName(name);
    return own;
  } catch (cause) {
    throw new CoupletError("file", {
      what: `Cannot use the kernels of ${path}`,
      why: cause instanceof z.ZodError
        ? "it exports no manifest of kernels"
        : cause instanceof Error
        ? cause.message.split("\n", 1)[0]!
        : String(cause),
      remedy,
    }, { cause });
  }
}

/**
 * The kernel of that name among `kernels`.
 *
 * @throws {CoupletError} `kernel` where there is none, with the nearest names.
 */
export function findKernel(kernels: readonly KernelInfo[], name: string): KernelInfo {
  const kernel = kernels.find((one) => one.name === name);
  if (kernel !== undefined) return kernel;
  const names = kernels.map((one) => one.name);
  const family = names.filter((one) => one.startsWith(`${name.split("_")[0]}_`));
  throw new CoupletError("kernel", {
    what: `Cannot find the kernel "${name}"`,
    why: `none of the ${kernels.length} kernels has that name${
      nearestText(name, family.length > 0 ? family : names)
    }`,
    remedy: "List them with couplet kernels list, or generate one with couplet generate",
  });
}

/** The schemes that have kernels, each once, in alphabetical order. */
export function kernelSchemes(kernels: readonly KernelInfo[]): readonly SchemeId[] {
  return [...new Set(kernels.flatMap(({ name }) => parseKernelName(name).schemes))].sort();
}
