/**
 * Draws docs/pictures/capacity.svg: sequences in the middle of a step, and which number of a plan's capacity limits what.
 *
 * Usage: `deno run -A tools/draw_capacity.ts`
 *
 * @module
 */
import { PAGE_TOKENS } from "@couplet/kv";
import { box, picture, text } from "./svg.ts";

const PATH = new URL("../docs/pictures/capacity.svg", import.meta.url);

/** The capacity shown. */
const CAPACITY = {
  sequences: 3,
  tokens: 1024,
  sequenceTokens: 640,
  stepTokens: 160,
  appendTokens: 128,
};

/** Tokens that sequences have, and those that a step adds. */
const SEQUENCES: readonly (readonly [tokens: number, added: number])[] = [[384, 128], [192, 1], [
  128,
  1,
]];

/** Picture units of a token, and of a row. */
const TOKEN = 0.75;
const ROW = 34;
const [LEFT, TOP] = [20, 70];

/** A bracket below a range, with its text. */
function bracket(x: number, y: number, width: number): string {
  return `<path d="M${x} ${y}v6h${width}v-6" class="line"/>`;
}

/** The picture, as SVG. */
export function drawCapacity(): string {
  const { sequences, tokens, sequenceTokens, stepTokens, appendTokens } = CAPACITY;
  const rows = SEQUENCES.flatMap(([held, added], row) => {
    const y = TOP + row * ROW;
    const pages = Array.from({ length: held / PAGE_TOKENS }, (_, page) =>
      box(
        LEFT + page * PAGE_TOKENS * TOKEN,
        y,
        PAGE_TOKENS * TOKEN - 2,
        20,
        `class="g${row}" opacity="0.55"`,
      ));
    return [
      box(LEFT, y, sequenceTokens * TOKEN, 20, 'class="line"'),
      ...pages,
      box(LEFT + held * TOKEN, y, Math.max(added * TOKEN, 3), 20, `class="g${row}"`),
    ];
  });
  const below = TOP + sequences * ROW;
  const first = SEQUENCES[0]!;
  const pool = LEFT + sequenceTokens * TOKEN + 90;
  const used = SEQUENCES.flatMap(([held, added], row) =>
    Array<number>(Math.ceil((held + added) / PAGE_TOKENS)).fill(row)
  );
  const cells = Array.from({ length: tokens / PAGE_TOKENS }, (_, page) => {
    const [x, y] = [pool + (page % 8) * 36, TOP + Math.floor(page / 8) * 36];
    const row = used[page];
    return box(x, y, 32, 32, row === undefined ? 'class="line"' : `class="g${row}" opacity="0.7"`);
  });
  return picture(
    [950, 262],
    "Three sequences in the middle of a step, and the pool of pages that they share.",
    [
      text(LEFT, 28, "Sequences, in the middle of a step", "title"),
      text(LEFT, 46, `sequences: ${sequences} rows at most`, "small"),
      ...rows,
      bracket(LEFT, below, sequenceTokens * TOKEN),
      text(LEFT, below + 22, `sequenceTokens: ${sequenceTokens}, the longest row`, "small"),
      bracket(LEFT + first[0] * TOKEN, below + 30, appendTokens * TOKEN),
      text(
        LEFT + first[0] * TOKEN,
        below + 52,
        `appendTokens: ${appendTokens}, new in one row`,
        "small",
      ),
      text(
        LEFT,
        below + 78,
        `stepTokens: ${stepTokens}, new in all rows together (here ${
          SEQUENCES.reduce((sum, [, added]) => sum + added, 0)
        }, the strong colours)`,
        "small",
      ),
      text(pool, 28, "Their pages", "title"),
      text(
        pool,
        46,
        `tokens: ${tokens}, ${tokens / PAGE_TOKENS} pages of ${PAGE_TOKENS} for all rows`,
        "small",
      ),
      ...cells,
      text(pool, TOP + 2 * 36 + 20, "Allocated once. A row takes a page when it", "small"),
      text(pool, TOP + 2 * 36 + 35, "needs one; a fork shares those it has.", "small"),
    ],
  );
}

if (import.meta.main) await Deno.writeTextFile(PATH, drawCapacity());
