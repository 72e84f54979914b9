/**
 * Measures what each part of a normalised, additive scheme gains. `deno task ablation --help` lists
 * the options.
 *
 * @module
 */
import { requestAdapter, requestTestDevice } from "../../tools/adapter.ts";
import { writeWhole } from "../../cli/files.ts";
import { checkWritable, runProgram } from "../command_line.ts";
import { parseAblationArguments } from "./arguments.ts";
import { measureAblation } from "./measure.ts";
import { formatAblation } from "./table.ts";

async function main(args: readonly string[]): Promise<void> {
  const parsed = parseAblationArguments(args);
  if ("help" in parsed) return console.log(parsed.help);
  const { options } = parsed;
  await checkWritable(options.json);
  const { report } = await requestAdapter();
  const device = await requestTestDevice();
  const figures = await measureAblation(options, device, report);
  device.destroy();
  console.log(`\n${formatAblation(figures)}`);
  if (options.json !== undefined) {
    await writeWhole(options.json, `${JSON.stringify(figures, null, 1)}\n`);
  }
}

if (import.meta.main) await runProgram(main);
