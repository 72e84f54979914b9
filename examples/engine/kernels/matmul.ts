import { blockChannels, blockParts, blockType, type MatrixStorage, STEP } from "./common.ts";

/** How the outputs are dealt to invocations. */
export interface Tile {
  /** Rows one invocation computes. */
  readonly rows: number;
  /** Outputs per row one invocation computes. */
  readonly columns: number;
  /** Invocations of a workgroup along the outputs. */
  readonly lanesX: number;
  /** Invocations of a workgroup along the rows. */
  readonly lanesY: number;
}

/**
 * The tiles, best first for many rows. An invocation keeps `rows * columns` sums in registers and
 * loads straight from the buffers: on a software adapter a load costs tens of times a multiplication
 * and one from workgroup memory costs the same, so only a large register tile helps; hardware caches
 * what its neighbours load too.
 */
export const TILES = {
  /** Prefill and batches: 32 rows and 128 outputs a workgroup. */
  wide: { rows: 8, columns: 16, lanesX: 8, lanesY: 4 },
  /** Few rows: no work for rows that are not there. */
  narrow: { rows: 1, columns: 4, lanesX: 32, lanesY: 1 },
} as const satisfies Record<string, Tile>;

/** A tile's name. */
export type TileName = keyof typeof TILES;

/** Rows up to which the narrow tile does less work. */
export const NARROW_ROWS = 4;

/**
 * `y = x W^T`, plus a bias, plus what y held before (the residual stream), for one piece of a matrix.
 * The tile is unrolled: compilers keep neither an array of sums nor one of loaded values in registers.
 */
export function matmulSource(tile: Tile, storage: MatrixStorage): string {
  const rows = Array.from({ length: tile.rows }, (_, r) => r);
  const columns = Array.from({ length: tile.columns }, (_, c) => c);
  const parts = blockChannels(storage) / 4;
  const part = Array.from({ length: parts }, (_, p) => p);
  return `${STEP}
struct Piece {
  // 16-byte blocks along the inputs, and outputs of this piece.
  blocks: u32, outputs: u32,
  // Where the piece's outputs start in a row of y, and a row's length there.
  firstOutput: u32, rowLength: u32,
  addBias: u32, addToOutput: u32,
}
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> matrix: array<${blockType(storage)}>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> piece: Piece;

fn store(row: u32, column: u32, sum: f32) {
  if (row >= step.rows || column >= piece.outputs) { return; }
  let output = piece.firstOutput + column;
  let at = row * piece.rowLength + output;
  var total = sum;
  if (piece.addBias != 0u) { total += bias[output]; }
  if (piece.addToOutput != 0u) { total += y[at]; }
  y[at] = total;
}

@compute @workgroup_size(${tile.lanesX}, ${tile.lanesY})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) lane: vec3<u32>,
) {
  let row = group.y * ${tile.rows * tile.lanesY}u + lane.y;
  let column = group.x * ${tile.columns * tile.lanesX}u + lane.x;
  // Past the edge the last row and column are loaded again and their sums dropped.
  let lastRow = step.rows - 1u;
  let lastColumn = piece.outputs - 1u;
  let rowBlocks = piece.blocks * ${parts}u;
${
    rows.map((r) =>
      `  let x${r} = (step.firstRow + min(row + ${r * tile.lanesY}u, lastRow)) * rowBlocks;`
    ).join("\n")
  }
${columns.map((c) => `  let w${c} = min(column + ${c * tile.lanesX}u, lastColumn);`).join("\n")}
${rows.map((r) => columns.map((c) => `  var s${r}_${c} = 0.0;`).join("")).join("\n")}
  for (var b = 0u; b < piece.blocks; b++) {
    let start = b * piece.outputs;
${
    rows.map((r) =>
      part.map((p) => `    let a${r}_${p} = x[x${r} + b * ${parts}u + ${p}u];`).join("")
    ).join("\n")
  }
${
    columns.map((c) =>
      [
        `    let q${c} = matrix[start + w${c}];`,
        ...blockParts(storage, `q${c}`).map((value, p) => `    let m${c}_${p} = ${value};`),
        ...rows.map((r) =>
          `    s${r}_${c} += ${part.map((p) => `dot(a${r}_${p}, m${c}_${p})`).join(" + ")};`
        ),
      ].join("\n")
    ).join("\n")
  }
  }
${
    rows.map((r) =>
      columns.map((c) =>
        `  store(row + ${r * tile.lanesY}u, column + ${c * tile.lanesX}u, s${r}_${c});`
      ).join("\n")
    ).join("\n")
  }
}
`;
}
