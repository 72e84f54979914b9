import { writeWhole } from "../../../cli/files.ts";
import { parseVisionArguments } from "./arguments.ts";
import { evaluateVision } from "./measure.ts";
import { formatVisionReport } from "./report.ts";
import { formatVisionEvaluation, readVisionEvaluation } from "./results.ts";
import { formatVisionSummary } from "./summary.ts";

/** `deno task eval --vision`: measures what compressing videos costs a vision-language model. */
export async function evaluateVisionCommand(args: readonly string[]): Promise<void> {
  const parsed = parseVisionArguments(args);
  if ("help" in parsed) return console.log(parsed.help);
  const { options } = parsed;
  const figures = options.from === undefined
    ? await evaluateVision(options)
    : await readVisionEvaluation(options.from);
  console.log(`\n${formatVisionSummary(figures)}`);
  if (options.json !== undefined) {
    await writeWhole(options.json, formatVisionEvaluation(figures));
  }
  if (options.html !== undefined) {
    await writeWhole(options.html, await formatVisionReport(figures));
  }
}
