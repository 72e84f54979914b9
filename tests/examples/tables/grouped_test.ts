import assert from "node:assert/strict";
import { formatTable } from "../../../examples/tables/grouped.ts";

interface Figures {
  readonly name: string;
  readonly value: number;
}

Deno.test("formatTable aligns names left, figures right, and groups under their headings", () => {
  const table = formatTable<Figures>(
    [
      {
        title: "",
        columns: [
          { title: "scheme", cell: ({ name }) => name },
          { title: "bits", cell: ({ value }) => `${value}` },
        ],
      },
      { title: "long heading", columns: [{ title: "x", cell: ({ value }) => value.toFixed(2) }] },
    ],
    [{ name: "f16", value: 16 }, { name: "c4b8/c8b8", value: 1.5 }],
  );
  assert.equal(
    table,
    [
      "                | long heading",
      "scheme     bits |            x",
      "----------------+-------------",
      "f16          16 |        16.00",
      "c4b8/c8b8   1.5 |         1.50",
    ].join("\n"),
  );
});
