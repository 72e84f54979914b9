/**
 * The kernel explorer: a page that shows the generated kernels, runs them in the visitor's browser, and counts a cache's
 * memory.
 *
 * `deno task explorer --help` lists the options.
 *
 * @module
 */
import { stop } from "esbuild";
import { runProgram } from "../command_line.ts";
import { ROOT } from "../../tools/project.ts";
import { parseArguments } from "./arguments.ts";
import { buildExplorer } from "./build.ts";
import { serveFolder } from "../pages/serve.ts";

const OUTPUT = `${ROOT}dist/explorer`;

await runProgram(async (argv) => {
  const parsed = parseArguments(argv);
  if ("help" in parsed) return console.log(parsed.help);
  const { port, build } = parsed.options;
  const { kernels, initialBytes, bytes } = await buildExplorer(OUTPUT);
  console.log(
    `dist/explorer: ${kernels} kernels, ${(bytes / 2 ** 20).toFixed(1)} MiB, of which ` +
      `${(initialBytes / 1024).toFixed(0)} KiB load at first`,
  );
  if (!build) {
    const { url, close } = await serveFolder(OUTPUT, port);
    console.log(`Kernel explorer: ${url} (interrupt to end)`);
    await new Promise<void>((resolve) => Deno.addSignalListener("SIGINT", resolve));
    await close();
  }
  await stop();
});
