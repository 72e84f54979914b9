import assert from "node:assert/strict";
import { findChromium } from "../helpers/browser.ts";
import { runPage } from "../helpers/run_page.ts";

const chromium = await findChromium();

Deno.test({
  name:
    "the browser page attends in Chromium as float64 does, on a device of each feature level (ignored without a Chromium on PATH)",
  ignore: chromium === undefined,
  async fn() {
    const { differences } = await runPage(chromium!, "browser");
    const entries = Object.entries(differences as Record<string, unknown>);
    assert.ok(entries.length > 0);
    for (const [level, difference] of entries) {
      assert.ok(
        typeof difference === "number" && difference < 2e-5,
        `${level} differs by ${difference}`,
      );
    }
    console.log(entries.map(([level]) => level).join(", "));
  },
});
