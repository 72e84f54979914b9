/** The stores of browsers in Chromium, with pages that write at once, close and are killed. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { bundlePage } from "../../tools/bundle_page.ts";
import { browserEnvironment, findChromium } from "../helpers/browser.ts";
import type { BrowserStore, StorePage } from "../helpers/store_page.ts";

const executablePath = await findChromium();

declare const storePage: StorePage;

const KINDS: readonly BrowserStore[] = ["opfs", "indexed_db"];

/** A browser with a profile that is kept. */
async function launch(profile: string): Promise<BrowserContext> {
  return await chromium.launchPersistentContext(profile, {
    executablePath: executablePath!,
    env: browserEnvironment(),
    args: ["--headless=new", "--no-sandbox", "--disable-background-networking"],
  });
}

/** A page in which the stores can be called. */
async function open(context: BrowserContext, url: string): Promise<Page> {
  const page = await context.newPage();
  await page.goto(url);
  await page.waitForFunction("globalThis.storePage !== undefined");
  return page;
}

/** Ends a browser as a crash does. */
async function kill(context: BrowserContext): Promise<void> {
  const closed = new Promise((resolve) => context.once("close", resolve));
  const session = await context.browser()!.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  const { id } = processInfo.find(({ type }) => type === "browser")!;
  Deno.kill(id, "SIGKILL");
  await closed;
}

/** Waits for a few seconds where another process of a killed browser still holds the profile. */
async function remove(profile: string): Promise<void> {
  await rm(profile, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
}

// Without a browser, the same criteria still run against models of both: stores_test.ts, indexed_db_test.ts.
Deno.test({
  name: "the stores of browsers, in Chromium (ignored without one on PATH)",
  ignore: executablePath === undefined,
  async fn(t) {
    const program = await bundlePage("tests/helpers/store_page.ts");
    const server = Deno.serve({ port: 0, hostname: "localhost", onListen() {} }, ({ url }) => {
      const [body, type] = new URL(url).pathname === "/program.js"
        ? [program, "text/javascript"]
        : ['<!doctype html><script type="module" src="program.js"></script>', "text/html"];
      return new Response(body, { headers: { "content-type": type } });
    });
    const url = `http://localhost:${server.addr.port}/`;
    const profile = await mkdtemp(join(tmpdir(), "couplet-browser-"));
    let context = await launch(profile);
    try {
      const reader = await open(context, url);
      for (const kind of KINDS) {
        await t.step(`${kind} meets all criteria`, async () => {
          assert.deepEqual(await reader.evaluate((kind) => storePage.meet(kind), kind), []);
        });
      }

      /** Whose entries a page reads. */
      const read = (page: Page, kind: BrowserStore, times: number) =>
        page.evaluate(([kind, times]) => storePage.read(kind, times), [kind, times] as const);
      const allWhole = (found: readonly string[]) =>
        assert.deepEqual(found.filter((one) => !/^whole, of [12]$/.test(one)), []);

      const writers = [await open(context, url), await open(context, url)];
      await t.step("an entry is whole while two pages write it", async () => {
        for (const kind of KINDS) {
          await Promise.all(writers.map((page, i) =>
            page.evaluate(
              ([kind, writer]) => storePage.write(kind, writer),
              [kind, i + 1] as const,
            )
          ));
          allWhole(await read(reader, kind, 8));
        }
      });
      await t.step("an entry is whole when a page that writes it is closed", async () => {
        await writers[0]!.close();
        for (const kind of KINDS) allWhole(await read(reader, kind, 2));
      });
      await t.step(
        "an entry is whole when the browser was killed while it was written",
        async () => {
          await kill(context);
          context = await launch(profile);
          const page = await open(context, url);
          for (const kind of KINDS) {
            const [found] = await read(page, kind, 1);
            // Chromium takes two steps to replace a file.
            if (kind === "opfs" && found === "absent") continue;
            allWhole([found!]);
          }
        },
      );
      await t.step("an entry for which there is no room is refused", async () => {
        const page = await open(context, url);
        const session = await context.newCDPSession(page);
        const origin = url.slice(0, -1);
        const { usage } = await session.send("Storage.getUsageAndQuota", { origin });
        const quotaSize = usage + 5_000_000;
        await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize });
        for (const kind of KINDS) {
          const put = (bytes: number) =>
            page.evaluate(([kind, bytes]) => storePage.put(kind, bytes), [kind, bytes] as const);
          assert.equal(await put(1000), "written");
          assert.match(await put(10_000_000), /^store: .*storage\.estimate/);
        }
      });
    } finally {
      await context.close();
      await server.shutdown();
      await remove(profile);
    }
  },
});
