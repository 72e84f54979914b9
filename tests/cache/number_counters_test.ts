/** Counters on the host's side. What kernels count is in tests/schemes/bad_numbers_test.ts. */
import assert from "node:assert/strict";
import { NumberCounters } from "../../src/cache/number_counters.ts";
import { countBuffers } from "../helpers/count_buffers.ts";
import { idleDevice } from "../helpers/idle_device.ts";

Deno.test("NumberCounters.read() destroys what it reads through", async () => {
  const device = idleDevice();
  const buffer = device.createBuffer({ size: 20, usage: 0 });
  const buffers = countBuffers(device);
  const counters = new NumberCounters(device, buffer, undefined);
  for (let reading = 0; reading < 3; reading++) await counters.read();
  assert.deepEqual({ ...buffers }, { alive: 0, made: 3 });
});
