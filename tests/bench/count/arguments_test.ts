import assert from "node:assert/strict";
import picomatch from "picomatch";
import { parseArguments } from "../../../bench/arguments.ts";
import { chooseKernels } from "../../../bench/count/count.ts";
import { manifest } from "../../../generated/manifest.ts";
import { CoupletError } from "../../../mod.ts";

Deno.test("bench count takes several kernels, a chip and constants", () => {
  const parsed = parseArguments([
    ...["count", "--kernel", "mix_c8b8_d128", "score_*", "--family", "gfx1100"],
    ...["--override", "SPAN=4,ROTARY_CHUNKS=12"],
  ]);
  assert.deepEqual(parsed, {
    command: {
      suite: "count",
      choice: {
        kernels: ["mix_c8b8_d128", "score_*"],
        family: "gfx1100",
        overrides: { SPAN: 4, ROTARY_CHUNKS: 12 },
      },
      files: {},
    },
  });
});

Deno.test("bench count refuses constants without a number", () => {
  assert.throws(
    () => parseArguments(["count", "--override", "SPAN"]),
    (error) => error instanceof CoupletError && error.code === "usage",
  );
});

Deno.test("chooseKernels() gives each kernel once, and none that do not go through tiles", () => {
  const chosen = chooseKernels(manifest, ["*_c8b8_d128", "mix_c8b8_*"], picomatch);
  assert.deepEqual(chosen.map(({ name }) => name).filter((name) => name.endsWith("_d128")), [
    "mix_c8b8_d128",
  ]);
  assert.equal(new Set(chosen).size, chosen.length);
});

Deno.test("chooseKernels() refuses a name of no kernel that can be counted", () => {
  assert.throws(
    () => chooseKernels(manifest, ["encode_c8b8_d128"], picomatch),
    (error) => error instanceof CoupletError && error.code === "usage",
  );
});
