/** Long work on the CPU lets other work run, and hears an abort. */
import assert from "node:assert/strict";
import { Pace } from "../../src/calibrate/pace.ts";

Deno.test("Pace.pause() lets other work run after a stretch of its own", async () => {
  const pace = new Pace(undefined);
  let others = 0;
  setTimeout(() => others++, 0);
  const begun = performance.now();
  while (performance.now() - begun <= 31);
  assert.equal(others, 0);
  await pace.pause();
  assert.equal(others, 1);
});

Deno.test("Pace.pause() throws the reason of an abort, whenever it was", async () => {
  const controller = new AbortController();
  const pace = new Pace(controller.signal);
  await pace.pause();
  const reason = new Error("enough");
  controller.abort(reason);
  await assert.rejects(pace.pause(), reason);
});
