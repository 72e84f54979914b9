/** Bundles a page's program, as tests, benchmarks and example hosts serve it. */
import { build, stop } from "esbuild";
import { ROOT } from "./project.ts";

/** A program bundled for browsers. */
export async function bundlePage(entry: string): Promise<string> {
  const { outputFiles } = await build({
    absWorkingDir: ROOT,
    entryPoints: [entry],
    bundle: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    write: false,
    logLevel: "warning",
  });
  await stop();
  return outputFiles[0]!.text;
}
