import assert from "node:assert/strict";
import { drawOneVector } from "../../tools/draw_one_vector.ts";

Deno.test("docs/pictures/one_vector.svg is what tools/draw_one_vector.ts draws", async () => {
  const path = new URL("../../docs/pictures/one_vector.svg", import.meta.url);
  assert.equal(await drawOneVector(), await Deno.readTextFile(path));
});
