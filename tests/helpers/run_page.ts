/** Pages of example hosts, in a browser. */
import assert from "node:assert/strict";
import { type PageName, servePage } from "../../examples/hosts/serve_page.ts";
import { visitWithGpu } from "./browser.ts";

/**
 * What a page's example gave.
 *
 * @param query Of the page's address, with its question mark.
 */
export async function runPage(
  chromium: string,
  name: PageName,
  query = "",
): Promise<Record<string, unknown>> {
  let give: (result: unknown) => void = () => {};
  const result = new Promise<unknown>((resolve) => give = resolve);
  const server = await servePage(name, 0, (found) => give(found));
  try {
    const url = `http://localhost:${server.addr.port}/${query}`;
    const found = await visitWithGpu(chromium, url, result) as Record<string, unknown>;
    assert.equal(found.error, undefined, String(found.error));
    return found;
  } finally {
    await server.shutdown();
  }
}
