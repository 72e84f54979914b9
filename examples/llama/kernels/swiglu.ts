import { STEP } from "./common.ts";

/** Invocations per workgroup: four channels each. */
export const SWIGLU_WORKGROUP = 64;

/** `silu(gate) * up`; a row of the input holds all gates, then all ups. */
export const SWIGLU_SOURCE = `${STEP}
struct Feed { blocks: u32 }
@group(0) @binding(0) var<storage, read> gateUp: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> product: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> feed: Feed;

@compute @workgroup_size(${SWIGLU_WORKGROUP})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = (group.y * groups.x + group.x) * ${SWIGLU_WORKGROUP}u + lane;
  if (index >= step.rows * feed.blocks) { return; }
  let at = index + index / feed.blocks * feed.blocks;
  let gate = gateUp[at];
  let up = gateUp[at + feed.blocks];
  product[index] = gate / (1.0 + exp(-gate)) * up;
}
`;
