import { STEP } from "./common.ts";

/** Invocations per workgroup, which is one row. */
export const RMS_NORM_WORKGROUP = 64;

/**
 * RMSNorm of rows of `width` channels, plus what y held before (the residual stream). `rowsPerToken` rows belong to one token: 1 for the residual
 * stream, the number of heads for norms of queries and keys.
 */
export const RMS_NORM_SOURCE = `${STEP}
struct Norm { width: u32, rowsPerToken: u32, epsilon: f32, addToOutput: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> gain: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> norm: Norm;

var<workgroup> sums: array<f32, ${RMS_NORM_WORKGROUP}>;

@compute @workgroup_size(${RMS_NORM_WORKGROUP})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.y * groups.x + group.x;
  if (row >= step.rows * norm.rowsPerToken) { return; }
  let blocks = norm.width / 4u;
  let start = row * blocks;

  var sum = 0.0;
  for (var i = lane; i < blocks; i += ${RMS_NORM_WORKGROUP}u) {
    let value = x[start + i];
    sum += dot(value, value);
  }
  sums[lane] = sum;
  workgroupBarrier();
  for (var stride = ${RMS_NORM_WORKGROUP / 2}u; stride > 0u; stride /= 2u) {
    if (lane < stride) { sums[lane] += sums[lane + stride]; }
    workgroupBarrier();
  }

  let factor = inverseSqrt(sums[0] / f32(norm.width) + norm.epsilon);
  for (var i = lane; i < blocks; i += ${RMS_NORM_WORKGROUP}u) {
    var value = x[start + i] * factor * gain[i];
    if (norm.addToOutput != 0u) { value += y[start + i]; }
    y[start + i] = value;
  }
}
`;
