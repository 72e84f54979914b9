/** Any operations in any order, against the float64 cache. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { requestTestDevice } from "../../tools/adapter.ts";
import { OPERATION_CASES, Operations, operations } from "../helpers/cache_operations.ts";

const device = await requestTestDevice();

/** Lists of operations by case, 40 in each on average. */
const RUNS: readonly number[] = [30, 18, 16, 10, 16, 10];

for (const [i, own] of OPERATION_CASES.entries()) {
  Deno.test(`${own.name} agrees with float64 whatever is recorded, given up, dropped, submitted and refused`, async () => {
    let count = 0;
    await fc.assert(
      fc.asyncProperty(operations(own), fc.nat(), async (list, seed) => {
        const run = await Operations.create(device, own.options, seed);
        for (const operation of list) {
          await run.run(operation);
          count++;
        }
        await run.finish();
      }),
      { seed: 20260517, numRuns: RUNS[i]! },
    );
    console.log(`${count} operations`);
    assert.ok(count > 20 * RUNS[i]!);
  });
}
