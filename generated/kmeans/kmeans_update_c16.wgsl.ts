// Generated from templates/kmeans/kmeans_update.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (every width of group that a coupled or additive scheme can have, whatever its bits).

/** WGSL of `kmeans_update_c16`. */
export const wgsl: string = `
const CHANNELS: u32 = 16u; // channels per group
const ROW: u32 = 5u * 4u; // f32s of a centroid: its channels, then its bias, then padding
const WORKGROUP: u32 = 64u;
const TERMS: u32 = 17u; // sums of a cluster: one per channel, then the weight
const SLICES: u32 = 3u; // parts of the samples that are summed side by side

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
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> codes: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> centroids: array<f32>;
@group(0) @binding(5) var<storage, read_write> partial_sums: array<f32>;
@group(0) @binding(6) var<storage, read_write> group_results: array<vec2<f32>>;

var<workgroup> errors: array<f32, WORKGROUP>;
var<workgroup> empties: array<u32, WORKGROUP>;

// Moves every centroid of a group to the weighted mean of its samples. A lane owns one term of one slice of the samples, so every
// sum is made in one order and no atomics are needed: the result is the same in every run. Sums are of differences to the old
// centroid, which keeps them small and exact. Empty clusters stay where they are, and are counted for the host.
// Grid: groups.
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let group = batch.first_group + workgroup.x;
  let first_row = group * batch.group_rows;
  let slice_sums = batch.centroids * TERMS;
  let sums = workgroup.x * SLICES * slice_sums;
  for (var i = lane; i < SLICES * slice_sums; i += WORKGROUP) {
    partial_sums[sums + i] = 0.0;
  }
  storageBarrier();

  let slice = lane / TERMS;
  let term = lane % TERMS;
  var error = 0.0;
  if (slice < SLICES) {
    // The last term is the weight, as if it were a channel in which all samples are 1 from their centroid.
    let is_weight = term == CHANNELS;
    let quads = batch.samples / 4u;
    let plane = (group * CHANNELS + min(term, CHANNELS - 1u)) * quads;
    let own = sums + slice * slice_sums + term;
    for (var quad = slice; quad < quads; quad += SLICES) {
      let code = codes[group * quads + quad];
      let weight = weights[group * quads + quad];
      let x = samples[plane + quad];
      let row = (vec4<u32>(first_row) + code) * ROW + term;
      let centroid = vec4<f32>(centroids[row.x], centroids[row.y], centroids[row.z], centroids[row.w]);
      let difference = select(x - centroid, vec4<f32>(1.0), is_weight);
      let value = weight * difference;
      error += dot(value, difference);
      let at = code * TERMS + own;
      partial_sums[at.x] += value.x;
      partial_sums[at.y] += value.y;
      partial_sums[at.z] += value.z;
      partial_sums[at.w] += value.w;
    }
    error = select(error, 0.0, is_weight);
  }
  errors[lane] = error;
  storageBarrier();

  var empty = 0u;
  for (var code = lane; code < batch.centroids; code += WORKGROUP) {
    let own = sums + code * TERMS;
    let row = (first_row + code) * ROW;
    var weight = 0.0;
    for (var part = 0u; part < SLICES; part += 1u) {
      weight += partial_sums[own + part * slice_sums + CHANNELS];
    }
    if (weight > 0.0) {
      var bias = 0.0;
      for (var channel = 0u; channel < CHANNELS; channel += 1u) {
        var sum = 0.0;
        for (var part = 0u; part < SLICES; part += 1u) {
          sum += partial_sums[own + part * slice_sums + channel];
        }
        let centroid = centroids[row + channel] + sum / weight;
        centroids[row + channel] = centroid;
        bias -= 0.5 * centroid * centroid;
      }
      centroids[row + CHANNELS] = bias;
    } else {
      empty += 1u;
    }
  }
  empties[lane] = empty;
  workgroupBarrier();

  if (lane == 0u) {
    var total_error = 0.0;
    var total_empty = 0u;
    for (var other = 0u; other < WORKGROUP; other += 1u) {
      total_error += errors[other];
      total_empty += empties[other];
    }
    group_results[group] = vec2<f32>(total_error, f32(total_empty));
  }
}
`;
