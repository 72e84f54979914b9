/** The explorer in a real browser: Chromium without a window, WebGPU on SwiftShader. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stop } from "esbuild";
import type { Browser, BrowserContextOptions, Locator, Page } from "playwright-core";
import { planOptions } from "../../../src/models/mod.ts";
import { formatBytes } from "../../../cli/format_bytes.ts";
import { buildExplorer } from "../../../examples/explorer/build.ts";
import { kernels } from "../../../examples/explorer/page/kernels.ts";
import { cacheMemory } from "../../../examples/explorer/page/memory.ts";
import { residentBytes } from "../../../src/plan/sizes.ts";
import { TOLERANCE } from "../../../examples/explorer/page/run/check_kernel.ts";
import { serveFolder } from "../../../examples/pages/serve.ts";
import { findChromium } from "../../helpers/browser.ts";
import {
  errorsOf,
  eventually,
  launchChromium,
  PAGE_TIMEOUT,
  violations as pageViolations,
  WEBGPU_FLAGS,
} from "../../helpers/pages.ts";

/** A kernel that is looked at closely; its run is short. */
const KERNEL = "attend_c8b8_c8b8_d64_plain";

/** The views, with what is largest in them. */
const VIEWS: readonly string[] = [
  "#/kernels",
  `#/kernels/${KERNEL}`,
  "#/kernels/no_such_kernel",
  `#/compare/attend_c4b8_c4b8_d64_plain/${KERNEL}`,
  "#/records/u8b8/d128",
  "#/memory",
];

const PHONE = { width: 360, height: 740 };

/** Milliseconds after which a page that runs a kernel has failed: a software adapter is slow. */
const RUN_TIMEOUT = 300_000;

const executablePath = await findChromium();

/** One thing that the page does. */
interface Step {
  readonly name: string;
  /** Where the page opens. */
  readonly hash: string;
  readonly context?: BrowserContextOptions;
  /** Runs before the page's own program. */
  readonly before?: string;
  run(page: Page): Promise<void>;
}

/** Opens a page of its own for a step; it must report no error. */
async function visit(browser: Browser, url: string, step: Step): Promise<void> {
  const context = await browser.newContext(step.context);
  context.setDefaultTimeout(PAGE_TIMEOUT);
  try {
    const page = await context.newPage();
    const errors = errorsOf(page);
    if (step.before !== undefined) await page.addInitScript(step.before);
    await page.goto(url + step.hash);
    await step.run(page);
    assert.deepEqual(errors, []);
  } finally {
    await context.close();
  }
}

async function heading(page: Page, name: string): Promise<void> {
  await page.getByRole("heading", { level: 1, name }).waitFor();
}

/** Waits until texts are the ones given. */
async function reads(texts: Locator, wanted: readonly string[]): Promise<void> {
  await eventually(async () => assert.deepEqual(await texts.allTextContents(), wanted));
}

/** Waits until an expression of the page has a value. */
async function gives(page: Page, expression: string, wanted: unknown): Promise<void> {
  await eventually(async () => assert.deepEqual(await page.evaluate(expression), wanted));
}

/** Waits until there are so many. */
async function counts(elements: Locator, wanted: number): Promise<void> {
  await eventually(async () => assert.equal(await elements.count(), wanted));
}

/** Waits until a view has everything it loads, and whether a kernel can run is known. */
async function settle(page: Page): Promise<void> {
  await page.locator("h1").waitFor();
  await counts(page.locator(".progress, .action:disabled"), 0);
}

/** Runs of kernels that begin and do not end by themselves, which is no matter of the machine's pace; `runs` counts. */
const ENDLESS_RUN = `
  globalThis.runs = { begun: 0, ended: 0 };
  globalThis.Worker = class {
    postMessage() {
      runs.begun++;
    }
    terminate() {
      runs.ended++;
    }
  };
`;

const STEPS: readonly Step[] = [
  {
    name: "lists all kernels and filters them",
    hash: "",
    async run(page) {
      const list = page.getByRole("region", { name: "List of kernels" });
      const everything = list.getByText(`${kernels.length} of ${kernels.length} kernels`);
      await everything.waitFor();
      await list.getByLabel("Family").selectOption("attend");
      await list.getByLabel("Scheme").selectOption("u4b8");
      await list.getByLabel("Name").fill("d64 rope");
      await reads(list.getByRole("link"), ["attend_u4b8_u4b8_d64_rope"]);
      await list.getByRole("button", { name: "Show all" }).click();
      await everything.waitFor();
    },
  },
  {
    name: "is used with the keyboard alone",
    hash: "",
    before: ENDLESS_RUN,
    async run(page) {
      await heading(page, "Kernels");
      await page.keyboard.press("/");
      await page.keyboard.type(KERNEL);
      await page.locator(".list li:first-child").getByText(KERNEL, { exact: true }).waitFor();
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("Enter");
      await heading(page, KERNEL);
      assert.equal(new URL(page.url()).hash, `#/kernels/${KERNEL}`);
      assert.equal(await page.title(), `${KERNEL} · Couplet kernel explorer`);
      assert.equal(await page.evaluate("document.activeElement.id"), "main");
      // A disabled button takes no focus.
      await settle(page);
      await page.getByRole("button", { name: "Run" }).focus();
      await page.keyboard.press("Enter");
      await page.getByRole("button", { name: "Stop" }).waitFor();
      await gives(page, "runs", { begun: 1, ended: 0 });
      await page.keyboard.press("Enter");
      await page.getByRole("button", { name: "Run" }).waitFor();
      await gives(page, "runs", { begun: 1, ended: 1 });
      await page.goBack();
      await heading(page, "Kernels");
      await page.keyboard.press("/");
      await page.keyboard.press("Control+A");
      await page.keyboard.press("Delete");
      await page.getByText(`${kernels.length} of ${kernels.length} kernels`).waitFor();
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("End");
      await gives(page, "document.activeElement.textContent", kernels.at(-1)!.info.name);
    },
  },
  {
    name: "shows the shipped text in colour, beside its template",
    hash: `#/kernels/${KERNEL}`,
    async run(page) {
      const rows = page.locator(".source tbody tr:not(.file)");
      await rows.first().waitFor();
      const { wgsl } = await kernels.find(({ info }) => info.name === KERNEL)!.info.load();
      const text = rows.locator("td:last-child");
      await reads(text, wgsl.trim().split("\n"));
      const first = rows.filter({ hasText: "HEAD_DIM: u32" });
      assert.equal(
        await first.locator("td.template code").textContent(),
        "const HEAD_DIM: u32 = {{headDim}}u;",
      );
      const value = first.locator("td:last-child mark");
      assert.deepEqual(await value.allTextContents(), ["64"]);
      assert.equal(await value.getAttribute("title"), "headDim");
      const colours = await page.evaluate(`new Set(
        [...document.querySelectorAll(".source td:last-child span")]
          .map((span) => getComputedStyle(span).color)
      ).size`);
      assert.ok(Number(colours) >= 5, `${colours} colours`);
      const chosen = await page.locator(".source tr.file.chosen").allTextContents();
      assert.ok(chosen.includes("templates/attention/score_plain.hbschosen by the row"));
      await page.getByLabel("Template beside it").uncheck();
      await counts(page.locator("td.template"), 0);
    },
  },
  {
    name: "offers the nearest names of an unknown kernel",
    hash: "#/kernels/atend_c8b8_c8b8_d64_plain",
    async run(page) {
      await page.getByRole("alert").getByRole("link", { name: KERNEL }).click();
      await heading(page, KERNEL);
    },
  },
  {
    name: "compares two kernels line by line",
    hash: `#/compare/attend_c4b8_c4b8_d64_plain/${KERNEL}`,
    async run(page) {
      const difference = page.getByRole("region", { name: "Difference" });
      await difference.waitFor();
      const removed = await difference.locator("tr.removed code").allTextContents();
      const added = await difference.locator("tr.added code").allTextContents();
      assert.ok(removed.includes("const KEY_CHANNELS: u32 = 4u; // channels per code"));
      assert.ok(added.includes("const KEY_CHANNELS: u32 = 8u; // channels per code"));
      const counts = await difference.getByRole("status").textContent();
      assert.match(counts!, new RegExp(`^${removed.length} lines .*, ${added.length} only after`));
      const change = difference.locator("tr.added").first().locator("mark");
      assert.deepEqual(await change.allTextContents(), ["8u"]);
      await difference.getByRole("button", { name: "equal lines" }).first().click();
      await reads(difference.locator("tr.equal code").first(), ["const HEAD_DIM: u32 = 64u;"]);
      const swapped = await page.evaluate(`(async () => {
        [...document.querySelectorAll("button")].find((one) => one.textContent === "Swap").click();
        await Promise.resolve();
        return [location.hash, ...[...document.querySelectorAll("input")].map((one) => one.value)];
      })()`);
      assert.deepEqual(swapped, [
        `#/compare/${KERNEL}/attend_c4b8_c4b8_d64_plain`,
        KERNEL,
        "attend_c4b8_c4b8_d64_plain",
      ], "the address and the fields change in one step");
      await page.getByLabel("Before").fill("attend_c2b8_c2b8_d64_plain");
      await page.keyboard.press("Tab");
      await page.keyboard.type("attend_c8b8_d64");
      await page.keyboard.press("Enter");
      await page.getByRole("alert").getByText("There is no kernel attend_c8b8_d64").waitFor();
      const { hash } = new URL(page.url());
      assert.equal(hash, "#/compare/attend_c2b8_c2b8_d64_plain/attend_c8b8_d64");
      await page.goBack();
      await page.goBack();
      await page.goBack();
      await gives(page, 'document.querySelector("input").value', "attend_c4b8_c4b8_d64_plain");
    },
  },
  {
    name: "draws a record, field by field",
    hash: "#/records/c8b10/d64",
    async run(page) {
      const picture = page.getByRole("img", { name: "Record of c8b10 at head dimension 64" });
      await picture.waitFor();
      // 16 codes of 10 bits in 5 words, 4 of which lie in two words.
      await counts(picture.locator(".field"), 20);
      await picture.locator(".field").nth(3).hover();
      await page.getByText("token 0, channels 24 to 31: bits 30 to 39").waitFor();
      await page.getByLabel("Scheme").selectOption("u8b8");
      await page.getByText("64 tokens of one KV head").waitFor();
      const fields = await page.locator("svg .field").count();
      await page.getByRole("button", { name: "Show all 177 words" }).click();
      await eventually(async () => {
        assert.ok(await page.locator("svg .field").count() > 2 * fields);
      });
    },
  },
  {
    name: "refuses a scheme that does not exist",
    hash: "#/records/c3b8/d64",
    async run(page) {
      await page.getByRole("alert").getByText("Cannot use the scheme").waitFor();
    },
  },
  {
    name: "counts the memory of a pasted config.json",
    hash: "#/memory",
    async run(page) {
      const config = await Deno.readTextFile("tests/fixtures/tiny-llama/config.json");
      await page.getByLabel("config.json").fill(config);
      await page.getByLabel("Keys").selectOption("c8b8");
      await page.getByLabel("Sequences").fill("3");
      const slider = page.getByRole("slider", { name: "Tokens of a sequence" });
      await slider.press("End");
      await slider.press("ArrowLeft");
      const { coded, half } = cacheMemory(planOptions(JSON.parse(config)), {
        keys: "c8b8",
        values: "c8b8",
        tokens: 470, // an eighth of a doubling below the 512 that the model was made for
        sequences: 3,
        sinks: 4,
        window: 64,
        appendTokens: 256,
      });
      const expected = [coded, half].map((memory) => formatBytes(residentBytes(memory.plan.bytes)));
      await page.getByRole("heading", { level: 2, name: expected[0]! }).waitFor();
      const row = page.getByRole("row", { name: /^Resident/ }).getByRole("cell");
      await reads(row, expected);
      const codebooks = page.getByRole("row", { name: /^Codebooks/ }).getByRole("cell");
      await reads(codebooks, [formatBytes(coded.plan.bytes.codebooks), "0 B"]);
    },
  },
  {
    name: "says what is wrong with other texts",
    hash: "#/memory",
    async run(page) {
      for (
        const [text, problem] of [
          ["", "there is nothing in the field"],
          ["hello", "it is no JSON"],
          ["[]", "Cannot plan for this model"],
          ['{"model_type":"bloom","n_layer":2}', "ALiBi"],
          ['{"model_type":"llama"}', "num_hidden_layers"],
        ]
      ) {
        await page.getByLabel("config.json").fill(text!);
        await page.getByRole("alert").getByText(problem!).waitFor();
      }
    },
  },
  {
    name: "runs a kernel, checks it against the reference and times it beside f16",
    hash: `#/kernels/${KERNEL}`,
    async run(page) {
      await page.getByLabel("Tokens to time with").selectOption("512");
      await page.getByRole("button", { name: "Run" }).click();
      const outcome = page.locator(".outcome");
      await outcome.or(page.getByRole("alert")).waitFor({ timeout: RUN_TIMEOUT });
      assert.deepEqual(await page.getByRole("alert").allTextContents(), []);
      assert.match((await outcome.textContent())!, /swiftshader/i);
      const checks = await outcome.getByRole("listitem").allTextContents();
      assert.equal(checks.length, 2);
      const error = Number(/Attention passed: (\S+) largest/.exec(checks[0]!)?.[1]);
      assert.ok(error >= 0 && error <= TOLERANCE, `${checks[0]}`);
      assert.match(checks[1]!, /Records passed: all \d+ words .* bit for bit/);
      const rows = outcome.locator("tbody tr");
      assert.deepEqual(await rows.getByRole("rowheader").allTextContents(), ["c8b8", "f16"]);
      for (const cells of await rows.all()) {
        const [median, , ratio, names] = await cells.getByRole("cell").allTextContents();
        assert.ok(parseFloat(median!) > 0, `${median}`);
        assert.ok(Number(ratio) > 0, `${ratio}`);
        assert.match(names!, /^attend_.* \+ combine_d64$/);
      }
    },
  },
  {
    name: "without WebGPU shows everything else and says why nothing runs",
    hash: `#/kernels/${KERNEL}`,
    before: 'Object.defineProperty(Navigator.prototype, "gpu", { value: undefined })',
    async run(page) {
      await page.getByRole("alert").getByText("This browser has no WebGPU").waitFor();
      await counts(page.getByRole("button", { name: "Run" }), 0);
      await page.locator(".source tbody tr").first().waitFor();
      await page.getByRole("link", { name: "Memory" }).click();
      await page.getByRole("heading", { level: 2, name: "times less than" }).waitFor();
    },
  },
  {
    name: "is dark where the system is, until its button says otherwise",
    hash: "",
    context: { colorScheme: "dark" },
    async run(page) {
      const ground = () => page.evaluate("getComputedStyle(document.body).backgroundColor");
      await page.getByRole("button", { name: "Light theme" }).waitFor();
      const dark = await ground();
      const [label, light] = await page.evaluate(`(async () => {
        const button = document.querySelector("button.theme");
        button.click();
        await Promise.resolve();
        return [button.innerText, getComputedStyle(document.body).backgroundColor];
      })()`) as [string, string];
      assert.match(label, /^Dark/);
      assert.notEqual(light, dark, "label and colours change in one step");
      await page.reload();
      await page.getByRole("button", { name: "Dark theme" }).waitFor();
      assert.equal(await ground(), light);
    },
  },
  ...VIEWS.map((hash): Step => ({
    name: `${hash} fits a phone`,
    hash,
    context: { viewport: PHONE, colorScheme: "dark" },
    async run(page) {
      await settle(page);
      await gives(page, "document.documentElement.scrollWidth", PHONE.width);
      assert.deepEqual(await violations(page), []);
    },
  })),
  ...VIEWS.map((hash): Step => ({
    name: `${hash} is accessible on a large screen`,
    hash,
    async run(page) {
      await settle(page);
      assert.deepEqual(await violations(page), []);
    },
  })),
];

/** What axe finds in all but what is all alike, hundreds of times, and slow to look at. */
async function violations(page: Page): Promise<unknown> {
  await page.evaluate(`document
    .querySelectorAll(".code tr:nth-child(n + 60), .list li:nth-child(n + 20)")
    .forEach((one) => one.remove())`);
  return await pageViolations(page);
}

Deno.test({
  name: "the kernel explorer in Chromium (ignored without one on PATH)",
  ignore: executablePath === undefined,
  async fn(t) {
    const folder = await mkdtemp(join(tmpdir(), "couplet-explorer-"));
    const { kernels: traced, initialBytes } = await buildExplorer(folder);
    assert.equal(traced, kernels.length);
    assert.ok(initialBytes < 700_000, `${initialBytes} bytes load at first`);
    const { url, close } = await serveFolder(folder, 0);
    const browser = await launchChromium(executablePath!, WEBGPU_FLAGS);
    try {
      for (const step of STEPS) await t.step(step.name, () => visit(browser, url, step));
    } finally {
      await browser.close();
      await close();
      await stop();
      await rm(folder, { recursive: true });
    }
  },
});
