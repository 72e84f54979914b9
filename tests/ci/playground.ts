/** The playground in a real browser: Chromium without a window, WebGPU on SwiftShader; `.ci/run` runs it. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stop } from "esbuild";
import type { Page } from "playwright-core";
import { serveFolder } from "../../examples/pages/serve.ts";
import { buildPlayground } from "../../examples/playground/build.ts";
import { findChromium } from "../helpers/browser.ts";
import {
  errorsOf,
  eventually,
  launchChromium,
  violations,
  WEBGPU_FLAGS,
} from "../helpers/pages.ts";

/** Milliseconds after which a page has failed that compiles and computes: a software adapter is slow. */
const TIMEOUT = 300_000;

/** Long enough that the exact tokens of the first settings do not hold it all. */
const PROMPT =
  "It was a dark and stormy night, and the captain of the ship had not slept since the men " +
  "saw the white whale";

const executablePath = await findChromium();

/** The tokens written with the cache in f16, and with the second, as they stand on the page. */
async function written(page: Page): Promise<[half: string[], coded: string[]]> {
  return await page.evaluate(`[...document.querySelectorAll(".written")].map((text) =>
    [...text.children].slice(1).map((piece) => piece.textContent))`) as [string[], string[]];
}

/** The mean divergence on the page. */
async function divergence(page: Page): Promise<number> {
  return parseFloat((await page.locator("#mean-divergence").textContent())!);
}

async function says(page: Page, status: RegExp): Promise<void> {
  const shown = page.locator(".status [role=status]");
  await eventually(async () => {
    assert.deepEqual(await page.getByRole("alert").allTextContents(), []);
    assert.match((await shown.textContent())!, status);
  }, TIMEOUT);
}

/** Lets the page write until so many more tokens are there, and stops it. */
async function write(page: Page, tokens: number): Promise<void> {
  const [before] = await written(page);
  await page.getByRole("button", { name: "Run" }).click();
  await eventually(async () => {
    const [half, coded] = await written(page);
    assert.equal(half.length, coded.length, "both grow in one step");
    assert.ok(half.length >= before.length + tokens);
  }, TIMEOUT);
  await page.getByRole("button", { name: "Stop" }).click();
  await says(page, /^Stopped after \d+ tokens/);
}

async function ready(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Run" }).waitFor({ timeout: TIMEOUT });
}

/** Makes the worker's device one that a test can lose. */
const LOSABLE = `
  const request = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (...options) {
    const device = await request.apply(this, options);
    new BroadcastChannel("lose").onmessage = () => device.destroy();
    return device;
  };
`;

/** Takes the worker's file system away. */
const NO_FILES =
  'Object.defineProperty(StorageManager.prototype, "getDirectory", { value: undefined });';

/** Takes the worker's WebGPU away. */
const NO_WEBGPU = 'Object.defineProperty(WorkerNavigator.prototype, "gpu", { value: undefined });';

/** Runs a text before the program of workers that start from now on. */
async function beforeWorkers(page: Page, text: string): Promise<void> {
  await page.unroute("**/worker.js");
  await page.route("**/worker.js", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: `${text}\n${await response.text()}` });
  });
}

Deno.test({
  name: "the playground in Chromium (ignored without one on PATH)",
  ignore: executablePath === undefined,
  async fn(t) {
    const root = await mkdtemp(join(tmpdir(), "couplet-playground-"));
    // Few tokens: what codebooks are worth is not this test's.
    const learning = { schemes: ["c8b8"] as const, tokens: 512, context: 256 };
    // Below the server's root: a static host may put the page anywhere.
    const { pageBytes } = await buildPlayground(`${root}/some/where`, learning);
    assert.ok(pageBytes < 60_000, `${pageBytes} bytes show the page`);
    const { url, close } = await serveFolder(root, 0);
    const browser = await launchChromium(executablePath!, WEBGPU_FLAGS);
    try {
      const context = await browser.newContext({ colorScheme: "light" });
      context.setDefaultTimeout(TIMEOUT);
      const page = await context.newPage();
      const errors = errorsOf(page);
      await beforeWorkers(page, LOSABLE);
      await page.goto(`${url}some/where/`);

      await t.step("writes with both caches, and their distributions differ", async () => {
        await ready(page);
        await page.getByLabel("Prompt", { exact: true }).fill(PROMPT);
        await write(page, 8);
        assert.ok(await divergence(page) > 0);
        assert.match((await page.locator(".note").allTextContents()).join(), /\d+ are in codes/);
        for (const speed of await page.locator(".columns .speed").allTextContents()) {
          assert.ok(parseFloat(speed) > 0, speed);
        }
        assert.match((await page.locator(".status").textContent())!, /swiftshader/i);
      });

      await t.step("reads the text again, all of it exact, in a window that holds it", async () => {
        const [before] = await written(page);
        const without = await divergence(page);
        const slider = page.getByRole("slider", { name: "Recent tokens kept exact" });
        await slider.focus();
        await page.keyboard.press("End");
        assert.equal(await slider.getAttribute("aria-valuetext"), "128 tokens");
        await says(page, new RegExp(`^c8b8 has read the ${before.length} tokens again`));
        assert.deepEqual((await written(page))[0], before);
        assert.ok(await divergence(page) < without / 100);
      });

      await t.step("changes the scheme while it writes, and keeps the text", async () => {
        await page.getByLabel("Both take").selectOption("likeliest");
        const [before] = await written(page);
        await page.getByRole("button", { name: "Run" }).click();
        await page.getByLabel("Scheme").selectOption("f16");
        await says(page, /^f16 has read the \d+ tokens again/);
        const [after] = await written(page);
        assert.deepEqual(after.slice(0, before.length), before);
        await eventually(async () => {
          assert.ok((await written(page))[0].length >= after.length + 2, "it goes on");
        }, TIMEOUT);
        await page.keyboard.press("Escape");
        await says(page, /^Stopped after \d+ tokens/);
      });

      await t.step("finds no divergence between f16 and f16", async () => {
        await page.getByRole("button", { name: "Back to the prompt" }).click();
        await says(page, /^Back at the prompt/);
        assert.deepEqual(await written(page), [[], []]);
        await page.getByLabel("It reads").selectOption("own");
        await write(page, 8);
        const [half, coded] = await written(page);
        assert.deepEqual(coded, half);
        assert.match((await page.locator("#mean-divergence").textContent())!, /^0 nats/);
      });

      await t.step("is accessible, light and dark, large and on a phone", async () => {
        await page.getByText("What is compared").click();
        for (const theme of ["Dark", "Light"]) {
          assert.deepEqual(await violations(page), []);
          await page.getByRole("button", { name: `${theme} theme` }).click();
        }
        for (const width of [375, 320]) {
          await page.setViewportSize({ width, height: 740 });
          await eventually(async () =>
            assert.equal(await page.evaluate("document.documentElement.scrollWidth"), width)
          );
        }
        await page.setViewportSize({ width: 375, height: 740 });
        assert.deepEqual(await violations(page), []);
      });

      await t.step("goes on after a reload, from snapshots", async () => {
        const before = await written(page);
        await page.reload();
        await ready(page);
        await says(page, /^The text is back, \d+ tokens of it from snapshots/);
        assert.deepEqual(await written(page), before);
        assert.equal(await page.getByLabel("Prompt", { exact: true }).inputValue(), PROMPT);
        assert.equal(await page.getByLabel("Scheme").inputValue(), "f16");
        await page.getByRole("button", { name: "One token" }).click();
        await says(page, new RegExp(`^Stopped after ${before[0].length + 1} tokens`));
        const [half, coded] = await written(page);
        assert.deepEqual(half.slice(0, before[0].length), before[0]);
        assert.deepEqual(coded, half);
      });

      await t.step(
        "goes on after its device was lost, without a place to keep the text",
        async () => {
          const before = await written(page);
          await beforeWorkers(page, NO_FILES);
          await page.evaluate('new BroadcastChannel("lose").postMessage("")');
          await page.getByRole("alert").getByText("The device was lost").waitFor();
          assert.ok(await page.getByRole("button", { name: "Run" }).isDisabled());
          await page.getByRole("button", { name: "Go on" }).click();
          await ready(page);
          await page.getByRole("alert").getByText("no origin private file system").waitFor();
          assert.deepEqual(await written(page), before);
          await page.getByRole("button", { name: "One token" }).click();
          await eventually(async () => {
            const [half, coded] = await written(page);
            assert.deepEqual(half.slice(0, -1), before[0]);
            assert.deepEqual(coded, half);
          }, TIMEOUT);
        },
      );
      assert.deepEqual(errors, []);

      await t.step("says what to do without WebGPU", async () => {
        await beforeWorkers(page, NO_WEBGPU);
        await page.reload();
        await page.getByRole("alert").getByText("This browser has no WebGPU").waitFor();
        await page.getByRole("heading", { name: "Where WebGPU is" }).waitFor();
        assert.deepEqual(await violations(page), []);
      });
    } finally {
      await browser.close();
      await close();
      await stop();
      await rm(root, { recursive: true });
    }
  },
});
