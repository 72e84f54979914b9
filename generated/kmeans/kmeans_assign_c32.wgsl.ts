// Generated from templates/kmeans/kmeans_assign.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (every width of group that a coupled or additive scheme can have, whatever its bits).

/** WGSL of `kmeans_assign_c32`. */
export const wgsl: string = `
const CHANNELS: u32 = 32u; // channels per group
const ROW: u32 = 9u; // vec4s of a centroid: its channels, then its bias
const TABLE_ROWS: u32 = 256u; // centroids the uniform binding holds
const WORKGROUP: u32 = 64u;
const QUADS: u32 = 1u; // quads, that is four samples, of one invocation

// A run of groups of one layer and side. A group is CHANNELS contiguous channels of a KV head.
struct Batch {
  first_group: u32,
  first_centroid: u32, // of the centroids that the table's binding begins with
  centroids: u32, // centroids to search, or to update
  group_rows: u32, // centroids from one group to the next, padding included
  samples: u32, // samples of a plane, padding included: its weight is zero
}

@group(0) @binding(0) var<uniform> batch: Batch;
@group(0) @binding(1) var<storage, read> samples: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> centroid_table: array<vec4<f32>, TABLE_ROWS * ROW>;
@group(0) @binding(3) var<storage, read_write> scores: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> codes_written: array<vec4<u32>>;

// The nearest centroid of every sample (Coupled Quantization, arXiv 2405.03917 §3), ties to the lowest index: the largest x.c - |c|^2/2,
// where the second term is the centroid's bias. The host centres the samples, so that nothing cancels.
// Centroids are a uniform binding, which every adapter reads fast where all invocations read the same element; the loops are unrolled
// because software adapters run them masked. Tables that exceed one binding are searched in turns, which go on from the scores.
// Grid: (samples / (WORKGROUP * QUADS * 4), groups in the table).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let group = batch.first_group + workgroup.y;
  let stride = batch.samples / 4u;
  let at = workgroup.x * (WORKGROUP * QUADS) + lane;
  let plane = group * CHANNELS * stride + at;
  let own = group * stride + at;

  let x_0_0 = samples[plane + 0u * stride + 0u * WORKGROUP];
  let x_0_1 = samples[plane + 1u * stride + 0u * WORKGROUP];
  let x_0_2 = samples[plane + 2u * stride + 0u * WORKGROUP];
  let x_0_3 = samples[plane + 3u * stride + 0u * WORKGROUP];
  let x_0_4 = samples[plane + 4u * stride + 0u * WORKGROUP];
  let x_0_5 = samples[plane + 5u * stride + 0u * WORKGROUP];
  let x_0_6 = samples[plane + 6u * stride + 0u * WORKGROUP];
  let x_0_7 = samples[plane + 7u * stride + 0u * WORKGROUP];
  let x_0_8 = samples[plane + 8u * stride + 0u * WORKGROUP];
  let x_0_9 = samples[plane + 9u * stride + 0u * WORKGROUP];
  let x_0_10 = samples[plane + 10u * stride + 0u * WORKGROUP];
  let x_0_11 = samples[plane + 11u * stride + 0u * WORKGROUP];
  let x_0_12 = samples[plane + 12u * stride + 0u * WORKGROUP];
  let x_0_13 = samples[plane + 13u * stride + 0u * WORKGROUP];
  let x_0_14 = samples[plane + 14u * stride + 0u * WORKGROUP];
  let x_0_15 = samples[plane + 15u * stride + 0u * WORKGROUP];
  let x_0_16 = samples[plane + 16u * stride + 0u * WORKGROUP];
  let x_0_17 = samples[plane + 17u * stride + 0u * WORKGROUP];
  let x_0_18 = samples[plane + 18u * stride + 0u * WORKGROUP];
  let x_0_19 = samples[plane + 19u * stride + 0u * WORKGROUP];
  let x_0_20 = samples[plane + 20u * stride + 0u * WORKGROUP];
  let x_0_21 = samples[plane + 21u * stride + 0u * WORKGROUP];
  let x_0_22 = samples[plane + 22u * stride + 0u * WORKGROUP];
  let x_0_23 = samples[plane + 23u * stride + 0u * WORKGROUP];
  let x_0_24 = samples[plane + 24u * stride + 0u * WORKGROUP];
  let x_0_25 = samples[plane + 25u * stride + 0u * WORKGROUP];
  let x_0_26 = samples[plane + 26u * stride + 0u * WORKGROUP];
  let x_0_27 = samples[plane + 27u * stride + 0u * WORKGROUP];
  let x_0_28 = samples[plane + 28u * stride + 0u * WORKGROUP];
  let x_0_29 = samples[plane + 29u * stride + 0u * WORKGROUP];
  let x_0_30 = samples[plane + 30u * stride + 0u * WORKGROUP];
  let x_0_31 = samples[plane + 31u * stride + 0u * WORKGROUP];
  var best_0 = select(scores[own + 0u * WORKGROUP], vec4<f32>(-3.0e38), batch.first_centroid == 0u);
  var code_0 = codes_written[own + 0u * WORKGROUP];

  for (var i = 0u; i < batch.centroids; i += 1u) {
    let code = batch.first_centroid + i;
    let row = (workgroup.y * batch.group_rows + i) * ROW;
    let c_0 = centroid_table[row + 0u];
    let c_1 = centroid_table[row + 1u];
    let c_2 = centroid_table[row + 2u];
    let c_3 = centroid_table[row + 3u];
    let c_4 = centroid_table[row + 4u];
    let c_5 = centroid_table[row + 5u];
    let c_6 = centroid_table[row + 6u];
    let c_7 = centroid_table[row + 7u];
    let c_8 = centroid_table[row + 8u];
    let score_0 = x_0_0 * c_0.x + x_0_1 * c_0.y + x_0_2 * c_0.z + x_0_3 * c_0.w + x_0_4 * c_1.x + x_0_5 * c_1.y + x_0_6 * c_1.z + x_0_7 * c_1.w + x_0_8 * c_2.x + x_0_9 * c_2.y + x_0_10 * c_2.z + x_0_11 * c_2.w + x_0_12 * c_3.x + x_0_13 * c_3.y + x_0_14 * c_3.z + x_0_15 * c_3.w + x_0_16 * c_4.x + x_0_17 * c_4.y + x_0_18 * c_4.z + x_0_19 * c_4.w + x_0_20 * c_5.x + x_0_21 * c_5.y + x_0_22 * c_5.z + x_0_23 * c_5.w + x_0_24 * c_6.x + x_0_25 * c_6.y + x_0_26 * c_6.z + x_0_27 * c_6.w + x_0_28 * c_7.x + x_0_29 * c_7.y + x_0_30 * c_7.z + x_0_31 * c_7.w + c_8.x;
    code_0 = select(code_0, vec4<u32>(code), score_0 > best_0);
    best_0 = max(best_0, score_0);
  }

  scores[own + 0u * WORKGROUP] = best_0;
  codes_written[own + 0u * WORKGROUP] = code_0;
}
`;
