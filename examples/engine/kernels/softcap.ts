import { STEP } from "./common.ts";
import { TANH_LIMIT } from "./gate.ts";

/** Invocations per workgroup. */
export const SOFTCAP_WORKGROUP = 64;

/** `bound * tanh(x / bound)` in place, of rows of logits (Gemma 2). */
export const SOFTCAP_SOURCE = `${STEP}
struct Cap { width: u32, bound: f32 }
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<uniform> cap: Cap;

@compute @workgroup_size(${SOFTCAP_WORKGROUP})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = (group.y * groups.x + group.x) * ${SOFTCAP_WORKGROUP}u + lane;
  if (index >= step.rows * cap.width) { return; }
  x[index] = cap.bound * tanh(clamp(x[index] / cap.bound, -${TANH_LIMIT}.0, ${TANH_LIMIT}.0));
}
`;
