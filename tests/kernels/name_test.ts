import assert from "node:assert/strict";
import { CoupletError, formatKernelName, parseKernelName } from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";

Deno.test("parseKernelName() and formatKernelName() are inverse on every row of the manifest", () => {
  for (const { name } of manifest) assert.equal(formatKernelName(parseKernelName(name)), name);
});

Deno.test("parseKernelName() reads each part", () => {
  assert.deepEqual(parseKernelName("attend_c8b8_c4b8_d128_rope"), {
    family: "attend",
    schemes: ["c8b8", "c4b8"],
    size: 128,
    variant: "rope",
  });
  assert.deepEqual(parseKernelName("kmeans_assign_c4"), {
    family: "kmeans_assign",
    schemes: [],
    size: 4,
  });
});

for (
  const name of [
    "",
    "attend",
    "attend_c8b8_d64_rope",
    "attend_c8b8_c8b8_d64",
    "attend_c8b8_c8b8_d64_rope_extra",
    "encode_c8b8_64",
    "encode_c8b8_d064",
    "store_c8",
    "fly_d64",
  ]
) {
  Deno.test(`parseKernelName() refuses "${name}"`, () => {
    assert.throws(() => parseKernelName(name), (error) => {
      assert.ok(error instanceof CoupletError && error.code === "kernel");
      return true;
    });
  });
}
