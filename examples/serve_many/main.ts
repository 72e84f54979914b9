/**
 * Two processes, each with a device and a cache of its own, share the prefix of a prompt through Valkey or Redis: the first
 * computes and stores it, the second restores it. `deno task serve-many --help` lists the options.
 *
 * @module
 */
import { CoupletError } from "@couplet/kv";
import { fileURLToPath } from "node:url";
import { outputWidth } from "../../cli/output_width.ts";
import { formatBytes } from "../../cli/format_bytes.ts";
import { formatTable } from "../../cli/table.ts";
import { printable, runProgram } from "../command_line.ts";
import { parseServeManyArguments } from "./arguments.ts";
import { startWorker } from "./start_worker.ts";
import type { Report } from "./worker.ts";

async function main(argv: readonly string[]): Promise<void> {
  const parsed = parseServeManyArguments(argv);
  if ("help" in parsed) {
    console.log(parsed.help);
    return;
  }
  const { name = `couplet-serve-many:${crypto.randomUUID()}` } = parsed.options;
  const program = fileURLToPath(new URL("./worker.ts", import.meta.url));
  const args = [...argv, "--name", name];
  const workers = [startWorker(program, args), startWorker(program, args)];
  const rows: { readonly title: string; readonly report: Report }[] = [];
  try {
    for (const [index, worker] of workers.entries()) {
      for (const line of ["alone", "shared"]) {
        const title = `process ${index + 1}, ${line === "alone" ? "alone" : "with the store"}`;
        rows.push({ title, report: await worker.ask<Report>(line) });
      }
    }
  } finally {
    for (const worker of workers) await worker.end();
  }
  for (const error of rows.flatMap(({ report }) => report.refused)) console.error(printable(error));
  console.log(formatTable([
    ["", "restored", "computed", "first token", "sent", "received"],
    ...rows.map(({ title, report }) => [
      title,
      `${report.restored}`,
      `${report.computed}`,
      `${report.firstToken.toFixed(0)} ms`,
      formatBytes(report.sent),
      formatBytes(report.received),
    ]),
  ], { width: outputWidth(), right: [1, 2, 3, 4, 5] }));
  const texts = new Set(rows.map(({ report }) => `${report.tokenIds}`));
  if (texts.size > 1) {
    throw new CoupletError("snapshot", {
      what: "The processes answer differently",
      why: rows.map(({ title, report }) => `${title}: ${JSON.stringify(report.text)}`).join("; "),
      remedy: "Run it again on one adapter: drivers that add in another order can choose otherwise",
    });
  }
  console.log(`\nAll answer: ${printable(JSON.stringify(rows[0]!.report.text))}`);
}

if (import.meta.main) await runProgram(main);
