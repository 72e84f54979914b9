// Generated from templates/schemes/span/fit_span.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (images and videos, whose tokens share the levels of a channel, after CalibQuant).

/** WGSL of `fit_sc1_d64`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 64u;
const WORKGROUP: u32 = 64u;
const WORDS: u32 = HEAD_DIM / 2u; // of an exact vector
const LANE_WORDS: u32 = 32u; // words of a vector read at once
const SLICES: u32 = WORKGROUP / LANE_WORDS; // tokens read at once

override SIDE: u32 = 0u; // 0 fits keys, 1 values

// One sequence's share of a step; its first token is row first of the host's buffers.
struct Entry {
  slot: u32,
  start: u32, // tokens in the sequence before the step
  count: u32, // tokens the step adds
  first: u32,
  encode_from: u32, // first coded token the step encodes, counted behind the sinks
  exact_from: u32, // no token before this position, sinks apart, is held exactly
  first_partial: u32, // the first partial result of each row that is written
  partials: u32, // partial results of each row
}

struct Step {
  entry_count: u32,
  max_count: u32, // most tokens of one entry
  splits: u32, // workgroups that share the tokens of one row
  score_stride: u32, // scores per row in the score buffer
  partial_stride: u32, // partial results per row in their buffer
  reserved_0: u32,
  reserved_1: u32,
  reserved_2: u32,
  entries: array<Entry, 64>,
}

// One layer, as far as the bound buffers hold it: a layer whose records exceed one binding is split by KV heads.
struct Layer {
  first_head: u32, // first KV head of the bound records and exact tier
  kv_heads: u32, // number of KV heads from there
  query_heads: u32, // of the whole layer
  group: u32, // query heads per KV head
  sinks: u32,
  window: u32,
  block: u32, // tokens the window gives up at once
  ring: u32, // slots of the ring that holds the recent tokens
  page_table: u32, // first word of the layer's page tables
  sequence_pages: u32, // pages in one sequence's page table
  scale: f32,
  softcap: f32, // 0 where scores are not capped
  key_scale: u32, // word offset of the keys' channel scale in codebooks; 0 where there is none
  value_scale: u32,
  value_codebook: u32, // word offset of the values' centroids in codebooks
  key_token_stride: u32,
  key_head_stride: u32,
  value_token_stride: u32,
  value_head_stride: u32,
  query_token_stride: u32,
  query_head_stride: u32,
  output_token_stride: u32,
  output_head_stride: u32,
  sliding_window: u32, // most recent tokens a query may see
  slot_words: u32, // words of the exact tier from one slot's to the next's; 0 where one tier serves all
  recent: u32, // 0 where queries see no token of the ring
  remap: f32, // what a span's range of scores is narrowed by; 0 where it is not
  side_words: u32, // words of the exact tier from a slot's keys to its values
}

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<uniform> layer: Layer;
@group(0) @binding(2) var<storage, read> exact: array<u32>;
@group(0) @binding(3) var<storage, read_write> levels_written: array<u32>;

// A query at position i sees token j <= i exactly where j < sinks or j > i - window, else by its code; of the tokens that
// leave the window, a block that is not complete is still seen exactly. Coded tokens are counted from behind the sinks.

// How many coded tokens a query at position sees.
fn coded_visible(entry: Entry, position: u32) -> u32 {
  let next = position + 1u;
  let aged = next - min(layer.sinks + layer.window, next);
  let lost = min(entry.exact_from, next);
  return max(aged - aged % layer.block, lost - min(layer.sinks, lost));
}

// The exact buffer's slot of the token at position.
fn exact_slot(position: u32) -> u32 {
  if (position < layer.sinks) {
    return position;
  }
  return layer.sinks + (position - layer.sinks) % layer.ring;
}

// First word of the exact vector of a head at position; side 0 holds keys, side 1 values.
fn exact_word(slot: u32, side: u32, position: u32, head: u32) -> u32 {
  let first = slot * layer.slot_words + side * layer.side_words;
  return first + (exact_slot(position) * layer.kv_heads + head) * (HEAD_DIM / 2u);
}

var<workgroup> lows: array<vec2<f32>, WORKGROUP>;
var<workgroup> highs: array<vec2<f32>, WORKGROUP>;

// The binary16 number nearest to extent / divisor, ties to even. Division may err; the comparisons that decide are exact.
fn quotient_bits(extent: f32, divisor: f32) -> u32 {
  var bits = pack2x16float(vec2<f32>(extent / divisor, 0.0)) & 0x7fffu; // extent may be the negative zero
  bits -= min(bits, 1u);
  for (var i = 0u; i < 2u; i += 1u) {
    let middle = divisor * 0.5 * (unpack2x16float(bits).x + unpack2x16float(bits + 1u).x);
    bits += select(0u, 1u, extent > middle || (extent == middle && (bits & 1u) == 1u));
  }
  return bits;
}

// The binary16 number nearest to number, ties to even; never the negative zero.
fn nearest_bits(number: f32) -> u32 {
  let bits = quotient_bits(abs(number), 1.0);
  return bits | select(0u, 0x8000u, number < 0.0 && bits != 0u);
}

// Two levels about the middle of the range, half of it apart for keys, and 5/16 of it for values.
fn fit_channel(low: f32, high: f32) -> u32 {
  let share = select(0.5, 0.3125, SIDE == 1u);
  let minimum = ((1.0 + share) * low + (1.0 - share) * high) * 0.5;
  return quotient_bits(share * (high - low), 1.0) | (nearest_bits(minimum) << 16u);
}

// Fits the levels of every channel to all tokens of a span, a scale and in the upper half a minimum. Grid: (KV heads, 1, 1).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[0];
  let head = workgroup.x;
  let levels = ((entry.slot * 2u + SIDE) * layer.kv_heads + head) * HEAD_DIM;
  let slice = lane / LANE_WORDS;
  for (var first = 0u; first < WORDS; first += LANE_WORDS) {
    let word = first + lane % LANE_WORDS;
    var low = vec2<f32>(65504.0);
    var high = vec2<f32>(-65504.0);
    let tokens = select(0u, entry.count, slice < SLICES && word < WORDS);
    for (var token = slice; token < tokens; token += SLICES) {
      let pair = unpack2x16float(exact[exact_word(entry.slot, SIDE, token, head) + word]);
      low = min(low, pair);
      high = max(high, pair);
    }
    lows[lane] = low;
    highs[lane] = high;
    workgroupBarrier();
    if (slice == 0u && word < WORDS) {
      for (var other = 1u; other < SLICES; other += 1u) {
        low = min(low, lows[other * LANE_WORDS + lane]);
        high = max(high, highs[other * LANE_WORDS + lane]);
      }
      levels_written[levels + 2u * word] = fit_channel(low.x, high.x);
      levels_written[levels + 2u * word + 1u] = fit_channel(low.y, high.y);
    }
    workgroupBarrier();
  }
}
`;
