/** Everything that commands print fits a terminal of 80 columns. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { SUMMARIES } from "../../cli/summaries.ts";
import { formatTable, wrapLines } from "../../cli/table.ts";
import { couplet, samplesFile, withFolder } from "../helpers/cli.ts";
import { assertNarrow, NARROW } from "../helpers/width.ts";

const FIXTURE = new URL("../fixtures/tiny-llama", import.meta.url).pathname;

const LINES: readonly string[] = [
  "kernels list",
  "kernels list --scheme c8b8",
  "kernels show attend_c8b8_c8b8_d128_rope",
  "kernels show attend_n16b8x2_n16b8x2_d128_table16_int8",
  "kernels explain --head-dim 128 --keys c4b8 --values c8b8",
  "kernels explain --head-dim 128 --scheme n16b8x2 --space as-scored --precision int8",
  "kernels explain --head-dim 128 --scheme c8b8 --limit maxComputeWorkgroupStorageSize=4096",
  `plan ${FIXTURE}`,
  `plan ${FIXTURE} --tokens 32768 --sequences 4 --window 128 --limit maxBufferSize=1073741824`,
  `plan ${FIXTURE} --recipe small --tokens 1000000`,
  `plan ${FIXTURE} --keys c4b8 --values c8b8`,
  `plan ${FIXTURE} --scheme f16 --span image=sc1:576x4`,
  "--help",
  ...Object.keys(SUMMARIES).map((name) => `${name} --help`),
  "eval --help",
  "calibrate text --help",
];

for (const line of LINES) {
  Deno.test(`couplet ${line.replace(FIXTURE, "MODEL")} fits ${NARROW} columns`, async () => {
    const { output } = await couplet(line.split(" "), { width: NARROW });
    assertNarrow(output);
  });
}

Deno.test(`couplet doctor fits ${NARROW} columns`, async () => {
  const { output } = await couplet(["doctor"], { gpu: navigator.gpu, width: NARROW });
  assertNarrow(output);
});

Deno.test(`couplet calibrate, codebooks and snapshot tell of files in ${NARROW} columns`, async () => {
  await withFolder(async (folder) => {
    const [samples, out] = ["samples.safetensors", "codebooks.safetensors"]
      .map((file) => join(folder, file)) as [string, string];
    await Deno.writeFile(samples, samplesFile({ layers: 3, tokens: 300 }));
    const digest = `sha256:${"0123456789abcdef".repeat(4)}`;
    const learn = "calibrate samples --cpu --iterations 1 --space pre-rope --model my-model";
    for (
      const line of [
        `${learn} --digest ${digest} --keys c4b8 --values c8b8 ${samples} --out ${out}`,
        `codebooks info ${out}`,
        `codebooks verify ${out}`,
      ]
    ) {
      const { exitCode, output, errors } = await couplet(line.split(" "), { width: NARROW });
      assert.equal(exitCode, 0, errors);
      assertNarrow(output);
    }
  });
});

Deno.test("formatTable() wraps the widest columns between words, and within words if it must", () => {
  const table = formatTable([
    ["name", "12", "what it is, in quite a few words"],
    ["a_name_without_spaces", "7", "short"],
  ], { width: 40, right: [1] });
  assert.deepEqual(table.split("\n"), [
    "name                   12  what it is,",
    "                           in quite a",
    "                           few words",
    "a_name_without_spaces   7  short",
  ]);
  const within = formatTable([["x".repeat(100), "y".repeat(10)]], { width: 40 });
  assert.equal(within.replaceAll(/\s/g, "").length, 110);
  assert.ok(within.split("\n").every(({ length }) => length <= 40), within);
});

Deno.test("formatTable() counts columns of a terminal, not code units", () => {
  assert.equal(formatTable([["日本", "x"], ["abcd", "y"]], { width: 80 }), "日本  x\nabcd  y");
});

Deno.test("wrapLines() keeps the indent of a line that it breaks", () => {
  assert.equal(wrapLines("  one two three\nfour", 12), "  one two\n  three\nfour");
});
