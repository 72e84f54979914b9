import type { Scheme } from "../../../mod.ts";
import type { VNode } from "preact";
import { useState } from "preact/hooks";
import {
  describeField,
  type RecordCell,
  recordCells,
  type RecordField,
  recordFields,
  shownRows,
} from "./record_cells.ts";

/** Width and height of one bit, and room for the words' numbers, in units of the picture. */
const BIT = 24;
const ROW = 30;
const MARGIN = 44;
const TOP = 22;

/** A record as a picture: a row for each word, bit 0 at the left. */
export function RecordPicture(
  { scheme, headDim, all, onAll }: {
    readonly scheme: Scheme;
    readonly headDim: number;
    readonly all: boolean;
    readonly onAll: () => void;
  },
): VNode {
  const [pointed, setPointed] = useState<RecordField>();
  const { words, codes, tokens } = scheme.layout(headDim);
  const fields = recordFields(scheme, headDim);
  const cells = recordCells(fields);
  const rows = shownRows(cells, all);
  const rowOf = new Map(rows.flatMap((row, i) => "word" in row ? [[row.word, i] as const] : []));
  const width = MARGIN + 32 * BIT + 1;
  const height = TOP + rows.length * ROW + 1;
  return (
    <figure class="record">
      <div class="scroll" tabIndex={0} role="group" aria-label="Picture of a record">
        <svg
          viewBox={`0 0 ${width} ${height}`}
          role="img"
          aria-label={`Record of ${scheme.id} at head dimension ${headDim}: ${words} words`}
          onMouseLeave={() => setPointed(undefined)}
        >
          {[0, 8, 16, 24, 31].map((bit) => (
            <text key={bit} class="axis" x={MARGIN + (bit + 0.5) * BIT} y={TOP - 7}>
              {bit}
            </text>
          ))}
          {rows.map((row, i) =>
            "word" in row
              ? (
                <text key={i} class="axis" x={MARGIN / 2 - 3} y={TOP + (i + 0.5) * ROW + 4}>
                  {row.word}
                </text>
              )
              : (
                <text key={i} class="gap" x={MARGIN + 16 * BIT} y={TOP + (i + 0.5) * ROW + 4}>
                  ⋮ {row.gap === 1 ? "one word more" : `${row.gap} words more`}
                </text>
              )
          )}
          {cells.flatMap((cell, i) => {
            const row = rowOf.get(cell.word);
            return row === undefined ? [] : [
              <Cell
                key={i}
                cell={cell}
                row={row}
                codes={codes}
                tokens={tokens}
                pointed={cell.field === pointed}
                onPoint={setPointed}
              />,
            ];
          })}
        </svg>
      </div>
      <p class="pointed" role="status">
        {pointed === undefined ? "Point at a field to read what it holds." : describeField(pointed)}
      </p>
      {rowOf.size < words && <button type="button" onClick={onAll}>Show all {words} words</button>}
      <figcaption>
        Rows are words, columns bits, from the least significant.{" "}
        {tokens > 1 ? "t is the token, the numbers are channels." : "The numbers are channels."}
        <FieldTable fields={fields} />
      </figcaption>
    </figure>
  );
}

function Cell(
  { cell: { field, start, bits }, row, codes, tokens, pointed, onPoint }: {
    readonly cell: RecordCell;
    readonly row: number;
    readonly codes: number;
    readonly tokens: number;
    readonly pointed: boolean;
    readonly onPoint: (field: RecordField) => void;
  },
): VNode {
  const { holds } = field;
  const x = MARGIN + start * BIT;
  const y = TOP + row * ROW;
  const label = cellLabel(field, tokens, bits * BIT);
  return (
    <g
      class={`field ${holds.kind}${pointed ? " pointed" : ""}`}
      // Neighbouring groups of channels differ in hue, and tokens in lightness.
      style={holds.kind === "code"
        ? { "--hue": Math.round(360 * holds.code / codes), "--odd": holds.token % 2 }
        : {}}
      onMouseEnter={() => onPoint(field)}
      onClick={() => onPoint(field)}
    >
      <rect x={x} y={y} width={bits * BIT} height={ROW} />
      {label !== "" && <text x={x + bits * BIT / 2} y={y + ROW / 2 + 4}>{label}</text>}
    </g>
  );
}

/** What fits into a cell of its width. */
function cellLabel({ holds }: RecordField, tokens: number, width: number): string {
  const room = Math.floor(width / 6.5);
  const fitting = (...labels: string[]) => labels.find((label) => label.length <= room) ?? "";
  if (holds.kind === "padding") return fitting("unused");
  if (holds.kind === "shared") return fitting("shared by all tokens", "shared");
  if (holds.kind === "token") {
    return fitting(`token ${holds.token}'s own`, `t${holds.token} own`, `t${holds.token}`);
  }
  const [first, last] = holds.channels;
  const channels = first === last ? `${first}` : `${first}–${last}`;
  return tokens === 1
    ? fitting(channels, `${first}`)
    : fitting(`t${holds.token}: ${channels}`, channels, `${first}`);
}

/** The same in words, for those who cannot see the picture or want to search it. */
function FieldTable({ fields }: { readonly fields: readonly RecordField[] }): VNode {
  const [open, setOpen] = useState(false);
  return (
    <details onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>All {fields.length} fields in words</summary>
      {open && (
        <ol class="fields-in-words">
          {fields.map((field) => <li key={field.bit}>{describeField(field)}</li>)}
        </ol>
      )}
    </details>
  );
}
