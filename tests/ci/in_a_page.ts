/**
 * The page of docs/in_a_page.md, served as files beside what `deno task bundle` writes; `.ci/run` runs it.
 *
 * @module
 */
import assert from "node:assert/strict";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stop } from "esbuild";
import { serveFolder } from "../../examples/pages/serve.ts";
import { ROOT, runDeno } from "../../tools/project.ts";
import { findChromium } from "../helpers/browser.ts";
import { errorsOf, eventually, launchChromium, WEBGPU_FLAGS } from "../helpers/pages.ts";

const chromium = await findChromium();

Deno.test({
  name: "docs/in_a_page.md has a page that attends (ignored without a Chromium on PATH)",
  ignore: chromium === undefined,
  async fn() {
    await runDeno(["run", "-A", "tools/bundle.ts"]);
    const docs = await Deno.readTextFile(`${ROOT}docs/in_a_page.md`);
    const folder = await mkdtemp(join(tmpdir(), "couplet-page-"));
    await cp(`${ROOT}dist/browser`, join(folder, "browser"), { recursive: true });
    await writeFile(join(folder, "index.html"), /```html\n([\s\S]*?)```/.exec(docs)![1]!);
    const { url, close } = await serveFolder(folder, 0);
    const browser = await launchChromium(chromium!, WEBGPU_FLAGS);
    try {
      const page = await browser.newPage();
      const errors = errorsOf(page);
      await page.goto(url);
      const report = page.locator("#report");
      await eventually(async () => assert.notEqual(await report.textContent(), "..."), 300_000);
      assert.equal(
        await report.textContent(),
        "64 tokens, 44 of them in codes; 16384 outputs, all from 0 to 1",
      );
      // No icon is served.
      assert.deepEqual(errors.filter((error) => !/404/.test(error)), []);
    } finally {
      await browser.close();
      await close();
      await stop();
      await rm(folder, { recursive: true });
    }
  },
});
