import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { posix } from "node:path";
import { publishedFiles } from "../../tools/jsr_package.ts";
import { ROOT } from "../../tools/project.ts";
import { publishedPage, relativeLinks, REPOSITORY } from "../../tools/publication.ts";

const published = publishedFiles();
const pages = published.filter((path) => path.endsWith(".md"));

/** A link into the repository. */
const LINK = new RegExp(`${RegExp.escape(REPOSITORY)}/(blob|tree|raw)/main/([^)#]+)`, "g");

function page(path: string): string {
  return publishedPage(path, Deno.readTextFileSync(ROOT + path), published);
}

Deno.test("publishedPage() leaves README.md and CHANGELOG.md no relative link", () => {
  for (const path of ["README.md", "CHANGELOG.md"]) {
    assert.ok(pages.includes(path));
    assert.deepEqual(relativeLinks(page(path)), []);
  }
});

Deno.test("publishedPage() leaves no relative link to what is not published", () => {
  const missing = pages.flatMap((path) =>
    relativeLinks(page(path)).map(({ href }) =>
      posix.join(posix.dirname(path), href.split("#")[0]!).replace(/\/$/, "")
    ).filter((target) =>
      !published.some((file) => file === target || file.startsWith(`${target}/`))
    )
  );
  assert.deepEqual(missing, []);
});

Deno.test("publishedPage() leads links into the repository, to files that are there", () => {
  let checked = 0;
  for (const path of pages) {
    for (const [, place, target] of page(path).matchAll(LINK)) {
      const isFolder = statSync(ROOT + target!).isDirectory();
      if (place !== "raw") assert.equal(isFolder, place === "tree", `${path}: ${target}`);
      checked++;
    }
  }
  assert.ok(checked > 40, `${checked} links`);
});

Deno.test("publishedPage() gives pictures as they are, and keeps anchors and other links", () => {
  const text =
    "![a](pictures/one_vector.svg) [b](../bench/README.md#results) [c](hosts.md#x) [d](#y)" +
    " [e](https://example.com/)";
  assert.equal(
    publishedPage("docs/choosing.md", text, ["docs/hosts.md"]),
    `![a](${REPOSITORY}/raw/main/docs/pictures/one_vector.svg) ` +
      `[b](${REPOSITORY}/blob/main/bench/README.md#results) [c](hosts.md#x) [d](#y) ` +
      "[e](https://example.com/)",
  );
});
