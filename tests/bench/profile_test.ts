import assert from "node:assert/strict";
import { rowKernels } from "../../bench/attention/attention.ts";
import { planRow, tuneRow, withTuning } from "../../bench/attention/rows.ts";
import { MODELS } from "../../bench/measure/models.ts";
import { profileRow } from "../../bench/attention/profile_row.ts";
import { requestTestDevice } from "../../tools/adapter.ts";

const device = await requestTestDevice({ requiredFeatures: ["timestamp-query"] });

const place = {
  model: MODELS.find(({ name }) => name === "SmolLM2-135M")!,
  context: 96,
  batch: 2,
};

/** Without optional features: every kernel more costs seconds of compiling. */
const planned = planRow(
  place,
  { pair: { id: "f16", keys: "f16", values: "f16" }, space: "as-scored" },
  { limits: device.limits, features: new Set() },
  false,
);

Deno.test("tuneRow, profileRow: a row attends with what was measured to be fastest, and its kernels take time", async () => {
  const record = await tuneRow(device, planned, place, 1);
  const row = withTuning(planned, record);
  const { kernels, tuning } = rowKernels(row, place);
  const [fastest] = tuning!.candidates;
  assert.deepEqual(kernels, [...fastest!.kernels, "combine_d64"]);
  assert.equal(tuning!.sequences, 2);
  const begun = performance.now();
  const profile = await profileRow(device, row, place, 2);
  const elapsed = performance.now() - begun;
  assert.deepEqual(profile.map(({ kernel }) => kernel).sort(), [...kernels].sort());
  for (const { kernel, milliseconds } of profile) {
    assert.ok(milliseconds > 0 && milliseconds < elapsed, `${kernel}: ${milliseconds} ms`);
  }
});
