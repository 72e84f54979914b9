import assert from "node:assert/strict";
import { formatTable } from "../examples/demo/table.ts";

Deno.test("formatTable aligns names left, figures right, and headings with their figures", () => {
  const table = formatTable(
    [
      { title: ["scheme"], cell: ({ name }: { name: string; value: number }) => name },
      { title: ["bits", "nominal"], cell: ({ value }) => value.toFixed(2) },
      { title: ["x"], cell: ({ value }) => value.toFixed(0) },
    ],
    [{ name: "f16", value: 16 }, { name: "c4b8/c8b8", value: 1.5 }],
  );
  assert.equal(
    table,
    [
      "              bits",
      "scheme     nominal   x",
      "---------  -------  --",
      "f16          16.00  16",
      "c4b8/c8b8     1.50   2",
    ].join("\n"),
  );
});
