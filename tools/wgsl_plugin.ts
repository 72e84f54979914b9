/**
 * What bundles do with kernels: their WGSL is minified on the way, so that `generated/` stays readable.
 *
 * @module
 */
import type { Plugin } from "esbuild";
import { pathToFileURL } from "node:url";
import { minifyWgsl } from "./minify_wgsl.ts";

/** An esbuild plugin that minifies the text of generated kernels. */
export const wgslPlugin: Plugin = {
  name: "wgsl",
  setup(build) {
    build.onLoad({ filter: /\.wgsl\.ts$/ }, async ({ path }) => {
      const { wgsl }: { wgsl: string } = await import(pathToFileURL(path).href);
      return { contents: `export const wgsl = ${JSON.stringify(minifyWgsl(wgsl))};`, loader: "js" };
    });
  },
};
