/**
 * Feed-forward blocks of which a token goes through some: choosing them, their products, and the sum.
 *
 * A route is an expert that a token goes through and its share, `[rows][choices]`. Matrices of all experts
 * lie one after the other, so that output `o` of expert `e` is output `e * width + o` of one matrix.
 *
 * @module
 */
import { blockChannels, blockParts, blockType, type MatrixStorage, STEP } from "./common.ts";

/** Invocations per workgroup: tokens, outputs or channels. */
export const EXPERTS_WORKGROUP = 64;

const ROUTE = `
struct Route { expert: u32, share: f32 }
`;

const INDEX = `(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let workgroup = group.y * groups.x + group.x;
  let index = workgroup * ${EXPERTS_WORKGROUP}u + lane;`;

/**
 * The experts with the largest scores, one token per invocation: of equal ones the first. Shares are a
 * softmax over those chosen, or over all.
 */
export const ROUTE_SOURCE = `${STEP}${ROUTE}
struct Experts { count: u32, choices: u32, normalized: u32 }
@group(0) @binding(0) var<storage, read> scores: array<f32>;
@group(0) @binding(1) var<storage, read_write> routes: array<Route>;
@group(0) @binding(2) var<uniform> experts: Experts;

@compute @workgroup_size(${EXPERTS_WORKGROUP})
fn main${INDEX}
  if (index >= step.rows) { return; }
  let start = index * experts.count;
  var last = 0u;
  var top = 0.0;
  var chosen = 0.0;
  for (var choice = 0u; choice < experts.choices; choice++) {
    var best = experts.count;
    for (var e = 0u; e < experts.count; e++) {
      let score = scores[start + e];
      // Those after the one chosen last, by score and then by number.
      let before = scores[start + last];
      let left = choice == 0u || score < before || (score == before && e > last);
      if (left && (best == experts.count || score > scores[start + best])) { best = e; }
    }
    // Scores that are no numbers leave none.
    best = min(best, experts.count - 1u);
    if (choice == 0u) { top = scores[start + best]; }
    let weight = exp(scores[start + best] - top);
    routes[index * experts.choices + choice] = Route(best, weight);
    chosen += weight;
    last = best;
  }
  var total = chosen;
  if (experts.normalized == 0u) {
    total = 0.0;
    for (var e = 0u; e < experts.count; e++) { total += exp(scores[start + e] - top); }
  }
  for (var choice = 0u; choice < experts.choices; choice++) {
    routes[index * experts.choices + choice].share /= total;
  }
}
`;

/**
 * `y = x W^T + bias` with the matrix of each route's expert, for one piece of them all. Several routes in
 * a row may read one row of `x`.
 */
export function expertMatmulSource(storage: MatrixStorage): string {
  const parts = blockChannels(storage) / 4;
  return `${STEP}${ROUTE}
struct Piece {
  // 16-byte blocks along the inputs, and where the piece's outputs lie among those of all experts.
  blocks: u32, outputs: u32, firstOutput: u32,
  // Outputs of an expert, routes of a token, routes that read one row of x.
  width: u32, choices: u32, routesPerRow: u32,
  addBias: u32,
}
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> matrix: array<${blockType(storage)}>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> routes: array<Route>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<uniform> piece: Piece;

@compute @workgroup_size(${EXPERTS_WORKGROUP})
fn main${INDEX}
  let columns = (piece.width + ${EXPERTS_WORKGROUP - 1}u) / ${EXPERTS_WORKGROUP}u;
  let route = workgroup / columns;
  let column = index % (columns * ${EXPERTS_WORKGROUP}u);
  if (route >= step.rows * piece.choices || column >= piece.width) { return; }
  let output = routes[route].expert * piece.width + column;
  if (output < piece.firstOutput || output >= piece.firstOutput + piece.outputs) { return; }
  let at = output - piece.firstOutput;
  let row = route / piece.routesPerRow * piece.blocks * ${parts}u;
  var sum = 0.0;
  if (piece.addBias != 0u) { sum = bias[output]; }
  for (var b = 0u; b < piece.blocks; b++) {
    let block = matrix[b * piece.outputs + at];
${
    blockParts(storage, "block").map((part, p) =>
      `    sum += dot(x[row + b * ${parts}u + ${p}u], ${part});`
    ).join("\n")
  }
  }
  y[route * piece.width + column] = sum;
}
`;
}

/** Adds a token's experts' outputs to the residual stream, by their shares. */
export const MIX_EXPERTS_SOURCE = `${STEP}${ROUTE}
struct Mix { blocks: u32, choices: u32 }
@group(0) @binding(0) var<storage, read> outputs: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> routes: array<Route>;
@group(0) @binding(2) var<storage, read_write> hidden: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> mix: Mix;

@compute @workgroup_size(${EXPERTS_WORKGROUP})
fn main${INDEX}
  if (index >= step.rows * mix.blocks) { return; }
  let first = index / mix.blocks * mix.choices;
  var sum = vec4<f32>();
  for (var choice = 0u; choice < mix.choices; choice++) {
    let route = first + choice;
    sum += routes[route].share * outputs[route * mix.blocks + index % mix.blocks];
  }
  hidden[index] += sum;
}
`;
