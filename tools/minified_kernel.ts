/**
 * What packages and bundles hold of kernels, so that `generated/` stays readable.
 *
 * @module
 */
import { pathToFileURL } from "node:url";
import { minifyWgsl } from "./minify_wgsl.ts";

/** How the module of a generated kernel ends. */
export const KERNEL_MODULE = /\.wgsl\.ts$/;

/**
 * The WGSL of a generated kernel, minified.
 *
 * @param path Of its module, absolute.
 */
export async function minifiedKernel(path: string): Promise<string> {
  const { wgsl }: { wgsl: string } = await import(pathToFileURL(path).href);
  return minifyWgsl(wgsl);
}
