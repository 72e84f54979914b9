import assert from "node:assert/strict";
import { findChromium } from "../helpers/browser.ts";
import { runPage } from "../helpers/run_page.ts";

const chromium = await findChromium();

Deno.test({
  name: "the browser page attends in Chromium as float64 does (ignored without a Chromium on PATH)",
  ignore: chromium === undefined,
  async fn() {
    const { difference } = await runPage(chromium!, "browser");
    assert.ok(typeof difference === "number" && difference < 2e-5, `it differs by ${difference}`);
  },
});
