import { STEP } from "./common.ts";

/** Invocations per workgroup: one pair of channels each. */
export const ROTATE_WORKGROUP = 64;

/**
 * The rotary embedding in place, for a cache that takes keys and queries as they are scored. Cosines
 * and sines come in a table per token, one of several for layers that differ: at long contexts float32 angles would be off.
 */
export const ROTATE_SOURCE = `${STEP}
struct Heads { heads: u32, halfDim: u32, firstTurn: u32 }
@group(0) @binding(0) var<storage, read> turns: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<uniform> shape: Heads;

@compute @workgroup_size(${ROTATE_WORKGROUP})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = (group.y * groups.x + group.x) * ${ROTATE_WORKGROUP}u + lane;
  let pair = index % shape.halfDim;
  let head = index / shape.halfDim;
  let token = head / shape.heads;
  if (token >= step.rows) { return; }
  let turn = turns[shape.firstTurn + token * shape.halfDim + pair];
  let at = head * 2u * shape.halfDim + pair;
  let a = x[at];
  let b = x[at + shape.halfDim];
  x[at] = a * turn.x - b * turn.y;
  x[at + shape.halfDim] = b * turn.x + a * turn.y;
}
`;
