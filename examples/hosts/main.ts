/**
 * Runs an example host: `deno task hosts --help` lists them.
 *
 * @module
 */
import { Argument, Command } from "commander";
import { integerFrom, readCommandLine, runProgram } from "../command_line.ts";
import { runNode } from "./run_node.ts";
import { type PageName, PAGES, servePage } from "./serve_page.ts";

async function main(argv: readonly string[]): Promise<void> {
  const command = new Command("deno task hosts")
    .description("Runs an example host. Pages are served until you press Ctrl-C.")
    .addArgument(new Argument("<host>").choices(["raw_deno", "node_dawn", ...PAGES]))
    .option("--port <port>", "where pages are served", integerFrom(0), 8000);
  const help = readCommandLine(command, argv, "Cannot run an example host");
  if (help !== undefined) {
    console.log(help);
    return;
  }
  const [host] = command.processedArgs as [string];
  if (host === "raw_deno") {
    await import("./raw_deno.ts");
  } else if (host === "node_dawn") {
    console.log((await runNode()).trimEnd());
  } else {
    const { port } = command.opts<{ port: number }>();
    const server = await servePage(host as PageName, port, (result) => console.log(result));
    console.log(`Open http://localhost:${server.addr.port}/ in a browser with WebGPU`);
  }
}

await runProgram(main);
