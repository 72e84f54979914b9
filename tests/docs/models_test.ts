import assert from "node:assert/strict";
import { MODELS_PAGE, modelsPage } from "../../tools/models/models_page.ts";

Deno.test("docs/models.md is what the families and the published models say", () => {
  assert.equal(
    Deno.readTextFileSync(MODELS_PAGE),
    modelsPage(),
    "Run `deno run -A tools/models/models_page.ts`, and commit the page",
  );
});
