/**
 * The playground: a page on which a small model writes with its cache in f16 and in few bits, side by side.
 *
 * `deno task playground --help` lists the options.
 *
 * @module
 */
import { stop } from "esbuild";
import { formatBytes } from "../../cli/format_bytes.ts";
import { ROOT } from "../../tools/project.ts";
import { runProgram } from "../command_line.ts";
import { serveFolder } from "../pages/serve.ts";
import { parseArguments } from "./arguments.ts";
import { buildPlayground } from "./build.ts";
import { LEARNING } from "./codebooks.ts";

await runProgram(async (argv) => {
  const parsed = parseArguments(argv);
  if ("help" in parsed) return console.log(parsed.help);
  const { port, out } = parsed.options;
  const folder = out ?? `${ROOT}dist/playground`;
  const { pageBytes, modelBytes, bytes } = await buildPlayground(folder, LEARNING);
  console.log(
    `${out ?? "dist/playground"}: ${formatBytes(bytes)}, of which ${formatBytes(pageBytes)} show ` +
      `the page and ${formatBytes(modelBytes)} are the model`,
  );
  if (out === undefined) {
    const { url, close } = await serveFolder(folder, port);
    console.log(`Playground: ${url} (interrupt to end)`);
    await new Promise<void>((resolve) => Deno.addSignalListener("SIGINT", resolve));
    await close();
  }
  await stop();
});
