import assert from "node:assert/strict";
import { bundlePage } from "../../tools/bundle_page.ts";
import { findChromium, visit } from "../helpers/browser.ts";
import { STORE_CRITERIA } from "../helpers/store_conformance.ts";

const chromium = await findChromium();

// Without a browser, tests/snapshots/stores_test.ts still runs the same criteria against the standard's model.
Deno.test({
  name: "opfsStore meets all criteria in Chromium, and keeps entries from one visit to the next",
  ignore: chromium === undefined,
  async fn() {
    const results = await visit(chromium!, await bundlePage("tests/helpers/opfs_page.ts"), 2);
    const passed = STORE_CRITERIA.map(({ name }) => name);
    assert.deepEqual(results, [
      { passed, failed: [], kept: null },
      { passed, failed: [], kept: 100_000 },
    ]);
  },
});
