// Generated from templates/kmeans/kmeans_search.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (every width of group that a coupled or additive scheme can have, whatever its bits).

/** WGSL of `kmeans_search_c16`. */
export const wgsl: string = `
const CHANNELS: u32 = 16u; // channels per group
const ROW: u32 = 5u; // vec4s of a centroid: its channels, then its bias
const TABLE_ROWS: u32 = 512u; // centroids the uniform binding holds
const WORKGROUP: u32 = 64u;
const BEAM: u32 = 4u; // sums that are kept from stage to stage
const CODE_BITS: u32 = 8u; // bits of a stage's code among those of a sum
const CODES: u32 = 256u; // of a stage at most, 2^CODE_BITS
const NEVER: f32 = -1.0e38; // less than any score
const SPENT: f32 = -3.0e38; // less than that

// A run of groups of one layer and side, and the stage whose centroids extend their sums.
struct Batch {
  first_group: u32,
  stage: u32,
  kept: u32, // sums of a sample that are extended
  centroids: u32, // of one stage of a group
  stage_rows: u32, // centroids from one stage to the next
  samples: u32, // samples of a plane, padding included
}

@group(0) @binding(0) var<uniform> batch: Batch;
@group(0) @binding(1) var<storage, read> samples: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> centroid_table: array<vec4<f32>, TABLE_ROWS * ROW>;
@group(0) @binding(3) var<storage, read> added_centroids: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> beam_written: array<u32>;
@group(0) @binding(5) var<storage, read_write> sums_written: array<u32>;

// The sums that are nearest to a sample, by half of their squared distance with its sign turned. Keys count the sums they extend,
// then codes.
var<private> score_0: f32 = NEVER;
var<private> key_0: u32;
var<private> score_1: f32 = NEVER;
var<private> key_1: u32;
var<private> score_2: f32 = NEVER;
var<private> key_2: u32;
var<private> score_3: f32 = NEVER;
var<private> key_3: u32;

// Puts an extension where it belongs among the best; the last of them drops out.
fn keep(score: f32, key: u32) {
  var moved = score;
  var moved_key = key;
  let other_0 = score_0;
  let other_key_0 = key_0;
  let is_ahead_0 = moved > other_0;
  score_0 = select(other_0, moved, is_ahead_0);
  key_0 = select(other_key_0, moved_key, is_ahead_0);
  moved = select(moved, other_0, is_ahead_0);
  moved_key = select(moved_key, other_key_0, is_ahead_0);
  let other_1 = score_1;
  let other_key_1 = key_1;
  let is_ahead_1 = moved > other_1;
  score_1 = select(other_1, moved, is_ahead_1);
  key_1 = select(other_key_1, moved_key, is_ahead_1);
  moved = select(moved, other_1, is_ahead_1);
  moved_key = select(moved_key, other_key_1, is_ahead_1);
  let other_2 = score_2;
  let other_key_2 = key_2;
  let is_ahead_2 = moved > other_2;
  score_2 = select(other_2, moved, is_ahead_2);
  key_2 = select(other_key_2, moved_key, is_ahead_2);
  moved = select(moved, other_2, is_ahead_2);
  moved_key = select(moved_key, other_key_2, is_ahead_2);
  let other_3 = score_3;
  let other_key_3 = key_3;
  let is_ahead_3 = moved > other_3;
  score_3 = select(other_3, moved, is_ahead_3);
  key_3 = select(other_key_3, moved_key, is_ahead_3);
  moved = select(moved, other_3, is_ahead_3);
  moved_key = select(moved_key, other_key_3, is_ahead_3);
}

fn highest(scores: vec4<f32>) -> f32 {
  return max(max(scores.x, scores.y), max(scores.z, scores.w));
}

// Where a score is found among four.
fn place_of(score: f32, scores: vec4<f32>) -> u32 {
  return select(select(select(3u, 2u, scores.z == score), 1u, scores.y == score), 0u, scores.x == score);
}

// Extends the sums of centroids that are kept for every sample by those of one more stage, and keeps the BEAM nearest (beam search,
// Babenko and Lempitsky, CVPR 2014, section 3.3). An invocation has one sample, and compares four sums with four centroids at once:
// with rests r of the sample, -|r - c|^2/2 is r.c - |c|^2/2 - |r|^2/2, whose second term is the centroid's bias. Centroids are a
// uniform binding as in kmeans_assign; those of the sums, which differ between invocations, are read from storage.
// Grid: (samples / WORKGROUP, groups in the table).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let at = workgroup.x * WORKGROUP + lane;
  let group = batch.first_group + workgroup.y;
  let stride = batch.samples / 4u;
  let plane = group * CHANNELS * stride + at / 4u;
  let beam = workgroup.y * BEAM * batch.samples + at;
  let x_0 = samples[plane + 0u * stride][at % 4u];
  let x_1 = samples[plane + 1u * stride][at % 4u];
  let x_2 = samples[plane + 2u * stride][at % 4u];
  let x_3 = samples[plane + 3u * stride][at % 4u];
  let x_4 = samples[plane + 4u * stride][at % 4u];
  let x_5 = samples[plane + 5u * stride][at % 4u];
  let x_6 = samples[plane + 6u * stride][at % 4u];
  let x_7 = samples[plane + 7u * stride][at % 4u];
  let x_8 = samples[plane + 8u * stride][at % 4u];
  let x_9 = samples[plane + 9u * stride][at % 4u];
  let x_10 = samples[plane + 10u * stride][at % 4u];
  let x_11 = samples[plane + 11u * stride][at % 4u];
  let x_12 = samples[plane + 12u * stride][at % 4u];
  let x_13 = samples[plane + 13u * stride][at % 4u];
  let x_14 = samples[plane + 14u * stride][at % 4u];
  let x_15 = samples[plane + 15u * stride][at % 4u];

  for (var sum = 0u; sum < batch.kept; sum += 4u) {
    let is_kept = vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(batch.kept - sum);
    var rest_0 = vec4<f32>(x_0);
    var rest_1 = vec4<f32>(x_1);
    var rest_2 = vec4<f32>(x_2);
    var rest_3 = vec4<f32>(x_3);
    var rest_4 = vec4<f32>(x_4);
    var rest_5 = vec4<f32>(x_5);
    var rest_6 = vec4<f32>(x_6);
    var rest_7 = vec4<f32>(x_7);
    var rest_8 = vec4<f32>(x_8);
    var rest_9 = vec4<f32>(x_9);
    var rest_10 = vec4<f32>(x_10);
    var rest_11 = vec4<f32>(x_11);
    var rest_12 = vec4<f32>(x_12);
    var rest_13 = vec4<f32>(x_13);
    var rest_14 = vec4<f32>(x_14);
    var rest_15 = vec4<f32>(x_15);
    if (batch.stage > 0u) {
      let codes_0 = beam_written[beam + (sum + 0u) * batch.samples];
      let codes_1 = beam_written[beam + (sum + 1u) * batch.samples];
      let codes_2 = beam_written[beam + (sum + 2u) * batch.samples];
      let codes_3 = beam_written[beam + (sum + 3u) * batch.samples];
      for (var before = 0u; before < batch.stage; before += 1u) {
        let first = before * batch.stage_rows + group * batch.centroids;
        let row_0 = (first + ((codes_0 >> (before * CODE_BITS)) % CODES)) * ROW;
        let past_0_0 = added_centroids[row_0 + 0u];
        let past_0_1 = added_centroids[row_0 + 1u];
        let past_0_2 = added_centroids[row_0 + 2u];
        let past_0_3 = added_centroids[row_0 + 3u];
        let row_1 = (first + ((codes_1 >> (before * CODE_BITS)) % CODES)) * ROW;
        let past_1_0 = added_centroids[row_1 + 0u];
        let past_1_1 = added_centroids[row_1 + 1u];
        let past_1_2 = added_centroids[row_1 + 2u];
        let past_1_3 = added_centroids[row_1 + 3u];
        let row_2 = (first + ((codes_2 >> (before * CODE_BITS)) % CODES)) * ROW;
        let past_2_0 = added_centroids[row_2 + 0u];
        let past_2_1 = added_centroids[row_2 + 1u];
        let past_2_2 = added_centroids[row_2 + 2u];
        let past_2_3 = added_centroids[row_2 + 3u];
        let row_3 = (first + ((codes_3 >> (before * CODE_BITS)) % CODES)) * ROW;
        let past_3_0 = added_centroids[row_3 + 0u];
        let past_3_1 = added_centroids[row_3 + 1u];
        let past_3_2 = added_centroids[row_3 + 2u];
        let past_3_3 = added_centroids[row_3 + 3u];
        rest_0 -= vec4<f32>(past_0_0.x, past_1_0.x, past_2_0.x, past_3_0.x);
        rest_1 -= vec4<f32>(past_0_0.y, past_1_0.y, past_2_0.y, past_3_0.y);
        rest_2 -= vec4<f32>(past_0_0.z, past_1_0.z, past_2_0.z, past_3_0.z);
        rest_3 -= vec4<f32>(past_0_0.w, past_1_0.w, past_2_0.w, past_3_0.w);
        rest_4 -= vec4<f32>(past_0_1.x, past_1_1.x, past_2_1.x, past_3_1.x);
        rest_5 -= vec4<f32>(past_0_1.y, past_1_1.y, past_2_1.y, past_3_1.y);
        rest_6 -= vec4<f32>(past_0_1.z, past_1_1.z, past_2_1.z, past_3_1.z);
        rest_7 -= vec4<f32>(past_0_1.w, past_1_1.w, past_2_1.w, past_3_1.w);
        rest_8 -= vec4<f32>(past_0_2.x, past_1_2.x, past_2_2.x, past_3_2.x);
        rest_9 -= vec4<f32>(past_0_2.y, past_1_2.y, past_2_2.y, past_3_2.y);
        rest_10 -= vec4<f32>(past_0_2.z, past_1_2.z, past_2_2.z, past_3_2.z);
        rest_11 -= vec4<f32>(past_0_2.w, past_1_2.w, past_2_2.w, past_3_2.w);
        rest_12 -= vec4<f32>(past_0_3.x, past_1_3.x, past_2_3.x, past_3_3.x);
        rest_13 -= vec4<f32>(past_0_3.y, past_1_3.y, past_2_3.y, past_3_3.y);
        rest_14 -= vec4<f32>(past_0_3.z, past_1_3.z, past_2_3.z, past_3_3.z);
        rest_15 -= vec4<f32>(past_0_3.w, past_1_3.w, past_2_3.w, past_3_3.w);
      }
    }
    let squares = rest_0 * rest_0 + rest_1 * rest_1 + rest_2 * rest_2 + rest_3 * rest_3 + rest_4 * rest_4 + rest_5 * rest_5 + rest_6 * rest_6 + rest_7 * rest_7 + rest_8 * rest_8 + rest_9 * rest_9 + rest_10 * rest_10 + rest_11 * rest_11 + rest_12 * rest_12 + rest_13 * rest_13 + rest_14 * rest_14 + rest_15 * rest_15;
    let base = select(vec4<f32>(SPENT), -0.5 * squares, is_kept);

    for (var code = 0u; code < batch.centroids; code += 4u) {
      let row = (workgroup.y * batch.centroids + code) * ROW;
      let c_0_0 = centroid_table[row + 0u];
      let c_0_1 = centroid_table[row + 1u];
      let c_0_2 = centroid_table[row + 2u];
      let c_0_3 = centroid_table[row + 3u];
      let c_0_4 = centroid_table[row + 4u];
      var left_0 = base + (rest_0 * c_0_0.x + rest_1 * c_0_0.y + rest_2 * c_0_0.z + rest_3 * c_0_0.w + rest_4 * c_0_1.x + rest_5 * c_0_1.y + rest_6 * c_0_1.z + rest_7 * c_0_1.w + rest_8 * c_0_2.x + rest_9 * c_0_2.y + rest_10 * c_0_2.z + rest_11 * c_0_2.w + rest_12 * c_0_3.x + rest_13 * c_0_3.y + rest_14 * c_0_3.z + rest_15 * c_0_3.w + c_0_4.x);
      let c_1_0 = centroid_table[row + 5u];
      let c_1_1 = centroid_table[row + 6u];
      let c_1_2 = centroid_table[row + 7u];
      let c_1_3 = centroid_table[row + 8u];
      let c_1_4 = centroid_table[row + 9u];
      var left_1 = base + (rest_0 * c_1_0.x + rest_1 * c_1_0.y + rest_2 * c_1_0.z + rest_3 * c_1_0.w + rest_4 * c_1_1.x + rest_5 * c_1_1.y + rest_6 * c_1_1.z + rest_7 * c_1_1.w + rest_8 * c_1_2.x + rest_9 * c_1_2.y + rest_10 * c_1_2.z + rest_11 * c_1_2.w + rest_12 * c_1_3.x + rest_13 * c_1_3.y + rest_14 * c_1_3.z + rest_15 * c_1_3.w + c_1_4.x);
      let c_2_0 = centroid_table[row + 10u];
      let c_2_1 = centroid_table[row + 11u];
      let c_2_2 = centroid_table[row + 12u];
      let c_2_3 = centroid_table[row + 13u];
      let c_2_4 = centroid_table[row + 14u];
      var left_2 = base + (rest_0 * c_2_0.x + rest_1 * c_2_0.y + rest_2 * c_2_0.z + rest_3 * c_2_0.w + rest_4 * c_2_1.x + rest_5 * c_2_1.y + rest_6 * c_2_1.z + rest_7 * c_2_1.w + rest_8 * c_2_2.x + rest_9 * c_2_2.y + rest_10 * c_2_2.z + rest_11 * c_2_2.w + rest_12 * c_2_3.x + rest_13 * c_2_3.y + rest_14 * c_2_3.z + rest_15 * c_2_3.w + c_2_4.x);
      let c_3_0 = centroid_table[row + 15u];
      let c_3_1 = centroid_table[row + 16u];
      let c_3_2 = centroid_table[row + 17u];
      let c_3_3 = centroid_table[row + 18u];
      let c_3_4 = centroid_table[row + 19u];
      var left_3 = base + (rest_0 * c_3_0.x + rest_1 * c_3_0.y + rest_2 * c_3_0.z + rest_3 * c_3_0.w + rest_4 * c_3_1.x + rest_5 * c_3_1.y + rest_6 * c_3_1.z + rest_7 * c_3_1.w + rest_8 * c_3_2.x + rest_9 * c_3_2.y + rest_10 * c_3_2.z + rest_11 * c_3_2.w + rest_12 * c_3_3.x + rest_13 * c_3_3.y + rest_14 * c_3_3.z + rest_15 * c_3_3.w + c_3_4.x);
      loop {
        let highest_0 = highest(left_0);
        let highest_1 = highest(left_1);
        let highest_2 = highest(left_2);
        let highest_3 = highest(left_3);
        let best = max(max(highest_0, highest_1), max(highest_2, highest_3));
        if (best <= score_3) {
          break;
        }
        let place = place_of(best, vec4<f32>(highest_0, highest_1, highest_2, highest_3));
        var chosen = left_3;
        chosen = select(chosen, left_0, place == 0u);
        chosen = select(chosen, left_1, place == 1u);
        chosen = select(chosen, left_2, place == 2u);
        let extended = place_of(best, chosen);
        keep(best, (sum + extended) * CODES + code + place);
        let others = select(chosen, vec4<f32>(SPENT), vec4<u32>(extended) == vec4<u32>(0u, 1u, 2u, 3u));
        left_0 = select(left_0, others, place == 0u);
        left_1 = select(left_1, others, place == 1u);
        left_2 = select(left_2, others, place == 2u);
        left_3 = select(left_3, others, place == 3u);
      }
    }
  }

  let shift = batch.stage * CODE_BITS;
  let past_0 = select(beam_written[beam + key_0 / CODES * batch.samples], 0u, batch.stage == 0u);
  let found_0 = past_0 | ((key_0 % CODES) << shift);
  let past_1 = select(beam_written[beam + key_1 / CODES * batch.samples], 0u, batch.stage == 0u);
  let found_1 = past_1 | ((key_1 % CODES) << shift);
  let past_2 = select(beam_written[beam + key_2 / CODES * batch.samples], 0u, batch.stage == 0u);
  let found_2 = past_2 | ((key_2 % CODES) << shift);
  let past_3 = select(beam_written[beam + key_3 / CODES * batch.samples], 0u, batch.stage == 0u);
  let found_3 = past_3 | ((key_3 % CODES) << shift);
  beam_written[beam + 0u * batch.samples] = found_0;
  beam_written[beam + 1u * batch.samples] = found_1;
  beam_written[beam + 2u * batch.samples] = found_2;
  beam_written[beam + 3u * batch.samples] = found_3;
  sums_written[group * batch.samples + at] = found_0;
}
`;
