/**
 * Runs very many random operations on caches beside the float64 reference: `deno task soak [--operations N] [--seed N]`.
 *
 * @module
 */
import { Command } from "commander";
import fc from "fast-check";
import { integerFrom, readCommandLine, runProgram } from "../../examples/command_line.ts";
import { OPERATION_CASES, Operations, operations } from "../helpers/cache_operations.ts";
import { requestTestDevice } from "../../tools/adapter.ts";

/** Lists of operations that are run of one case before the next one's turn. */
const LISTS = 25;

const command = new Command("soak")
  .description("run random operations on caches beside the float64 reference")
  .option("--operations <count>", "operations to run", integerFrom(1), 100_000)
  .option("--seed <seed>", "of the first lists; each round adds 1", integerFrom(0), 1);
await runProgram(async (argv) => {
  const help = readCommandLine(command, argv, "Cannot soak");
  if (help !== undefined) return console.log(help);
  const { operations, seed } = command.opts<{ operations: number; seed: number }>();
  await soak(operations, seed);
});

/** Runs lists of operations, case by case, until so many operations were run. */
async function soak(wanted: number, first: number): Promise<void> {
  const device = await requestTestDevice();
  const started = performance.now();
  const counts = new Map<string, number>();
  let count = 0;
  for (let seed = first; count < wanted; seed++) {
    for (const own of OPERATION_CASES) {
      await fc.assert(
        fc.asyncProperty(operations(own), fc.nat(), async (list, numbers) => {
          const run = await Operations.create(device, own.options, numbers);
          for (const operation of list) {
            await run.run(operation);
            count++;
            counts.set(operation.kind, (counts.get(operation.kind) ?? 0) + 1);
          }
          await run.finish();
        }),
        { seed, numRuns: LISTS },
      );
    }
    const seconds = Math.round((performance.now() - started) / 1000);
    const memory = Math.round(Deno.memoryUsage().rss / 2 ** 20);
    console.log(`seed ${seed}: ${count} operations in ${seconds} s, ${memory} MiB resident`);
  }
  console.log(
    `${count} operations agree with float64: ` +
      [...counts].sort().map(([kind, count]) => `${count} ${kind}`).join(", "),
  );
}
