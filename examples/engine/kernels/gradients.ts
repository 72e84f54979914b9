/** Gradients of the kernels around attention: each takes the gradient of a kernel's output to that of its input. */
import { STEP } from "./common.ts";

/** Invocations per workgroup: one row of the norm, or one element (or four) each. */
export const GRADIENT_WORKGROUP = 64;

const INDICES = `
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
`;

/**
 * RMSNorm: from the gradient of `y = x * f * gain`, `f` the inverse root mean square of x, to that of x,
 * which is added to what the output holds where `accumulate` says so.
 */
export const RMS_NORM_GRADIENT_SOURCE = `${STEP}
struct Norm { width: u32, rowsPerToken: u32, epsilon: f32, accumulate: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> gain: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> yGradient: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> xGradient: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> norm: Norm;

// Sum of squares of x, and sum of x * gain * gradient.
var<workgroup> sums: array<vec2<f32>, ${GRADIENT_WORKGROUP}>;

@compute @workgroup_size(${GRADIENT_WORKGROUP})
fn main(${INDICES}) {
  let row = group.y * groups.x + group.x;
  if (row >= step.rows * norm.rowsPerToken) { return; }
  let blocks = norm.width / 4u;
  let start = row * blocks;

  var sum = vec2<f32>();
  for (var i = lane; i < blocks; i += ${GRADIENT_WORKGROUP}u) {
    let value = x[start + i];
    sum += vec2(dot(value, value), dot(value, gain[i] * yGradient[start + i]));
  }
  sums[lane] = sum;
  workgroupBarrier();
  for (var stride = ${GRADIENT_WORKGROUP / 2}u; stride > 0u; stride /= 2u) {
    if (lane < stride) { sums[lane] += sums[lane + stride]; }
    workgroupBarrier();
  }

  let width = f32(norm.width);
  let factor = inverseSqrt(sums[0].x / width + norm.epsilon);
  let along = factor * factor * factor * sums[0].y / width;
  for (var i = lane; i < blocks; i += ${GRADIENT_WORKGROUP}u) {
    var gradient = factor * gain[i] * yGradient[start + i] - along * x[start + i];
    if (norm.accumulate != 0u) { gradient += xGradient[start + i]; }
    xGradient[start + i] = gradient;
  }
}
`;

/** SwiGLU: gates and ups, rows as in swiglu.ts, are replaced by their gradients. */
export const SWIGLU_GRADIENT_SOURCE = `${STEP}
struct Feed { blocks: u32 }
@group(0) @binding(0) var<storage, read> productGradient: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> gateUp: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> feed: Feed;

@compute @workgroup_size(${GRADIENT_WORKGROUP})
fn main(${INDICES}) {
  let index = (group.y * groups.x + group.x) * ${GRADIENT_WORKGROUP}u + lane;
  if (index >= step.rows * feed.blocks) { return; }
  let at = index + index / feed.blocks * feed.blocks;
  let gate = gateUp[at];
  let up = gateUp[at + feed.blocks];
  let share = 1.0 / (1.0 + exp(-gate));
  let gradient = productGradient[index];
  gateUp[at] = gradient * up * share * (1.0 + gate * (1.0 - share));
  gateUp[at + feed.blocks] = gradient * gate * share;
}
`;

/**
 * Cross-entropy: from logits, their log-sum-exp and the targets to the gradient of the summed loss. Rows of
 * the result are `rowLength` long, zero beyond the vocabulary; a row without a target is zero.
 */
export function crossEntropyGradientSource(noTarget: number): string {
  return `${STEP}
struct Head { vocabulary: u32, rowLength: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read> entropy: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> gradients: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> head: Head;

fn gradient(row: u32, token: u32, target_id: u32) -> f32 {
  if (token >= head.vocabulary) { return 0.0; }
  let share = exp(logits[row * head.vocabulary + token] - entropy[step.firstRow + row].y);
  return share - select(0.0, 1.0, token == target_id);
}

@compute @workgroup_size(${GRADIENT_WORKGROUP})
fn main(${INDICES}) {
  let index = (group.y * groups.x + group.x) * ${GRADIENT_WORKGROUP}u + lane;
  let row = index / (head.rowLength / 4u);
  let token = 4u * (index % (head.rowLength / 4u));
  if (row >= step.rows) { return; }
  let target_id = targets[step.firstRow + row];
  var result = vec4<f32>();
  if (target_id != ${noTarget}u) {
    result = vec4(
      gradient(row, token, target_id),
      gradient(row, token + 1u, target_id),
      gradient(row, token + 2u, target_id),
      gradient(row, token + 3u, target_id),
    );
  }
  gradients[index] = result;
}
`;
}
