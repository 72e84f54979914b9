/** tests/fixtures/model_logits/ is what tools/python/model_logits.py writes, where there is numpy. */
import assert from "node:assert/strict";
import { randomModels } from "../helpers/random_model.ts";

const PYTHON = Deno.env.get("PYTHON") ?? "python3";

/** Whether there is a Python with numpy. */
async function hasNumpy(): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(PYTHON, {
      args: ["-c", "import numpy"],
      stderr: "null",
    }).output();
    return success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

Deno.test({
  name: "the fixture of models' logits is what its script writes",
  ignore: !await hasNumpy(),
  fn: async () => {
    const folder = Deno.makeTempDirSync({ prefix: "couplet-" });
    try {
      const { success } = await new Deno.Command(PYTHON, {
        args: ["tools/python/model_logits.py", folder],
        stderr: "inherit",
      }).output();
      assert.ok(success);
      const fixed = randomModels();
      for (const [i, { logits, ...model }] of randomModels(folder).entries()) {
        const { logits: stored, ...rest } = fixed[i]!;
        assert.deepEqual(model, rest);
        // Other systems add in another order.
        logits.forEach((logit, at) => {
          assert.ok(Math.abs(logit - stored[at]!) <= 1e-5, `${model.name}, logit ${at}`);
        });
      }
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  },
});
