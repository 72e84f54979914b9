// Generated from templates/schemes/hadamard/encode_rotated.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (1.38 and 2.38 bits without calibration, after NSNQuant).

/** WGSL of `encode_u4b8_d256_rope`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 256u;
const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
const WORKGROUP: u32 = 64u;
const PAGE_TOKENS: u32 = 64u;
const CHANNELS: u32 = 4u; // channels per code
const BITS: u32 = 8u; // bits per code
const ROW_CENTROIDS: u32 = 2u; // that one load brings
const CENTROIDS: u32 = 256u; // of all heads and groups
const CODES: u32 = 64u; // codes per token
const RECORD_TOKENS: u32 = 64u;
const RECORD_WORDS: u32 = 1169u;
const METADATA_WORDS: u32 = 145u; // in front of a record's codes
const TOKEN_WORDS: u32 = CODES * BITS / 32u; // of a token's codes
const TOKENS: u32 = 4u; // tokens coded at once, which divide those of a record
const LANES: u32 = 1u; // lanes that share the search for one code
const SPREAD: f32 = 0.0625; // the factor of the rotation

override SIDE: u32 = 0u; // 0 encodes keys, 1 values
const NEAR: u32 = 128u; // distances the table has one by one
override INTERLEAVED: bool = false; // pairs are (2i, 2i + 1), not (i, i + half)
override ROTARY_CHUNKS: u32 = CHUNKS / 2u; // pairs of channels that rotate, in fours

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
@group(0) @binding(6) var<storage, read> rope: array<vec4<f32>>;

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

var<workgroup> vectors: array<vec4<f32>, TOKENS * CHUNKS>;
var<workgroup> codes: array<u32, TOKENS * CODES>;
var<workgroup> deviations: array<f32, TOKENS>;
var<workgroup> half_squares: array<f32, CENTROIDS>; // of the centroids' lengths
var<workgroup> likenesses: array<f32, TOKENS * WORKGROUP>;
var<workgroup> nearest: array<u32, TOKENS * WORKGROUP>;

// The signs of a chunk's channels before a Hadamard rotation: the Rudin-Shapiro sequence, whose transform is flat. A sign is
// -1 where a channel's number has an odd number of neighbouring pairs of set bits.
fn channel_signs(chunk: u32) -> vec4<f32> {
  let channels = 4u * chunk + vec4<u32>(0u, 1u, 2u, 3u);
  return 1.0 - 2.0 * vec4<f32>(countOneBits(channels & (channels >> vec4<u32>(1u))) & vec4<u32>(1u));
}

// The Walsh-Hadamard transform of four channels. That of a head is the sum of its chunks, transformed so, each
// with -1 where its number and that of the result have an odd number of set bits in common.
fn hadamard4(x: vec4<f32>) -> vec4<f32> {
  let y = vec4<f32>(x.x + x.y, x.x - x.y, x.z + x.w, x.z - x.w);
  return vec4<f32>(y.x + y.z, y.y + y.w, y.x - y.z, y.y - y.w);
}

// Chunk chunk, which is four channels, of the exact vector at word word.
fn exact_chunk(word: u32, chunk: u32) -> vec4<f32> {
  let at = word + 2u * chunk;
  return vec4<f32>(unpack2x16float(exact[at]), unpack2x16float(exact[at + 1u]));
}

struct Angle {
  cosine: vec4<f32>,
  sine: vec4<f32>,
}

// The rotation of four pairs of channels at a distance: the sum of a near one and a far one.
fn angle_of(distance: u32, pair: u32) -> Angle {
  let near = ((distance % NEAR) * ROTARY_CHUNKS + pair) * 2u;
  let far = ((NEAR + distance / NEAR) * ROTARY_CHUNKS + pair) * 2u;
  return Angle(
    rope[near] * rope[far] - rope[near + 1u] * rope[far + 1u],
    rope[near + 1u] * rope[far] + rope[near] * rope[far + 1u],
  );
}

// Chunk chunk of the exact vector at word word, less its mean, with the rotary embedding of position, as the transform takes it.
fn signed_chunk(word: u32, position: u32, chunk: u32) -> vec4<f32> {
  let token = (position - layer.sinks) % RECORD_TOKENS;
  let value = kept_chunk(word, token, chunk) - centre_of(chunk);
  let signs = channel_signs(chunk) * SPREAD;
  if (chunk >= 2u * ROTARY_CHUNKS) {
    return value * signs;
  }
  // A channel's partner lies beside it, or in the chunk half of the rotary channels away.
  let second_half = chunk >= ROTARY_CHUNKS;
  let apart = select(select(chunk + ROTARY_CHUNKS, chunk - ROTARY_CHUNKS, second_half), chunk, INTERLEAVED);
  let partner = kept_chunk(word, token, apart) - centre_of(apart);
  let other = select(select(-partner, partner, second_half), value.yxwz * vec4<f32>(-1.0, 1.0, -1.0, 1.0), INTERLEAVED);
  let angle = angle_of(position, select(chunk % ROTARY_CHUNKS, chunk / 2u, INTERLEAVED));
  let odd_chunk = chunk % 2u == 1u;
  let cosine = select(angle.cosine, select(angle.cosine.xxyy, angle.cosine.zzww, odd_chunk), INTERLEAVED);
  let sine = select(angle.sine, select(angle.sine.xxyy, angle.sine.zzww, odd_chunk), INTERLEAVED);
  return (value * cosine + other * sine) * signs;
}

// Ends the Walsh-Hadamard transform of the vectors, whose chunks hadamard4 has transformed one by one.
fn transform_vectors(lane: u32) {
  for (var stride = 1u; stride < CHUNKS; stride *= 2u) {
    workgroupBarrier();
    for (var item = lane; item < TOKENS * CHUNKS / 2u; item += WORKGROUP) {
      let first = item / stride * (2u * stride) + item % stride;
      let a = vectors[first];
      let b = vectors[first + stride];
      vectors[first] = a + b;
      vectors[first + stride] = a - b;
    }
  }
  workgroupBarrier();
  for (var item = lane; item < TOKENS * CHUNKS; item += WORKGROUP) {
    vectors[item] = centred(vectors[item], item % CHUNKS);
  }
  workgroupBarrier();
}

// Four channels of a group.
alias Part = vec4<f32>;

// Centroids that lie side by side in one load, two channels to a word.
alias Row = vec4<u32>;

// Part part of group group of the vector of token token.
fn vector_part(token: u32, group: u32, part: u32) -> Part {
  return vectors[token * CHUNKS + group * (CHANNELS / 4u) + part];
}

fn centroid_row(codebook: u32, row: u32) -> Row {
  return codebook_quads[codebook / 4u + row];
}

// Part part of the centroids of a row.
fn row_part(row: Row, part: u32) -> Part {
  return vec4<f32>(unpack2x16float(row[2u * part]), unpack2x16float(row[2u * part + 1u]));
}

fn product(a: Part, b: Part) -> f32 {
  return dot(a, b);
}

// All of a record's tokens leave the exact tier at once, and are coded together (NSNQuant, arXiv 2505.18231 §4).
var<workgroup> lowest: array<vec4<f32>, CHUNKS>; // what the tokens' channels are clamped to
var<workgroup> highest: array<vec4<f32>, CHUNKS>;
var<workgroup> magnitude_bits: atomic<u32>;
var<private> token_sum: vec4<f32>; // of the lane's chunk, before any clamping
var<private> is_limited: bool; // some of them are clamped

alias Numbers = vec4<f32>;

const BEYOND: f32 = 65504.0; // where numbers lie that f16 could not hold
const REACH: f32 = 16.0; // how far a number may lie from all others of its channel, in their range or the typical magnitude

// What the numbers of channels lie among: the smallest, the second smallest, the second largest and the largest.
struct Extremes {
  low: Numbers,
  low_2: Numbers,
  high_2: Numbers,
  high: Numbers,
}

struct Limits {
  low: Numbers,
  high: Numbers,
}

// Extremes of no numbers.
fn no_extremes() -> Extremes {
  return Extremes(Numbers(3.0e38), Numbers(3.0e38), Numbers(-3.0e38), Numbers(-3.0e38));
}

fn with_numbers(found: Extremes, numbers: Numbers) -> Extremes {
  return Extremes(
    min(found.low, numbers),
    min(found.low_2, max(found.low, numbers)),
    max(found.high_2, min(found.high, numbers)),
    max(found.high, numbers),
  );
}

// The same without those that f16 could not hold.
fn with_held(found: Extremes, numbers: Numbers) -> Extremes {
  let held = abs(numbers) < Numbers(BEYOND);
  let lows = with_numbers(found, select(Numbers(3.0e38), numbers, held));
  let highs = with_numbers(found, select(Numbers(-3.0e38), numbers, held));
  return Extremes(lows.low, lows.low_2, highs.high_2, highs.high);
}

// Where some are of them, those that f16 could hold; all where these are fewer than three.
fn settled(found: Extremes, held: Extremes, has_bad: bool) -> Extremes {
  let few = held.low_2 > held.high_2;
  return Extremes(
    select(found.low, select(held.low, found.low, few), has_bad),
    select(found.low_2, select(held.low_2, found.low, few), has_bad),
    select(found.high_2, select(held.high_2, found.high, few), has_bad),
    select(found.high, select(held.high, found.high, few), has_bad),
  );
}

// The magnitude of a channel, which no single number decides.
fn magnitudes_of(found: Extremes) -> Numbers {
  return max(abs(found.low_2), abs(found.high_2));
}

// The typical magnitude, given the sum of all channels' as the bits of f16: their mean is nearly that of logarithms, so that a few
// large channels change it little, and whole numbers add up alike everywhere.
fn typical_of(magnitude_bits: u32) -> f32 {
  return unpack2x16float(magnitude_bits / HEAD_DIM).x;
}

// What numbers are clamped to: they lie within as a rule. One that lies far from all others, on either side, is taken for the
// nearest of them.
fn limits_of(found: Extremes, typical: f32) -> Limits {
  let reach = REACH * max(found.high_2 - found.low_2, Numbers(typical));
  return Limits(
    select(found.low, found.low_2, found.low_2 - found.low > reach),
    select(found.high, found.high_2, found.high - found.high_2 > reach),
  );
}

// The first word of the exact vector of token token of the record.
fn token_word(entry: Entry, head: u32, record_first: u32, token: u32) -> u32 {
  return exact_word(entry.slot, SIDE, layer.sinks + record_first + token, head);
}

// Finds what keeps a bad number from the record's other tokens. There are at least as many lanes as chunks.
fn find_limits(entry: Entry, head: u32, record_first: u32, lane: u32) {
  let chunk = min(lane, CHUNKS - 1u); // lanes past the last chunk repeat it
  var found = no_extremes();
  token_sum = vec4<f32>();
  for (var token = 0u; token < RECORD_TOKENS; token += 1u) {
    let numbers = exact_chunk(token_word(entry, head, record_first, token), chunk);
    found = with_numbers(found, numbers);
    token_sum += numbers;
  }
  let least = found.low;
  let most = found.high;
  let has_bad = any(max(-least, most) >= vec4<f32>(BEYOND));
  var held = no_extremes();
  for (var token = 0u; token < select(0u, RECORD_TOKENS, has_bad); token += 1u) {
    held = with_held(held, exact_chunk(token_word(entry, head, record_first, token), chunk));
  }
  found = settled(found, held, has_bad);
  if (lane < CHUNKS) {
    let magnitudes = magnitudes_of(found);
    let xy = pack2x16float(magnitudes.xy);
    let zw = pack2x16float(magnitudes.zw);
    atomicAdd(&magnitude_bits, (xy & 0xffffu) + (xy >> 16u) + (zw & 0xffffu) + (zw >> 16u));
  }
  workgroupBarrier();
  if (lane < CHUNKS) {
    let limits = limits_of(found, typical_of(atomicLoad(&magnitude_bits)));
    lowest[chunk] = limits.low;
    highest[chunk] = limits.high;
    is_limited = any(limits.low > least) || any(limits.high < most);
  }
  workgroupBarrier();
}

// Chunk chunk of the exact vector at word word, within the limits.
fn limited_chunk(word: u32, chunk: u32) -> vec4<f32> {
  return clamp(exact_chunk(word, chunk), lowest[chunk], highest[chunk]);
}

// Chunk chunk, which is the lane's, of the mean of the record's tokens. They are added up again where they are coded otherwise.
fn record_mean(entry: Entry, head: u32, record_first: u32, chunk: u32, is_waved: bool) -> vec4<f32> {
  let again = is_limited || is_waved;
  var sum = select(token_sum, vec4<f32>(), again);
  for (var token = 0u; token < select(0u, RECORD_TOKENS, again); token += 1u) {
    sum += kept_chunk(token_word(entry, head, record_first, token), token, chunk);
  }
  return sum / f32(RECORD_TOKENS);
}

const LEAST_EXPONENT: u32 = 87u; // of the largest mean that the step of a record's means follows

var<workgroup> mean: array<vec4<f32>, CHUNKS>; // as it will be read; zero until it is known
var<workgroup> largest_mean: atomic<u32>; // the bits of its magnitude

// Keeps chunk chunk of the mean as it is.
fn hold_mean(chunk: u32, value: vec4<f32>) {
  mean[chunk] = value;
  let magnitudes = abs(value);
  let most = max(max(magnitudes.x, magnitudes.y), max(magnitudes.z, magnitudes.w));
  atomicMax(&largest_mean, bitcast<u32>(most));
}

// Writes the mean as whole numbers of one step, the smallest power of two that the largest of them allows, and keeps it as it will be
// read. Numbers have two bytes, or one where they are short.
fn write_means(record: u32, short: bool, lane: u32) {
  workgroupBarrier();
  let exponent = max(atomicLoad(&largest_mean) >> 23u, LEAST_EXPONENT) - select(14u, 6u, short);
  let step = bitcast<f32>(exponent << 23u);
  let most = vec4<f32>(select(32767.0, 127.0, short));
  for (var chunk = lane; chunk < CHUNKS; chunk += WORKGROUP) {
    let steps = clamp(round(mean[chunk] * bitcast<f32>((254u - exponent) << 23u)), -most, most);
    let numbers = bitcast<vec4<u32>>(vec4<i32>(steps));
    mean[chunk] = steps * step;
    if (short) {
      let bytes = numbers & vec4<u32>(0xffu);
      records[record + chunk] = bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
    } else {
      records[record + 2u * chunk] = (numbers.x & 0xffffu) | (numbers.y << 16u);
      records[record + 2u * chunk + 1u] = (numbers.z & 0xffffu) | (numbers.w << 16u);
    }
  }
  if (lane == 0u) {
    records[record + 2u * CHUNKS] = bitcast<u32>(step);
  }
}

// Chunk chunk of the exact vector at word word, of token token of the record, as it is coded.
fn kept_chunk(word: u32, token: u32, chunk: u32) -> vec4<f32> {
  return limited_chunk(word, chunk);
}

// The mean of the vectors before their rotary embedding, where they have more in common.
fn begin_record(entry: Entry, head: u32, record: u32, record_first: u32, lane: u32) {
  find_limits(entry, head, record_first, lane);
  for (var chunk = lane; chunk < CHUNKS; chunk += WORKGROUP) {
    hold_mean(chunk, record_mean(entry, head, record_first, chunk, false));
  }
  write_means(record, false, lane);
}

fn end_record(energy: f32, lane: u32) {}

fn centre_of(chunk: u32) -> vec4<f32> {
  return mean[chunk];
}

fn centred(value: vec4<f32>, chunk: u32) -> vec4<f32> {
  return value;
}

// Writes the scales of the batch's tokens, four to a word: what is decoded is as long as what was coded.
fn write_scales(
  entry: Entry,
  record: u32,
  first: u32,
  batch: u32,
  encode_end: u32,
  lane: u32,
) {
  for (var token = lane; token < TOKENS; token += WORKGROUP) {
    var total = 0.0;
    for (var group = 0u; group < CODES; group += 1u) {
      total += 2.0 * half_squares[codes[token * CODES + group]];
    }
    let scale = deviations[token] / sqrt(total / f32(HEAD_DIM));
    // Binary16 without its sign and its lowest bits.
    let half = pack2x16float(vec2<f32>(min(scale, 65504.0), 0.0)) & 0x7fffu;
    deviations[token] = f32(min((half + 0x40u) >> 7u, 0xf7u));
  }
  workgroupBarrier();
  for (var word = lane; word < TOKENS / 4u; word += WORKGROUP) {
    records[record + METADATA_WORDS - RECORD_TOKENS / 4u + batch / 4u + word] = u32(deviations[4u * word]) |
      (u32(deviations[4u * word + 1u]) << 8u) | (u32(deviations[4u * word + 2u]) << 16u) |
      (u32(deviations[4u * word + 3u]) << 24u);
  }
}

// Codes of the tokens that leave the exact tier: centred, rotated, divided by their size, and then the nearest centroid of
// each group, ties to the lowest index. A workgroup owns a whole record, so tokens coded before are kept without atomics.
// Grid: (records, KV heads, entries).
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
  let codebook = select(layer.value_codebook, 0u, SIDE == 0u);
  let record = page_word(entry.slot, head, record_first / PAGE_TOKENS, RECORD_TOKENS, RECORD_WORDS) +
    (record_first % PAGE_TOKENS) / RECORD_TOKENS * RECORD_WORDS;
  for (var row = lane; row < CENTROIDS / ROW_CENTROIDS; row += WORKGROUP) {
    let centroids = centroid_row(codebook, row);
    let c_0_0 = row_part(centroids, 0u);
    half_squares[row * ROW_CENTROIDS + 0u] = 0.5 * (product(c_0_0, c_0_0));
    let c_1_0 = row_part(centroids, 1u);
    half_squares[row * ROW_CENTROIDS + 1u] = 0.5 * (product(c_1_0, c_1_0));
  }
  begin_record(entry, head, record, record_first, lane);

  var energy = 0.0; // of what the lane has found the sizes of
  for (var batch = 0u; batch < RECORD_TOKENS; batch += TOKENS) {
    workgroupBarrier();
    for (var item = lane; item < TOKENS * CHUNKS; item += WORKGROUP) {
      let token = clamp(record_first + batch + item / CHUNKS, entry.encode_from, encode_end - 1u);
      let position = layer.sinks + token;
      let word = exact_word(entry.slot, SIDE, position, head);
      vectors[item] = hadamard4(signed_chunk(word, position, item % CHUNKS));
    }
    transform_vectors(lane);
    for (var token = lane; token < TOKENS; token += WORKGROUP) {
      var square = 0.0;
      for (var chunk = 0u; chunk < CHUNKS; chunk += 1u) {
        let value = vectors[token * CHUNKS + chunk];
        square += dot(value, value);
      }
      energy += square;
      // As binary16, so that rounding here hardly ever decides between two centroids.
      let deviation = pack2x16float(vec2<f32>(min(sqrt(square / f32(HEAD_DIM)), 65504.0), 0.0));
      deviations[token] = unpack2x16float(deviation).x;
    }
    workgroupBarrier();

    for (var round = 0u; round < CODES; round += WORKGROUP / LANES) {
      let group = min(round + lane / LANES, CODES - 1u); // idle lanes repeat the last group
      let deviation_0 = deviations[0u];
      let x_0_0 = vector_part(0u, group, 0u);
      var best_0 = -3.0e38;
      var code_0 = 0u;
      let deviation_1 = deviations[1u];
      let x_1_0 = vector_part(1u, group, 0u);
      var best_1 = -3.0e38;
      var code_1 = 0u;
      let deviation_2 = deviations[2u];
      let x_2_0 = vector_part(2u, group, 0u);
      var best_2 = -3.0e38;
      var code_2 = 0u;
      let deviation_3 = deviations[3u];
      let x_3_0 = vector_part(3u, group, 0u);
      var best_3 = -3.0e38;
      var code_3 = 0u;
      // |x / deviation - c|^2 is least where x.c - deviation |c|^2 / 2 is largest; no division, so that ties are exact.
      for (var row = lane % LANES; row < CENTROIDS / ROW_CENTROIDS; row += LANES) {
        let centroids = centroid_row(codebook, row);
        let code_of_0 = row * ROW_CENTROIDS + 0u;
        let c_0_0 = row_part(centroids, 0u);
        let half_square_0 = 0.5 * (product(c_0_0, c_0_0));
        let likeness_0_0 = product(x_0_0, c_0_0) - deviation_0 * half_square_0;
        code_0 = select(code_0, code_of_0, likeness_0_0 > best_0);
        best_0 = max(best_0, likeness_0_0);
        let likeness_0_1 = product(x_1_0, c_0_0) - deviation_1 * half_square_0;
        code_1 = select(code_1, code_of_0, likeness_0_1 > best_1);
        best_1 = max(best_1, likeness_0_1);
        let likeness_0_2 = product(x_2_0, c_0_0) - deviation_2 * half_square_0;
        code_2 = select(code_2, code_of_0, likeness_0_2 > best_2);
        best_2 = max(best_2, likeness_0_2);
        let likeness_0_3 = product(x_3_0, c_0_0) - deviation_3 * half_square_0;
        code_3 = select(code_3, code_of_0, likeness_0_3 > best_3);
        best_3 = max(best_3, likeness_0_3);
        let code_of_1 = row * ROW_CENTROIDS + 1u;
        let c_1_0 = row_part(centroids, 1u);
        let half_square_1 = 0.5 * (product(c_1_0, c_1_0));
        let likeness_1_0 = product(x_0_0, c_1_0) - deviation_0 * half_square_1;
        code_0 = select(code_0, code_of_1, likeness_1_0 > best_0);
        best_0 = max(best_0, likeness_1_0);
        let likeness_1_1 = product(x_1_0, c_1_0) - deviation_1 * half_square_1;
        code_1 = select(code_1, code_of_1, likeness_1_1 > best_1);
        best_1 = max(best_1, likeness_1_1);
        let likeness_1_2 = product(x_2_0, c_1_0) - deviation_2 * half_square_1;
        code_2 = select(code_2, code_of_1, likeness_1_2 > best_2);
        best_2 = max(best_2, likeness_1_2);
        let likeness_1_3 = product(x_3_0, c_1_0) - deviation_3 * half_square_1;
        code_3 = select(code_3, code_of_1, likeness_1_3 > best_3);
        best_3 = max(best_3, likeness_1_3);
      }
      likenesses[0u * WORKGROUP + lane] = best_0;
      nearest[0u * WORKGROUP + lane] = code_0;
      likenesses[1u * WORKGROUP + lane] = best_1;
      nearest[1u * WORKGROUP + lane] = code_1;
      likenesses[2u * WORKGROUP + lane] = best_2;
      nearest[2u * WORKGROUP + lane] = code_2;
      likenesses[3u * WORKGROUP + lane] = best_3;
      nearest[3u * WORKGROUP + lane] = code_3;
      workgroupBarrier();
      for (var item = lane; item < TOKENS * (WORKGROUP / LANES); item += WORKGROUP) {
        let at = item * LANES;
        var highest = likenesses[at];
        var winner = nearest[at];
        for (var other = at + 1u; other < at + LANES; other += 1u) {
          let tie = likenesses[other] == highest && nearest[other] < winner;
          if (likenesses[other] > highest || tie) {
            highest = likenesses[other];
            winner = nearest[other];
          }
        }
        let item_group = round + item % (WORKGROUP / LANES);
        if (item_group < CODES) {
          codes[item / (WORKGROUP / LANES) * CODES + item_group] = winner;
        }
      }
      workgroupBarrier();
    }

    write_scales(entry, record, record_first + batch, batch, encode_end, lane);
    for (var item = lane; item < TOKENS * TOKEN_WORDS; item += WORKGROUP) {
      let token = record_first + batch + item / TOKEN_WORDS;
      if (token >= entry.encode_from) {
        let at = record + METADATA_WORDS + batch * TOKEN_WORDS + item;
        records[at] = select(0u, code_word(item / TOKEN_WORDS, item % TOKEN_WORDS), token < encode_end);
      }
    }
  }
  end_record(energy, lane);
}

// Word word of the codes of token token of the batch.
fn code_word(token: u32, word: u32) -> u32 {
  let end = min(CODES, (word * 32u + 31u) / BITS + 1u);
  var bits = 0u;
  for (var item = word * 32u / BITS; item < end; item += 1u) {
    let code = codes[token * CODES + item];
    let first = item * BITS;
    if (first >= word * 32u) {
      bits |= code << (first - word * 32u);
    } else {
      bits |= code >> (word * 32u - first);
    }
  }
  return bits;
}
`;
