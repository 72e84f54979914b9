// Generated from templates/schemes/additive/encode_additive.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (2 bits of the same, and 4 for what costs most).

/** WGSL of `encode_n8b8x2_d128`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 128u;
const PAIRS: u32 = HEAD_DIM / 2u; // of channels, as words hold them
const WORKGROUP: u32 = 64u; // as many as tokens of a record, so that a lane has one
const PAGE_TOKENS: u32 = 64u;
const CHANNELS: u32 = 8u; // channels of a group
const PART: u32 = 4u; // channels that are computed at once
const PARTS: u32 = CHANNELS / PART; // of a group
const BITS: u32 = 8u; // bits per code
const CENTROIDS: u32 = 256u; // of a stage
const STAGES: u32 = 2u; // codes of a group, whose centroids are added
const BEAM: u32 = 4u; // sums that are kept from stage to stage
const ROW: u32 = 4u; // centroids that are compared at once
const ROW_QUADS: u32 = ROW * CHANNELS / 16u;
const CODES: u32 = 32u; // codes per token
const RECORD_TOKENS: u32 = 64u; // a block
const RECORD_WORDS: u32 = 536u;
const METADATA_WORDS: u32 = 24u; // in front of a record's codes
const CODEBOOK_WORDS: u32 = 396u; // per head, before all centroids
const GRID_WORDS: u32 = 2u; // of one channel
const NORM_BITS: u32 = 4u; // of a mean, and of a size
const NORM_LEVELS: u32 = 16u;
const NEVER: f32 = -1.0e38; // less than any score
const SPENT: f32 = -3.0e38; // less than that

override SIDE: u32 = 0u; // 0 encodes keys, 1 values

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
@group(0) @binding(3) var<storage, read> pages: array<u32>;
@group(0) @binding(4) var<storage, read> codebook_quads: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> records: array<u32>;

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

// First word of a head's records in page page of the sequence in slot, for records of record_tokens tokens and record_words words.
fn page_word(slot: u32, head: u32, page: u32, record_tokens: u32, record_words: u32) -> u32 {
  let physical = pages[layer.page_table + slot * layer.sequence_pages + page];
  return (physical * layer.kv_heads + head) * (PAGE_TOKENS / record_tokens) * record_words;
}

var<workgroup> words: array<atomic<u32>, RECORD_WORDS>; // of the record
var<workgroup> sums: array<vec2<f32>, PAIRS>; // over the record's tokens
var<workgroup> means: array<vec2<f32>, PAIRS>; // as decoded, of tokens
var<workgroup> scales: array<vec2<f32>, PAIRS>; // of differences before they are squared
var<workgroup> steps: array<vec2<f32>, PAIRS>; // of levels, times scales
var<workgroup> lows: array<vec2<f32>, STAGES * PAIRS>; // the lowest levels' numbers of a stage and those before it, times scales
var<workgroup> sizes: array<f32, NORM_LEVELS>;
var<private> codebook: u32; // first word of the head's
var<private> centroids: u32; // first word of its centroids
var<private> beam: array<u32, BEAM>; // the codes of sums, those of a stage behind those of the stage before
// The best extensions, by half of how much of the vector's energy they explain. Keys count sums and then codes.
var<private> score_0: f32;
var<private> key_0: u32;
var<private> score_1: f32;
var<private> key_1: u32;
var<private> score_2: f32;
var<private> key_2: u32;
var<private> score_3: f32;
var<private> key_3: u32;

// Words first + 4 quad to first + 4 quad + 3; first is a multiple of 4.
fn codebook_quad(first: u32, quad: u32) -> vec4<u32> {
  return codebook_quads[(first >> 2u) + quad];
}

// Words first + 2 pair and the next; first is even.
fn codebook_pair(first: u32, pair: u32) -> vec2<u32> {
  let at = (first >> 1u) + pair;
  let quad = codebook_quads[at >> 1u];
  return select(quad.xy, quad.zw, (at & 1u) != 0u);
}

fn codebook_word(at: u32) -> u32 {
  return codebook_quads[at >> 2u][at & 3u];
}

// The four levels in a word. They are signed on the way, because processors have no instruction for unsigned numbers.
fn levels_of(word: u32) -> vec4<f32> {
  return vec4<f32>(vec4<i32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u)));
}

alias Numbers = vec4<f32>;

fn mean_of(part: u32) -> Numbers {
  return vec4<f32>(means[2u * part], means[2u * part + 1u]);
}

fn scale_of(part: u32) -> Numbers {
  return vec4<f32>(scales[2u * part], scales[2u * part + 1u]);
}

fn step_of(part: u32) -> Numbers {
  return vec4<f32>(steps[2u * part], steps[2u * part + 1u]);
}

fn low_of(stage: u32, part: u32) -> Numbers {
  let at = stage * PAIRS + 2u * part;
  return vec4<f32>(lows[at], lows[at + 1u]);
}

// The levels in a word of a centroid, or of a sum.
fn part_levels(word: u32) -> Numbers {
  return levels_of(word);
}

alias Words = vec2<u32>; // of a centroid

fn centroid_words(centroid: u32, piece: u32) -> Words {
  return codebook_pair(centroids, centroid);
}

// Puts a value of some bits into the record.
fn put(bit: u32, value: u32) {
  atomicOr(&words[bit / 32u], value << (bit % 32u));
}

// The value of some bits of the record.
fn taken(bit: u32, bits: u32) -> u32 {
  return (atomicLoad(&words[bit / 32u]) >> (bit % 32u)) & ((1u << bits) - 1u);
}

// Number index of the grid of a channel: lows, and the steps of levels and of means.
fn grid_number(channel: u32, index: u32) -> f32 {
  return unpack2x16float(codebook_word(codebook + HEAD_DIM + channel * GRID_WORDS + index / 2u))[index % 2u];
}

fn grid_pair(pair: u32, index: u32) -> vec2<f32> {
  return vec2<f32>(grid_number(2u * pair, index), grid_number(2u * pair + 1u, index));
}

alias Token = u32; // the first word of an exact vector

fn token_at(word: u32, coded: u32) -> Token {
  return word;
}

// Channels 4 part to 4 part + 3.
fn token_part(token: Token, part: u32) -> Numbers {
  let at = token + 2u * part;
  return vec4<f32>(unpack2x16float(exact[at]), unpack2x16float(exact[at + 1u]));
}

// Token token of the record. Behind the last token that is encoded, it stands in for those that the block lacks.
fn token_of(entry: Entry, head: u32, record_first: u32, encode_end: u32, token: u32) -> Token {
  let coded = min(record_first + token, encode_end - 1u);
  return token_at(exact_word(entry.slot, SIDE, layer.sinks + coded, head), coded);
}

// Sums of binary16 numbers without rounding: x counts 32nds, y counts 2^-25, of which a sum that is carried has less than 2^20.
// 64 numbers, or 64 times one, are within i32.
fn units_of(number: f32) -> vec2<i32> {
  let whole = floor(number * 32.0);
  return vec2<i32>(i32(whole), i32((number - whole / 32.0) * 33554432.0));
}

fn carried(sum: vec2<i32>) -> vec2<i32> {
  return vec2<i32>(sum.x + (sum.y >> 20u), sum.y & 0xfffff);
}

// The sums of two channels over the record's tokens. They are exact, so no order of tokens changes them.
fn channel_sums(entry: Entry, head: u32, record_first: u32, encode_end: u32, pair: u32) -> vec2<f32> {
  var sum_0 = vec2<i32>();
  var sum_1 = vec2<i32>();
  for (var token = 0u; token < RECORD_TOKENS; token += 1u) {
    let numbers = unpack2x16float(exact[token_of(entry, head, record_first, encode_end, token) + pair]);
    sum_0 += units_of(numbers.x);
    sum_1 += units_of(numbers.y);
  }
  let wholes = vec2<f32>(vec2<i32>(carried(sum_0).x, carried(sum_1).x));
  let rests = vec2<f32>(vec2<i32>(carried(sum_0).y, carried(sum_1).y));
  return wholes / 32.0 + rests / 33554432.0;
}

// The levels of the means of two channels, the nearest that a record can hold.
fn mean_levels(sum: vec2<f32>, grid: mat2x2<f32>) -> vec2<u32> {
  var level = vec2<u32>();
  for (var above = 1u; above < NORM_LEVELS; above += 1u) {
    let middle = mean_numbers(vec2<f32>(f32(above) - 0.5), grid);
    level += select(vec2<u32>(), vec2<u32>(1u), sum >= f32(RECORD_TOKENS) * middle);
  }
  return level;
}

// The means that levels, or numbers between two, stand for.
fn mean_numbers(levels: vec2<f32>, grid: mat2x2<f32>) -> vec2<f32> {
  return grid[0] + grid[1] * (levels - f32(NORM_LEVELS - 1u) / 2.0);
}

// The offsets of two channels' means, and their steps.
fn mean_grid(pair: u32) -> mat2x2<f32> {
  let offset = bitcast<vec2<f32>>(codebook_pair(codebook + 2u * pair, 0u));
  return mat2x2<f32>(offset, grid_pair(pair, STAGES + 1u) / 64.0);
}

// What two channels' codes stand for, times the tokens' sizes, summed over the record's tokens.
fn coded_sums(pair: u32) -> vec2<f32> {
  let group = 2u * pair / CHANNELS;
  var size_sum = 0.0;
  var level_sums = vec2<f32>(); // times sizes
  for (var token = 0u; token < RECORD_TOKENS; token += 1u) {
    var levels = 0u; // a byte each, added without a carry
    for (var stage = 0u; stage < STAGES; stage += 1u) {
      let code = taken(32u * METADATA_WORDS + (token * CODES + group * STAGES + stage) * BITS, BITS);
      let byte = ((group * STAGES + stage) * CENTROIDS + code) * CHANNELS + 2u * pair % CHANNELS;
      levels += (codebook_word(centroids + byte / 4u) >> (byte % 4u * 8u)) & 0xffffu;
    }
    let size = sizes[taken(NORM_BITS * (HEAD_DIM + token), NORM_BITS)];
    size_sum += size;
    level_sums += size * vec2<f32>(vec2<u32>(levels & 255u, levels >> 8u));
  }
  var low = vec2<f32>();
  for (var stage = 0u; stage < STAGES; stage += 1u) {
    low += grid_pair(pair, stage);
  }
  return low * size_sum + grid_pair(pair, STAGES) / 64.0 * level_sums;
}

alias Group = array<Numbers, PARTS>;

fn rest_of(token: Token, part: u32) -> Numbers {
  return scale_of(part) * (token_part(token, part) - mean_of(part));
}

// Channels of group group of a token, less their means, times their scales.
fn vector_of(token: Token, group: u32) -> Group {
  let part = group * PARTS;
  return Group(rest_of(token, part + 0u), rest_of(token, part + 1u));
}

fn steps_of(group: u32) -> Group {
  let part = group * PARTS;
  return Group(step_of(part + 0u), step_of(part + 1u));
}

fn lows_of(stage: u32, group: u32) -> Group {
  let part = group * PARTS;
  return Group(low_of(stage, part + 0u), low_of(stage, part + 1u));
}

fn scaled(factor: f32, a: Group) -> Group {
  return Group(factor * a[0], factor * a[1]);
}

fn times(a: Group, b: Group) -> Group {
  return Group(a[0] * b[0], a[1] * b[1]);
}

fn plus(a: Group, b: Group) -> Group {
  return Group(a[0] + b[0], a[1] + b[1]);
}

fn minus(a: Group, b: Group) -> Group {
  return Group(a[0] - b[0], a[1] - b[1]);
}

fn products(a: Group, b: Group) -> f32 {
  return dot(a[0], b[0]) + dot(a[1], b[1]);
}

// Which of the head's centroids a code of a stage is, where codes has those of all stages.
fn centroid_of(group: u32, stage: u32, codes: u32) -> u32 {
  return (group * STAGES + stage) * CENTROIDS + ((codes >> (stage * BITS)) & (CENTROIDS - 1u));
}

// Forgets what is kept.
fn clear() {
  score_0 = NEVER;
  key_0 = 0u;
  score_1 = NEVER;
  key_1 = 0u;
  score_2 = NEVER;
  key_2 = 0u;
  score_3 = NEVER;
  key_3 = 0u;
}

// Puts an extension where it belongs among the best, of equal ones by key.
fn keep(score: f32, key: u32) {
  var moved = score;
  var moved_key = key;
  let other_0 = score_0;
  let other_key_0 = key_0;
  let is_ahead_0 = moved > other_0 || (moved == other_0 && moved_key < other_key_0);
  score_0 = select(other_0, moved, is_ahead_0);
  key_0 = select(other_key_0, moved_key, is_ahead_0);
  moved = select(moved, other_0, is_ahead_0);
  moved_key = select(moved_key, other_key_0, is_ahead_0);
  let other_1 = score_1;
  let other_key_1 = key_1;
  let is_ahead_1 = moved > other_1 || (moved == other_1 && moved_key < other_key_1);
  score_1 = select(other_1, moved, is_ahead_1);
  key_1 = select(other_key_1, moved_key, is_ahead_1);
  moved = select(moved, other_1, is_ahead_1);
  moved_key = select(moved_key, other_key_1, is_ahead_1);
  let other_2 = score_2;
  let other_key_2 = key_2;
  let is_ahead_2 = moved > other_2 || (moved == other_2 && moved_key < other_key_2);
  score_2 = select(other_2, moved, is_ahead_2);
  key_2 = select(other_key_2, moved_key, is_ahead_2);
  moved = select(moved, other_2, is_ahead_2);
  moved_key = select(moved_key, other_key_2, is_ahead_2);
  let other_3 = score_3;
  let other_key_3 = key_3;
  let is_ahead_3 = moved > other_3 || (moved == other_3 && moved_key < other_key_3);
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

// Whether a score may be among those that are kept: after the last stage one is enough.
fn is_kept(score: f32, is_last: bool) -> bool {
  return score >= select(score_3, score_0, is_last);
}

// Adds the codes of a stage to those of the sums that they extend.
fn settle(stage: u32) {
  let codes_0 = beam[key_0 / CENTROIDS] | ((key_0 % CENTROIDS) << (stage * BITS));
  let codes_1 = beam[key_1 / CENTROIDS] | ((key_1 % CENTROIDS) << (stage * BITS));
  let codes_2 = beam[key_2 / CENTROIDS] | ((key_2 % CENTROIDS) << (stage * BITS));
  let codes_3 = beam[key_3 / CENTROIDS] | ((key_3 % CENTROIDS) << (stage * BITS));
  beam[0] = codes_0;
  beam[1] = codes_1;
  beam[2] = codes_2;
  beam[3] = codes_3;
}

// How many sizes above the smallest are at most the root of the ratio of two numbers.
fn size_level(numerator: f32, denominator: f32) -> u32 {
  var level = 0u;
  for (var above = 1u; above < NORM_LEVELS; above += 1u) {
    level += select(0u, 1u, numerator >= sizes[above - 1u] * sizes[above] * denominator);
  }
  return level;
}

// Codes of the block that leaves the exact tier: a mean for each channel, a size for each token, and for each group of channels
// the sum of centroids, one of each stage, that a beam search finds. Grid: (records, KV heads, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z];
  let head = workgroup.y;
  let encode_end = coded_visible(entry, entry.start + entry.count - 1u);
  let record_first = (entry.encode_from / RECORD_TOKENS + workgroup.x) * RECORD_TOKENS;
  if (record_first >= encode_end || entry.encode_from >= encode_end) {
    return;
  }
  let side_codebook = select(layer.value_codebook, 0u, SIDE == 0u);
  let first_scale = select(layer.value_scale, layer.key_scale, SIDE == 0u);
  let scale_at = first_scale + (layer.first_head + head) * HEAD_DIM;
  codebook = side_codebook + (layer.first_head + head) * CODEBOOK_WORDS;
  let first_size = codebook + HEAD_DIM * (1u + GRID_WORDS);
  centroids = side_codebook + codebook_word(first_size + NORM_LEVELS / 2u);

  for (var pair = lane; pair < PAIRS; pair += WORKGROUP) {
    let sum = channel_sums(entry, head, record_first, encode_end, pair);
    let grid = mean_grid(pair);
    sums[pair] = sum;
    means[pair] = mean_numbers(vec2<f32>(mean_levels(sum, grid)), grid);
    let given = vec2<u32>(codebook_word(scale_at + 2u * pair), codebook_word(scale_at + 2u * pair + 1u));
    let scale = select(vec2<f32>(1.0), bitcast<vec2<f32>>(given), first_scale != 0u);
    scales[pair] = scale;
    steps[pair] = scale * grid_pair(pair, STAGES) / 64.0;
    var low = vec2<f32>();
    for (var stage = 0u; stage < STAGES; stage += 1u) {
      low += grid_pair(pair, stage);
      lows[stage * PAIRS + pair] = scale * low;
    }
  }
  if (lane < NORM_LEVELS) {
    sizes[lane] = unpack2x16float(codebook_word(first_size + lane / 2u))[lane % 2u];
  }
  workgroupBarrier();

  let token = token_of(entry, head, record_first, encode_end, lane);
  var energy = 0.0;
  for (var group = 0u; group < HEAD_DIM / CHANNELS; group += 1u) {
    let vector = vector_of(token, group);
    energy += products(vector, vector);
  }
  let size = sizes[size_level(energy, f32(HEAD_DIM))];
  var square = 0.0;
  for (var group = 0u; group < CODES / STAGES; group += 1u) {
    let vector = vector_of(token, group);
    let unit = scaled(size, steps_of(group)); // what levels stand for
    clear();
    {
      // |x - s|^2 is least where x.s - |s|^2 / 2 is largest. Lowest levels are taken off x instead: all sums have them.
      let rest_0 = minus(vector, scaled(size, lows_of(0u, group)));
      let base_0 = 0.0;
      let first = (centroids + group * STAGES * CENTROIDS * CHANNELS / 4u) / 4u;
      let key = 0u;
      let is_last = STAGES == 1u;
      for (var row = 0u; row < CENTROIDS / ROW; row += 1u) {
        let words_0 = codebook_quads[first + row * ROW_QUADS + 0u];
        let words_1 = codebook_quads[first + row * ROW_QUADS + 1u];
        let numbers_0 = times(unit, Group(levels_of(words_0.x), levels_of(words_0.y)));
        let bend_0 = 0.5 * products(numbers_0, numbers_0);
        let score_0_0 = products(rest_0, numbers_0) - bend_0;
        let numbers_1 = times(unit, Group(levels_of(words_0.z), levels_of(words_0.w)));
        let bend_1 = 0.5 * products(numbers_1, numbers_1);
        let score_1_0 = products(rest_0, numbers_1) - bend_1;
        let numbers_2 = times(unit, Group(levels_of(words_1.x), levels_of(words_1.y)));
        let bend_2 = 0.5 * products(numbers_2, numbers_2);
        let score_2_0 = products(rest_0, numbers_2) - bend_2;
        let numbers_3 = times(unit, Group(levels_of(words_1.z), levels_of(words_1.w)));
        let bend_3 = 0.5 * products(numbers_3, numbers_3);
        let score_3_0 = products(rest_0, numbers_3) - bend_3;
        var left_0 = base_0 + vec4<f32>(score_0_0, score_1_0, score_2_0, score_3_0);
        loop {
          let highest_0 = highest(left_0);
          let best = max(highest_0, SPENT);
          if (!is_kept(best, is_last)) {
            break;
          }
          var chosen = left_0;
          var four = 0u;
          let place = place_of(best, chosen);
          keep(best, key + four / (ROW / 4u) * CENTROIDS + row * ROW + four % (ROW / 4u) * 4u + place);
          let others = select(chosen, vec4<f32>(SPENT), vec4<u32>(place) == vec4<u32>(0u, 1u, 2u, 3u));
          left_0 = select(left_0, others, four == 0u);
        }
      }
    }
    beam[0] = 0u;
    settle(0u);
    for (var stage = 1u; stage < STAGES; stage += 1u) {
      clear();
      let is_last = stage == STAGES - 1u;
      let first = (centroids + (group * STAGES + stage) * CENTROIDS * CHANNELS / 4u) / 4u;
      let height = minus(vector, scaled(size, lows_of(stage, group)));
      for (var batch = 0u; batch < BEAM; batch += 4u) {
        let key = batch * CENTROIDS;
        var words_0_0 = Words();
        var words_1_0 = Words();
        var words_2_0 = Words();
        var words_3_0 = Words();
        for (var before = 0u; before < stage; before += 1u) {
          let centroid_0 = centroid_of(group, before, beam[batch + 0u]);
          words_0_0 += centroid_words(centroid_0, 0u);
          let centroid_1 = centroid_of(group, before, beam[batch + 1u]);
          words_1_0 += centroid_words(centroid_1, 0u);
          let centroid_2 = centroid_of(group, before, beam[batch + 2u]);
          words_2_0 += centroid_words(centroid_2, 0u);
          let centroid_3 = centroid_of(group, before, beam[batch + 3u]);
          words_3_0 += centroid_words(centroid_3, 0u);
        }
        let past_0 = times(unit, Group(part_levels(words_0_0.x), part_levels(words_0_0.y)));
        let rest_0 = minus(height, past_0);
        let base_0 = products(height, past_0) - 0.5 * products(past_0, past_0);
        let past_1 = times(unit, Group(part_levels(words_1_0.x), part_levels(words_1_0.y)));
        let rest_1 = minus(height, past_1);
        let base_1 = products(height, past_1) - 0.5 * products(past_1, past_1);
        let past_2 = times(unit, Group(part_levels(words_2_0.x), part_levels(words_2_0.y)));
        let rest_2 = minus(height, past_2);
        let base_2 = products(height, past_2) - 0.5 * products(past_2, past_2);
        let past_3 = times(unit, Group(part_levels(words_3_0.x), part_levels(words_3_0.y)));
        let rest_3 = minus(height, past_3);
        let base_3 = products(height, past_3) - 0.5 * products(past_3, past_3);
      for (var row = 0u; row < CENTROIDS / ROW; row += 1u) {
        let words_0 = codebook_quads[first + row * ROW_QUADS + 0u];
        let words_1 = codebook_quads[first + row * ROW_QUADS + 1u];
        let numbers_0 = times(unit, Group(levels_of(words_0.x), levels_of(words_0.y)));
        let bend_0 = 0.5 * products(numbers_0, numbers_0);
        let score_0_0 = products(rest_0, numbers_0) - bend_0;
        let score_0_1 = products(rest_1, numbers_0) - bend_0;
        let score_0_2 = products(rest_2, numbers_0) - bend_0;
        let score_0_3 = products(rest_3, numbers_0) - bend_0;
        let numbers_1 = times(unit, Group(levels_of(words_0.z), levels_of(words_0.w)));
        let bend_1 = 0.5 * products(numbers_1, numbers_1);
        let score_1_0 = products(rest_0, numbers_1) - bend_1;
        let score_1_1 = products(rest_1, numbers_1) - bend_1;
        let score_1_2 = products(rest_2, numbers_1) - bend_1;
        let score_1_3 = products(rest_3, numbers_1) - bend_1;
        let numbers_2 = times(unit, Group(levels_of(words_1.x), levels_of(words_1.y)));
        let bend_2 = 0.5 * products(numbers_2, numbers_2);
        let score_2_0 = products(rest_0, numbers_2) - bend_2;
        let score_2_1 = products(rest_1, numbers_2) - bend_2;
        let score_2_2 = products(rest_2, numbers_2) - bend_2;
        let score_2_3 = products(rest_3, numbers_2) - bend_2;
        let numbers_3 = times(unit, Group(levels_of(words_1.z), levels_of(words_1.w)));
        let bend_3 = 0.5 * products(numbers_3, numbers_3);
        let score_3_0 = products(rest_0, numbers_3) - bend_3;
        let score_3_1 = products(rest_1, numbers_3) - bend_3;
        let score_3_2 = products(rest_2, numbers_3) - bend_3;
        let score_3_3 = products(rest_3, numbers_3) - bend_3;
        var left_0 = base_0 + vec4<f32>(score_0_0, score_1_0, score_2_0, score_3_0);
        var left_1 = base_1 + vec4<f32>(score_0_1, score_1_1, score_2_1, score_3_1);
        var left_2 = base_2 + vec4<f32>(score_0_2, score_1_2, score_2_2, score_3_2);
        var left_3 = base_3 + vec4<f32>(score_0_3, score_1_3, score_2_3, score_3_3);
        loop {
          let highest_0 = highest(left_0);
          let highest_1 = highest(left_1);
          let highest_2 = highest(left_2);
          let highest_3 = highest(left_3);
          let best = max(highest_0, max(highest_1, max(highest_2, max(highest_3, SPENT))));
          if (!is_kept(best, is_last)) {
            break;
          }
          var chosen = left_3;
          var four = 3u;
          chosen = select(chosen, left_2, highest_2 == best);
          four = select(four, 2u, highest_2 == best);
          chosen = select(chosen, left_1, highest_1 == best);
          four = select(four, 1u, highest_1 == best);
          chosen = select(chosen, left_0, highest_0 == best);
          four = select(four, 0u, highest_0 == best);
          let place = place_of(best, chosen);
          keep(best, key + four / (ROW / 4u) * CENTROIDS + row * ROW + four % (ROW / 4u) * 4u + place);
          let others = select(chosen, vec4<f32>(SPENT), vec4<u32>(place) == vec4<u32>(0u, 1u, 2u, 3u));
          left_0 = select(left_0, others, four == 0u);
          left_1 = select(left_1, others, four == 1u);
          left_2 = select(left_2, others, four == 2u);
          left_3 = select(left_3, others, four == 3u);
        }
      }
      }
      settle(stage);
    }
    let codes = beam[0];
    var words_0 = Words();
    for (var stage = 0u; stage < STAGES; stage += 1u) {
      let centroid = centroid_of(group, stage, codes);
      words_0 += centroid_words(centroid, 0u);
    }
    let levels = Group(part_levels(words_0.x), part_levels(words_0.y));
    let found = plus(lows_of(STAGES - 1u, group), times(steps_of(group), levels));
    square += products(found, found);
    put(32u * METADATA_WORDS + (lane * CODES + group * STAGES) * BITS, codes);
  }

  put(NORM_BITS * (HEAD_DIM + lane), size_level(energy, square)); // it keeps its length
  workgroupBarrier();
  for (var pair = lane; pair < PAIRS; pair += WORKGROUP) {
    // Whatever codes miss on average, the means make up for.
    let levels = mean_levels(sums[pair] - coded_sums(pair), mean_grid(pair));
    put(2u * NORM_BITS * pair, levels.x | (levels.y << NORM_BITS));
  }
  workgroupBarrier();
  let record = page_word(entry.slot, head, record_first / PAGE_TOKENS, RECORD_TOKENS, RECORD_WORDS) +
    (record_first % PAGE_TOKENS) / RECORD_TOKENS * RECORD_WORDS;
  for (var word = lane; word < RECORD_WORDS; word += WORKGROUP) {
    records[record + word] = atomicLoad(&words[word]);
  }
}
`;
