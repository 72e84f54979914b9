import { STEP } from "./common.ts";

/** Invocations per workgroup, which is one row of logits. */
export const CROSS_ENTROPY_WORKGROUP = 64;

/** The target of a row that predicts nothing. */
export const NO_TARGET = 0xffffffff;

/** Per row: the loss of the target token (0 where there is none) and the logits' log-sum-exp. */
export const CROSS_ENTROPY_SOURCE = `${STEP}
struct Head { vocabulary: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> result: array<vec2<f32>>;
@group(0) @binding(3) var<uniform> head: Head;

// Largest logit, and the sum of exp(logit - largest).
var<workgroup> partial: array<vec2<f32>, ${CROSS_ENTROPY_WORKGROUP}>;

fn merge(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  let largest = max(a.x, b.x);
  return vec2(largest, a.y * exp(a.x - largest) + b.y * exp(b.x - largest));
}

@compute @workgroup_size(${CROSS_ENTROPY_WORKGROUP})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.y * groups.x + group.x;
  if (row >= step.rows) { return; }
  let start = row * head.vocabulary;
  // -1e38 stands for minus infinity, which WGSL cannot write and may not preserve.
  var seen = vec2(-1e38, 0.0);
  for (var i = lane; i < head.vocabulary; i += ${CROSS_ENTROPY_WORKGROUP}u) {
    seen = merge(seen, vec2(logits[start + i], 1.0));
  }
  partial[lane] = seen;
  workgroupBarrier();
  for (var stride = ${CROSS_ENTROPY_WORKGROUP / 2}u; stride > 0u; stride /= 2u) {
    if (lane < stride) { partial[lane] = merge(partial[lane], partial[lane + stride]); }
    workgroupBarrier();
  }
  if (lane == 0u) {
    let logSumExp = partial[0].x + log(partial[0].y);
    let target_id = targets[step.firstRow + row];
    var loss = 0.0;
    if (target_id != ${NO_TARGET}u) {
      loss = logSumExp - logits[start + min(target_id, head.vocabulary - 1u)];
    }
    result[step.firstRow + row] = vec2(loss, logSumExp);
  }
}
`;
