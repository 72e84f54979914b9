import assert from "node:assert/strict";
import { testedHeadDims } from "../helpers/kernel_tests.ts";

Deno.test("every head dimension of the manifest has a file of kernel tests", () => {
  const files = [...Deno.readDirSync(new URL(".", import.meta.url))].map(({ name }) => name);
  const missing = testedHeadDims.map((headDim) => `kernels_d${headDim}_test.ts`)
    .filter((name) => !files.includes(name));
  assert.deepEqual(missing, []);
});
