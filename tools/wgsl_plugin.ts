/**
 * What bundles do with kernels: their WGSL is minified on the way.
 *
 * @module
 */
import type { Plugin } from "esbuild";
import { KERNEL_MODULE, minifiedKernel } from "./minified_kernel.ts";

/** An esbuild plugin that minifies the text of generated kernels. */
export const wgslPlugin: Plugin = {
  name: "wgsl",
  setup(build) {
    build.onLoad({ filter: KERNEL_MODULE }, async ({ path }) => ({
      contents: `export const wgsl = ${JSON.stringify(await minifiedKernel(path))};`,
      loader: "js",
    }));
  },
};
