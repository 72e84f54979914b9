import assert from "node:assert/strict";
import { writeReference } from "../../tools/reference.ts";

Deno.test("writeReference() writes a page for each entry and public name, and an index to search", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await writeReference(folder);
    const index = await Deno.readTextFile(`${folder}/search_index.js`);
    for (const name of ["planCache", "createCache", "planOptions", "directoryStore"]) {
      assert.ok(index.includes(`"${name}"`), name);
    }
    assert.match(await Deno.readTextFile(`${folder}/index.html`), /search/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
