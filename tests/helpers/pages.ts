/** Pages in a headless Chromium, as the tests of pages drive them. */
import assert from "node:assert/strict";
import axe from "axe-core";
import { type Browser, chromium, type Page } from "playwright-core";
import { browserEnvironment } from "./browser.ts";

/** Milliseconds after which a page that does not answer has failed, on a busy machine too. */
export const PAGE_TIMEOUT = 120_000;

/** Milliseconds between two looks at a page. */
const INTERVAL = 50;

/** The flags with which Chromium offers WebGPU without a GPU. */
export const WEBGPU_FLAGS: readonly string[] = [
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
];

/** Starts a Chromium. */
export async function launchChromium(
  executablePath: string,
  flags: readonly string[],
): Promise<Browser> {
  return await chromium.launch({
    executablePath,
    env: browserEnvironment(),
    args: ["--headless=new", "--no-sandbox", "--disable-background-networking", ...flags],
  });
}

/** What a page reports as errors, from now on. */
export function errorsOf(page: Page): string[] {
  const errors: string[] = [];
  page.on("pageerror", ({ message }) => errors.push(message));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text());
  });
  return errors;
}

/** Looks at a page again and again, until it is as asserted. */
export async function eventually(
  assertion: () => Promise<void>,
  timeout: number = PAGE_TIMEOUT,
): Promise<void> {
  const deadline = performance.now() + timeout;
  for (;;) {
    try {
      return await assertion();
    } catch (error) {
      if (!(error instanceof assert.AssertionError) || performance.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, INTERVAL));
  }
}

/** What axe finds: names, roles, contrast and order, by the rules of WCAG 2.2 A and AA. */
export async function violations(page: Page): Promise<unknown> {
  await page.evaluate(axe.source);
  return await page.evaluate(`axe.run(
    document,
    { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] },
  ).then(({ violations }) => violations.map(({ id, nodes }) =>
    id + ": " + nodes.slice(0, 3).map(({ html, failureSummary }) => html + failureSummary)
  ))`);
}
