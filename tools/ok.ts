/**
 * `deno task ok`: everything a change must pass, part by part. All parts run, whatever fails before
 * them; the exit code is 1 where one failed.
 *
 * Usage: `deno task ok [--only PART,...] [--skip PART,...]`
 *
 * @module
 */
import { Command } from "commander";
import { type Part, PARTS, selectParts } from "./ok_parts.ts";
import { ROOT } from "./project.ts";

const program: Command = new Command("deno task ok")
  .description("Runs everything a change must pass.")
  .option("--only <parts>", `a comma-separated choice of ${PARTS.map((part) => part.name)}`)
  .option("--skip <parts>", "parts to leave out")
  .parse([...Deno.args], { from: "user" });

const parts = selectParts(program.opts());
if (typeof parts === "string") program.error(parts);

const failed: string[] = [];
for (const part of parts) {
  const start = performance.now();
  const passed = await runPart(part);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${passed ? "passed" : "FAILED"}  ${part.name}  (${seconds} s)`);
  if (!passed) failed.push(part.name);
}
console.log(failed.length === 0 ? "All parts passed" : `Failed parts: ${failed.join(", ")}`);
Deno.exit(failed.length === 0 ? 0 : 1);

/** Runs a part's commands up to the first that fails. Their output shows where it matters. */
async function runPart(part: Part): Promise<boolean> {
  for (const [index, args] of part.commands.entries()) {
    const live = part.live === true || (part.live === "first" && index === 0);
    const command = new Deno.Command(Deno.execPath(), {
      args: [...args],
      cwd: ROOT,
      stdin: "null",
      stdout: live ? "inherit" : "piped",
      stderr: live ? "inherit" : "piped",
    });
    if (live) {
      if (!(await command.spawn().status).success) return false;
      continue;
    }
    const { success, stdout, stderr } = await command.output();
    if (!success) {
      await Deno.stdout.write(stdout);
      await Deno.stderr.write(stderr);
      return false;
    }
  }
  return true;
}
