/**
 * Dense causal attention over whole windows, and its gradient, as products of small matrices.
 *
 * A window is `tokens` rows, a multiple of {@linkcode WINDOW_TILE}. Products of queries and keys lie as
 * `[windows][queryHeads][tokens][tokens]`, one row per query; of what a query cannot see, a softmax kernel
 * sets to zero whatever the other kernels read. Each invocation keeps an 8 x 8 tile of sums in registers, as in matmul.ts.
 *
 * @module
 */
import { STEP } from "./common.ts";

/** Tokens of a window come in multiples of it. */
export const WINDOW_TILE = 64;

/** Rows of a workgroup of the product kernels. */
export const PRODUCT_ROWS = 32;

/** Columns of a workgroup of the product kernels: keys, or channels. */
export const PRODUCT_COLUMNS = 64;

/** Invocations per workgroup of the softmax kernels, which is one query's row: few, as software adapters pay for barriers. */
export const SOFTMAX_WORKGROUP = 16;

const EIGHT = [0, 1, 2, 3, 4, 5, 6, 7];
const TWO = [0, 1];
const FOUR = ["x", "y", "z", "w"];

const SHAPE = `
struct Window { tokens: u32, queryHeads: u32, keyValueHeads: u32, headBlocks: u32 }
`;

/**
 * `products[i][j] = a_i . b_j` of every query head, for the tiles that a causal mask leaves something of.
 * Queries and keys give scores; gradients of the output and values give gradients of the shares.
 */
export const PAIR_PRODUCTS_SOURCE = `${SHAPE}
@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> products: array<f32>;
@group(0) @binding(3) var<uniform> shape: Window;

@compute @workgroup_size(8, 4)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) lane: vec3<u32>,
) {
  if (group.x * ${PRODUCT_COLUMNS}u > group.y * ${PRODUCT_ROWS}u + ${PRODUCT_ROWS - 1}u) { return; }
  let head = group.z % shape.queryHeads;
  let keyHead = head * shape.keyValueHeads / shape.queryHeads;
  let first = group.z / shape.queryHeads * shape.tokens;
  let i = group.y * ${PRODUCT_ROWS}u + lane.y;
  let j = group.x * ${PRODUCT_COLUMNS}u + lane.x;
${
  EIGHT.map((r) =>
    `  let a${r} = ((first + i + ${4 * r}u) * shape.queryHeads + head) * shape.headBlocks;
  let b${r} = ((first + j + ${8 * r}u) * shape.keyValueHeads + keyHead) * shape.headBlocks;`
  ).join("\n")
}
${EIGHT.map((r) => EIGHT.map((c) => `  var s${r}_${c} = 0.0;`).join("")).join("\n")}
  for (var d = 0u; d < shape.headBlocks; d++) {
${EIGHT.map((r) => `    let x${r} = a[a${r} + d];`).join("\n")}
${
  EIGHT.map((c) =>
    `    let y${c} = b[b${c} + d];\n` +
    EIGHT.map((r) => `    s${r}_${c} += dot(x${r}, y${c});`).join("\n")
  ).join("\n")
}
  }
  let start = (group.z * shape.tokens + i) * shape.tokens + j;
${
  EIGHT.map((r) =>
    EIGHT.map((c) => `  products[start + ${4 * r}u * shape.tokens + ${8 * c}u] = s${r}_${c};`)
      .join("\n")
  ).join("\n")
}
}
`;

/** `y_i = sum over j of products[i][j] x_j`, per query head: shares mix values, gradients of scores mix keys. */
export const MIX_SOURCE = `${SHAPE}
@group(0) @binding(0) var<storage, read> products: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> shape: Window;

@compute @workgroup_size(8, 4)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) lane: vec3<u32>,
) {
  let head = group.z % shape.queryHeads;
  let keyHead = head * shape.keyValueHeads / shape.queryHeads;
  let first = group.z / shape.queryHeads * shape.tokens;
  let i = group.y * ${PRODUCT_ROWS}u + lane.y;
  let block = group.x * ${PRODUCT_COLUMNS / 4}u + 2u * lane.x;
  if (block >= shape.headBlocks) { return; }
  let rowBlocks = shape.tokens / 4u;
  let row = (group.z * shape.tokens + i) * rowBlocks;
  let stride = shape.keyValueHeads * shape.headBlocks;
${EIGHT.map((r) => TWO.map((c) => `  var s${r}_${c} = vec4<f32>();`).join("")).join("\n")}
  let seen = (group.y + 1u) * ${PRODUCT_ROWS / 4}u;
  for (var j = 0u; j < seen; j++) {
${EIGHT.map((r) => `    let p${r} = products[row + ${4 * r}u * rowBlocks + j];`).join("\n")}
    let at = (first + 4u * j) * stride + keyHead * shape.headBlocks + block;
${
  FOUR.map((part, k) =>
    TWO.map((c) =>
      `    let x${k}_${c} = x[at + ${k}u * stride + ${c}u];\n` +
      EIGHT.map((r) => `    s${r}_${c} += p${r}.${part} * x${k}_${c};`).join("\n")
    ).join("\n")
  ).join("\n")
}
  }
  let to = ((first + i) * shape.queryHeads + head) * shape.headBlocks + block;
  let rowLength = shape.queryHeads * shape.headBlocks;
${
  EIGHT.map((r) => TWO.map((c) => `  y[to + ${4 * r}u * rowLength + ${c}u] = s${r}_${c};`).join(""))
    .join("\n")
}
}
`;

/**
 * `y_j = sum over i of products[i][j] x_i`, over all query heads of a KV head: what every query sends back
 * to the keys and values it saw.
 */
export const GATHER_SOURCE = `${SHAPE}
@group(0) @binding(0) var<storage, read> products: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> shape: Window;

@compute @workgroup_size(8, 4)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) lane: vec3<u32>,
) {
  let window = group.z / shape.keyValueHeads;
  let keyHead = group.z % shape.keyValueHeads;
  let shared_by = shape.queryHeads / shape.keyValueHeads;
  let first = window * shape.tokens;
  let j = group.y * ${PRODUCT_ROWS}u + 8u * lane.y;
  let block = group.x * ${PRODUCT_COLUMNS / 4}u + 2u * lane.x;
  if (block >= shape.headBlocks) { return; }
  let rowBlocks = shape.tokens / 4u;
${EIGHT.map((r) => TWO.map((c) => `  var s${r}_${c} = vec4<f32>();`).join("")).join("\n")}
  for (var h = 0u; h < shared_by; h++) {
    let head = keyHead * shared_by + h;
    let column = (window * shape.queryHeads + head) * shape.tokens * rowBlocks + j / 4u;
    for (var i = group.y * ${PRODUCT_ROWS}u; i < shape.tokens; i++) {
      let p0 = products[column + i * rowBlocks];
      let p1 = products[column + i * rowBlocks + 1u];
      let at = ((first + i) * shape.queryHeads + head) * shape.headBlocks + block;
${
  TWO.map((c) =>
    `      let x${c} = x[at + ${c}u];\n` +
    EIGHT.map((r) => `      s${r}_${c} += p${r >> 2}.${FOUR[r & 3]} * x${c};`).join("\n")
  ).join("\n")
}
    }
  }
  let to = ((first + j) * shape.keyValueHeads + keyHead) * shape.headBlocks + block;
  let rowLength = shape.keyValueHeads * shape.headBlocks;
${
  EIGHT.map((r) => TWO.map((c) => `  y[to + ${r}u * rowLength + ${c}u] = s${r}_${c};`).join(""))
    .join("\n")
}
}
`;

/** Adds up one number per invocation of a workgroup, or finds the largest. */
function reduce(name: string, merge: (a: string, b: string) => string): string {
  return `
fn ${name}(lane: u32, value: f32) -> f32 {
  partial[lane] = value;
  workgroupBarrier();
  for (var stride = ${SOFTMAX_WORKGROUP / 2}u; stride > 0u; stride /= 2u) {
    if (lane < stride) { partial[lane] = ${merge("partial[lane]", "partial[lane + stride]")}; }
    workgroupBarrier();
  }
  let result = partial[0];
  workgroupBarrier();
  return result;
}`;
}

/**
 * A row of one query: blocks of four keys, up to the end of the last tile that the product kernels read of
 * it. Keys beyond the query's own are masked.
 */
const ROWS = `${STEP}
struct Softmax { tokens: u32, queryHeads: u32, scale: f32 }
var<workgroup> partial: array<f32, ${SOFTMAX_WORKGROUP}>;
${reduce("total", (a, b) => `${a} + ${b}`)}

fn mask(values: vec4<f32>, block: u32, query: u32, other: f32) -> vec4<f32> {
  return select(vec4(other), values, vec4(4u * block) + vec4(0u, 1u, 2u, 3u) <= vec4(query));
}
`;

const ROW_OF_WORKGROUP = `
  let row = group.y * groups.x + group.x;
  if (row >= step.rows * shape.queryHeads) { return; }
  let query = row % shape.tokens;
  let blocks = (query / ${PRODUCT_ROWS}u + 1u) * ${PRODUCT_ROWS / 4}u;
  let start = row * (shape.tokens / 4u);`;

/** Scores to shares in place: `softmax(scale * scores)` over the keys a query sees, zero for the others. */
export const CAUSAL_SOFTMAX_SOURCE = `${ROWS}
@group(0) @binding(0) var<storage, read_write> products: array<vec4<f32>>;
@group(0) @binding(1) var<uniform> shape: Softmax;
${reduce("largest", (a, b) => `max(${a}, ${b})`)}

@compute @workgroup_size(${SOFTMAX_WORKGROUP})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {${ROW_OF_WORKGROUP}
  var most = vec4(-1e38);
  for (var j = lane; j < blocks; j += ${SOFTMAX_WORKGROUP}u) {
    most = max(most, mask(products[start + j], j, query, -1e38));
  }
  let top = largest(lane, max(max(most.x, most.y), max(most.z, most.w)));
  var sum = 0.0;
  for (var j = lane; j < blocks; j += ${SOFTMAX_WORKGROUP}u) {
    let value = mask(exp((products[start + j] - top) * shape.scale), j, query, 0.0);
    products[start + j] = value;
    sum += dot(value, vec4(1.0));
  }
  let share = 1.0 / total(lane, sum);
  for (var j = lane; j < blocks; j += ${SOFTMAX_WORKGROUP}u) {
    products[start + j] *= share;
  }
}
`;

/** Gradients of shares to gradients of scores, in place. */
export const CAUSAL_SOFTMAX_GRADIENT_SOURCE = `${ROWS}
@group(0) @binding(0) var<storage, read> shares: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> products: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> shape: Softmax;

@compute @workgroup_size(${SOFTMAX_WORKGROUP})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {${ROW_OF_WORKGROUP}
  var sum = 0.0;
  for (var j = lane; j < blocks; j += ${SOFTMAX_WORKGROUP}u) {
    // Shares are zero where products mean nothing.
    sum += dot(shares[start + j], products[start + j]);
  }
  let mean = total(lane, sum);
  for (var j = lane; j < blocks; j += ${SOFTMAX_WORKGROUP}u) {
    products[start + j] = shares[start + j] * (products[start + j] - mean) * shape.scale;
  }
}
`;
