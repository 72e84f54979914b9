import assert from "node:assert/strict";
import { formatTable } from "../../../examples/tables/grouped.ts";

interface Figures {
  readonly name: string;
  readonly value: number;
}

Deno.test("formatTable puts groups that do not fit beside the others into tables below", () => {
  const group = (title: string) => ({
    title,
    columns: [1, 2].map((times) => ({
      title: `x ${times}`,
      cell: ({ value }: Figures) => (times * value).toFixed(2),
    })),
  });
  const names = {
    title: "",
    columns: [{ title: "scheme", cell: ({ name }: Figures) => name }],
  };
  const rows = [{ name: "f16", value: 16 }, { name: "c4b8", value: 2 }];
  assert.equal(
    formatTable([names, group("a"), group("b")], rows, 30),
    [
      "       | a",
      "scheme |   x 1    x 2",
      "-------+-------------",
      "f16    | 16.00  32.00",
      "c4b8   |  2.00   4.00",
      "",
      "       | b",
      "scheme |   x 1    x 2",
      "-------+-------------",
      "f16    | 16.00  32.00",
      "c4b8   |  2.00   4.00",
    ].join("\n"),
  );
  // A group that is too wide by itself is divided.
  const narrow = formatTable([names, group("a")], rows, 16);
  assert.equal(narrow.split("\n\n").length, 2);
  assert.ok(narrow.split("\n").every(({ length }) => length <= 16), narrow);
});

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
