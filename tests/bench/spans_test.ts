import assert from "node:assert/strict";
import { measureSpans } from "../../bench/spans.ts";
import { requestTestDevice } from "../../tools/adapter.ts";

Deno.test("measureSpans() attends in each kind of numbers that a scheme has kernels of, beside f16", async () => {
  const device = await requestTestDevice();
  const pair = (id: "sc1" | "sc4") => ({ id, keys: id, values: id });
  const rows = await measureSpans(device, {
    schemes: [pair("sc4"), pair("sc1")],
    tokens: 64,
    seconds: 0.1,
  });
  assert.deepEqual(rows.map(({ kernel }) => kernel), [
    "attend_f16_f16_d128_plain",
    "attend_sc4_sc4_d128_plain",
    "attend_sc4_sc4_d128_plain_int16",
    "attend_sc4_sc4_d128_plain_int8",
    "attend_sc1_sc1_d128_plain",
  ]);
  assert.deepEqual([rows[0]!.ratio, rows[0]!.cpuRatio], [1, 1]);
  assert.ok(rows.every(({ milliseconds, ratio }) => milliseconds > 0 && ratio > 0));
});
