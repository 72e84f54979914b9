// Generated from templates/kmeans/kmeans_assign.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (every width of group that a coupled or additive scheme can have, whatever its bits).

/** WGSL of `kmeans_assign_c8`. */
export const wgsl: string = `
const CHANNELS: u32 = 8u; // channels per group
const ROW: u32 = 3u; // vec4s of a centroid: its channels, then its bias
const TABLE_ROWS: u32 = 1024u; // centroids the uniform binding holds
const WORKGROUP: u32 = 64u;
const QUADS: u32 = 4u; // quads, that is four samples, of one invocation

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
  var best_0 = select(scores[own + 0u * WORKGROUP], vec4<f32>(-3.0e38), batch.first_centroid == 0u);
  var code_0 = codes_written[own + 0u * WORKGROUP];
  let x_1_0 = samples[plane + 0u * stride + 1u * WORKGROUP];
  let x_1_1 = samples[plane + 1u * stride + 1u * WORKGROUP];
  let x_1_2 = samples[plane + 2u * stride + 1u * WORKGROUP];
  let x_1_3 = samples[plane + 3u * stride + 1u * WORKGROUP];
  let x_1_4 = samples[plane + 4u * stride + 1u * WORKGROUP];
  let x_1_5 = samples[plane + 5u * stride + 1u * WORKGROUP];
  let x_1_6 = samples[plane + 6u * stride + 1u * WORKGROUP];
  let x_1_7 = samples[plane + 7u * stride + 1u * WORKGROUP];
  var best_1 = select(scores[own + 1u * WORKGROUP], vec4<f32>(-3.0e38), batch.first_centroid == 0u);
  var code_1 = codes_written[own + 1u * WORKGROUP];
  let x_2_0 = samples[plane + 0u * stride + 2u * WORKGROUP];
  let x_2_1 = samples[plane + 1u * stride + 2u * WORKGROUP];
  let x_2_2 = samples[plane + 2u * stride + 2u * WORKGROUP];
  let x_2_3 = samples[plane + 3u * stride + 2u * WORKGROUP];
  let x_2_4 = samples[plane + 4u * stride + 2u * WORKGROUP];
  let x_2_5 = samples[plane + 5u * stride + 2u * WORKGROUP];
  let x_2_6 = samples[plane + 6u * stride + 2u * WORKGROUP];
  let x_2_7 = samples[plane + 7u * stride + 2u * WORKGROUP];
  var best_2 = select(scores[own + 2u * WORKGROUP], vec4<f32>(-3.0e38), batch.first_centroid == 0u);
  var code_2 = codes_written[own + 2u * WORKGROUP];
  let x_3_0 = samples[plane + 0u * stride + 3u * WORKGROUP];
  let x_3_1 = samples[plane + 1u * stride + 3u * WORKGROUP];
  let x_3_2 = samples[plane + 2u * stride + 3u * WORKGROUP];
  let x_3_3 = samples[plane + 3u * stride + 3u * WORKGROUP];
  let x_3_4 = samples[plane + 4u * stride + 3u * WORKGROUP];
  let x_3_5 = samples[plane + 5u * stride + 3u * WORKGROUP];
  let x_3_6 = samples[plane + 6u * stride + 3u * WORKGROUP];
  let x_3_7 = samples[plane + 7u * stride + 3u * WORKGROUP];
  var best_3 = select(scores[own + 3u * WORKGROUP], vec4<f32>(-3.0e38), batch.first_centroid == 0u);
  var code_3 = codes_written[own + 3u * WORKGROUP];

  for (var i = 0u; i < batch.centroids; i += 1u) {
    let code = batch.first_centroid + i;
    let row = (workgroup.y * batch.group_rows + i) * ROW;
    let c_0 = centroid_table[row + 0u];
    let c_1 = centroid_table[row + 1u];
    let c_2 = centroid_table[row + 2u];
    let score_0 = x_0_0 * c_0.x + x_0_1 * c_0.y + x_0_2 * c_0.z + x_0_3 * c_0.w + x_0_4 * c_1.x + x_0_5 * c_1.y + x_0_6 * c_1.z + x_0_7 * c_1.w + c_2.x;
    code_0 = select(code_0, vec4<u32>(code), score_0 > best_0);
    best_0 = max(best_0, score_0);
    let score_1 = x_1_0 * c_0.x + x_1_1 * c_0.y + x_1_2 * c_0.z + x_1_3 * c_0.w + x_1_4 * c_1.x + x_1_5 * c_1.y + x_1_6 * c_1.z + x_1_7 * c_1.w + c_2.x;
    code_1 = select(code_1, vec4<u32>(code), score_1 > best_1);
    best_1 = max(best_1, score_1);
    let score_2 = x_2_0 * c_0.x + x_2_1 * c_0.y + x_2_2 * c_0.z + x_2_3 * c_0.w + x_2_4 * c_1.x + x_2_5 * c_1.y + x_2_6 * c_1.z + x_2_7 * c_1.w + c_2.x;
    code_2 = select(code_2, vec4<u32>(code), score_2 > best_2);
    best_2 = max(best_2, score_2);
    let score_3 = x_3_0 * c_0.x + x_3_1 * c_0.y + x_3_2 * c_0.z + x_3_3 * c_0.w + x_3_4 * c_1.x + x_3_5 * c_1.y + x_3_6 * c_1.z + x_3_7 * c_1.w + c_2.x;
    code_3 = select(code_3, vec4<u32>(code), score_3 > best_3);
    best_3 = max(best_3, score_3);
  }

  scores[own + 0u * WORKGROUP] = best_0;
  codes_written[own + 0u * WORKGROUP] = code_0;
  scores[own + 1u * WORKGROUP] = best_1;
  codes_written[own + 1u * WORKGROUP] = code_1;
  scores[own + 2u * WORKGROUP] = best_2;
  codes_written[own + 2u * WORKGROUP] = code_2;
  scores[own + 3u * WORKGROUP] = best_3;
  codes_written[own + 3u * WORKGROUP] = code_3;
}
`;
