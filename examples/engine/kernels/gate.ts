import { STEP } from "./common.ts";

/** Invocations per workgroup: four channels each. */
export const GATE_WORKGROUP = 64;

/** What gates pass, by the kernel's numbers: `clamped silu` is gpt-oss's. */
export const ACTIVATIONS = {
  "silu": 0,
  "gelu tanh": 1,
  "clamped silu": 2,
} as const;

/** One of {@linkcode ACTIVATIONS}. */
export type Activation = keyof typeof ACTIVATIONS;

/** Beyond it, tanh is 1 in float32, and some adapters compute it from powers that overflow. */
export const TANH_LIMIT = 10;

/** Steepness of gpt-oss's silu. */
export const CLAMPED_SLOPE = 1.702;

/**
 * `activation(gate) * up`; a row of the input holds all gates, then all ups. gpt-oss bounds both and adds
 * 1 to the latter.
 */
export const GATE_SOURCE = `${STEP}
struct Feed { blocks: u32, rowsPerToken: u32, activation: u32, limit: f32 }
@group(0) @binding(0) var<storage, read> gateUp: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> product: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> feed: Feed;

fn geluTanh(x: vec4<f32>) -> vec4<f32> {
  let inner = ${Math.sqrt(2 / Math.PI)} * (x + 0.044715 * x * x * x);
  return 0.5 * x * (1.0 + tanh(clamp(inner, vec4(-${TANH_LIMIT}.0), vec4(${TANH_LIMIT}.0))));
}

@compute @workgroup_size(${GATE_WORKGROUP})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = (group.y * groups.x + group.x) * ${GATE_WORKGROUP}u + lane;
  if (index >= step.rows * feed.rowsPerToken * feed.blocks) { return; }
  let at = index + index / feed.blocks * feed.blocks;
  let gate = gateUp[at];
  let up = gateUp[at + feed.blocks];
  switch feed.activation {
    case ${ACTIVATIONS["gelu tanh"]}u: {
      product[index] = geluTanh(gate) * up;
    }
    case ${ACTIVATIONS["clamped silu"]}u: {
      let low = min(gate, vec4(feed.limit));
      let bounded = clamp(up, vec4(-feed.limit), vec4(feed.limit));
      product[index] = low / (1.0 + exp(-${CLAMPED_SLOPE} * low)) * (bounded + 1.0);
    }
    default: {
      product[index] = gate / (1.0 + exp(-gate)) * up;
    }
  }
}
`;
