import { requestAdapter, requestTestDevice } from "../../../tools/adapter.ts";
import { checkWritable } from "../../command_line.ts";
import { parseAblationArguments } from "./arguments.ts";
import { measureAblation } from "./measure.ts";
import { formatAblation } from "./table.ts";

/** `deno task eval --ablation`: measures what each part of a normalised, additive scheme gains. */
export async function ablationCommand(args: readonly string[]): Promise<void> {
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
    await Deno.writeTextFile(options.json, `${JSON.stringify(figures, null, 1)}\n`);
  }
}
