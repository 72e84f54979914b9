/** The count suite's figures as text. */
import { outputWidth } from "../../cli/output_width.ts";
import { wrapLines } from "../../cli/table.ts";
import { explainColumns, formatTable } from "../../examples/tables/grouped.ts";
import type { CountBench, KernelCount, TokenLoads } from "./results.ts";

/** The sum over all buffers. */
function total(loads: Readonly<Record<string, TokenLoads>>): TokenLoads {
  return Object.values(loads).reduce(
    (sum, { count, bytes }) => ({ count: sum.count + count, bytes: sum.bytes + bytes }),
    { count: 0, bytes: 0 },
  );
}

const whole = (value: number) => value.toFixed(0);

/**
 * The figures as a table.
 *
 * @param width Columns that it may take. Defaults to the terminal's.
 */
export function formatCounts(
  { family, mesa, dawn, overrides, counts, refused }: CountBench,
  width: number = outputWidth(),
): string {
  const table = formatTable<KernelCount>(
    [
      { title: "", columns: [{ title: "kernel", cell: ({ kernel }) => kernel }] },
      {
        title: "instructions",
        columns: [
          { title: "total", cell: ({ instructions }) => whole(instructions) },
          {
            title: "of it in loops",
            cell: ({ loops }) => loops.map(whole).join(" + "),
          },
          { title: "scalar", cell: ({ scalar }) => whole(scalar) },
        ],
      },
      {
        title: "registers",
        columns: [
          { title: "a lane", cell: ({ registers }) => whole(registers) },
          { title: "spilled", cell: ({ spilled }) => whole(spilled) },
          { title: "spills", cell: ({ spills }) => whole(spills) },
          { title: "waves", cell: ({ waves }) => whole(waves) },
        ],
      },
      {
        title: "loads",
        columns: [
          { title: "all", cell: ({ loads }) => whole(total(loads).count) },
          { title: "bytes", cell: ({ loads }) => whole(total(loads).bytes) },
          { title: "gathers", cell: ({ gathers }) => whole(total(gathers).count) },
          { title: "bytes", cell: ({ gathers }) => whole(total(gathers).bytes) },
        ],
      },
    ],
    counts,
    width,
  );
  const text = [
    `${family}, compiled by RADV of ${mesa} and Dawn ${dawn}: for one token of a KV head and four query rows`,
    ...Object.entries(overrides).map(([name, value]) => `${name} = ${value}`),
    "",
    table,
    "",
    explainColumns([
      [
        "total",
        "instructions of all lanes that compute, everything in a tile's loop, for a full coded tile",
      ],
      ["scalar", "instructions of a wave as a whole, times its lanes; another unit's"],
      ["spills", "loads and stores of registers that do not fit"],
      [
        "loads",
        "of lanes, from buffers and workgroup memory; gathers are those whose place depends on data",
      ],
    ], width),
    ...refused.map(({ kernel, why }) => `refused: ${kernel}: ${why}`),
  ].join("\n");
  return wrapLines(text, width);
}
