// Generated from templates/schemes/ternary/encode_ternary.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (VidKV's values: three levels of each channel).

/** WGSL of `encode_zc3_d128`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 128u;
const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
const WORKGROUP: u32 = 64u; // as many as tokens of a record, so that a lane has one
const PAGE_TOKENS: u32 = 64u;
const BITS: u32 = 13u; // bits per code
const CODES: u32 = 16u; // codes per token
const RECORD_TOKENS: u32 = 64u; // a block
const RECORD_WORDS: u32 = 480u;
const METADATA_WORDS: u32 = 64u; // in front of a record's codes
const CODE_WORDS: u32 = RECORD_TOKENS * CODES * BITS / 32u;
const NUMBERS: u32 = 6561u; // of eight trits
const GROUP: u32 = RECORD_TOKENS; // numbers of a channel
const GROUPS: u32 = HEAD_DIM;

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
@group(0) @binding(4) var<storage, read_write> records: array<u32>;

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

var<workgroup> levels: array<u32, HEAD_DIM>; // of each channel: scale, and behind eight bits the mean, as stored
var<workgroup> magnitudes: array<vec4<f32>, GROUP>; // of four channels, less their means
var<workgroup> sums: array<vec2<i32>, 4u * GROUP>; // of each number and all of larger magnitude, channel by channel
var<workgroup> counts: array<u32, 4u * GROUP>; // how many these are
var<workgroup> codes: array<u32, RECORD_TOKENS * CODES / 2u>; // two a word

// A group is all tokens of the record, in one channel.
fn group_of(token: u32, channel: u32) -> u32 {
  return channel;
}

fn member_token(group: u32, member: u32) -> u32 {
  return member;
}

fn member_channel(group: u32, member: u32) -> u32 {
  return group;
}

// Channel channel of the exact vector at word word.
fn exact_channel(word: u32, channel: u32) -> f32 {
  return unpack2x16float(exact[word + (channel >> 1u)])[channel & 1u];
}

// Number i of a group, where tokens that are not encoded now have the nearest that is.
fn member_of(entry: Entry, head: u32, record_first: u32, encode_end: u32, group: u32, i: u32) -> f32 {
  let token = clamp(record_first + member_token(group, i), entry.encode_from, encode_end - 1u);
  let word = exact_word(entry.slot, SIDE, layer.sinks + token, head);
  return exact_channel(word, member_channel(group, i));
}

alias Numbers = f32;

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

var<workgroup> extremes: array<vec4<f32>, GROUPS>; // of each channel: low, low_2, high_2 and high
var<workgroup> magnitude_bits: atomic<u32>;

// Finds what the numbers of each channel of a block lie among. A group is a channel.
fn find_extremes(entry: Entry, head: u32, record_first: u32, encode_end: u32, lane: u32) {
  for (var group = lane; group < GROUPS; group += WORKGROUP) {
    var found = no_extremes();
    for (var i = 0u; i < GROUP; i += 1u) {
      found = with_numbers(found, member_of(entry, head, record_first, encode_end, group, i));
    }
    let has_bad = max(-found.low, found.high) >= BEYOND;
    var held = no_extremes();
    for (var i = 0u; i < select(0u, GROUP, has_bad); i += 1u) {
      held = with_held(held, member_of(entry, head, record_first, encode_end, group, i));
    }
    found = settled(found, held, has_bad);
    extremes[group] = vec4<f32>(found.low, found.low_2, found.high_2, found.high);
    atomicAdd(&magnitude_bits, pack2x16float(vec2<f32>(magnitudes_of(found), 0.0)));
  }
  workgroupBarrier();
}

// What the numbers of a channel are clamped to, so that one far from all others does not spoil them.
fn channel_limits(group: u32) -> Limits {
  let own = extremes[group];
  return limits_of(Extremes(own.x, own.y, own.z, own.w), typical_of(atomicLoad(&magnitude_bits)));
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

// Whether a is less than b; both are carried.
fn is_less(a: vec2<i32>, b: vec2<i32>) -> bool {
  return a.x < b.x || (a.x == b.x && a.y < b.y);
}

// The binary16 number nearest to sum / divisor, ties to even, never the negative zero. Division may err; the comparisons that
// decide are exact.
fn mean_bits(sum: vec2<i32>, divisor: f32) -> u32 {
  let is_negative = sum.x < 0;
  let magnitude = carried(select(sum, -sum, is_negative));
  let guess = (f32(magnitude.x) / 32.0 + f32(magnitude.y) / 33554432.0) / divisor;
  var bits = pack2x16float(vec2<f32>(min(guess, 65504.0), 0.0));
  bits -= min(bits, 1u);
  for (var i = 0u; i < 2u; i += 1u) {
    let middle = units_of(divisor * 0.5 * (unpack2x16float(bits).x + unpack2x16float(bits + 1u).x));
    let is_tie = all(middle == magnitude);
    bits += select(0u, 1u, bits < 0x7bffu && (is_less(middle, magnitude) || (is_tie && (bits & 1u) == 1u)));
  }
  return bits | select(0u, 0x8000u, is_negative && bits > 0u);
}

// The number that a mean stands for.
fn mean_of(bits: u32) -> f32 {
  return 256.0 * unpack2x16float(((bits & 0x80u) << 8u) | ((bits & 0x7fu) << 7u)).x;
}

// The number that a scale stands for.
fn scale_of(bits: u32) -> f32 {
  return unpack2x16float(bits << 7u).x;
}

// The mean of a channel's numbers within limits, in four bits of exponent: binary16 of a 256th, rounded.
fn fit_mean(entry: Entry, head: u32, record_first: u32, encode_end: u32, channel: u32) -> u32 {
  let limits = channel_limits(channel);
  var sum = vec2<i32>();
  for (var i = 0u; i < GROUP; i += 1u) {
    let number = member_of(entry, head, record_first, encode_end, channel, i);
    sum += units_of(clamp(number, limits.low, limits.high));
  }
  let total = carried(sum);
  let half = mean_bits(total, 256.0 * f32(GROUP));
  return min(((half & 0x7fffu) + 0x40u) >> 7u, 0x7fu) | select(0u, 0x80u, total.x < 0);
}

// A sum in digits of 11 bits, the lowest first.
fn digits_of(sum: vec2<i32>) -> array<i32, 5> {
  return array<i32, 5>(
    sum.y & 2047,
    (sum.y >> 11u) | ((sum.x & 3) << 9u),
    (sum.x >> 2u) & 2047,
    (sum.x >> 13u) & 2047,
    sum.x >> 24u,
  );
}

// Whether the numbers in candidate a, coded as one scale, take off more of the squared error than those in b: whether
// sum_a^2 / count_a > sum_b^2 / count_b, or both are equal and a has fewer. No division and no rounding.
fn is_better(a: u32, b: u32) -> bool {
  var x = digits_of(sums[a]);
  var y = digits_of(sums[b]);
  let x_factor = i32(counts[b]);
  let y_factor = i32(counts[a]);
  var carry = 0;
  var rest = 0;
  for (var place = 0u; place < 9u; place += 1u) {
    for (var i = max(place, 4u) - 4u; i <= min(place, 4u); i += 1u) {
      carry += x[i] * x[place - i] * x_factor - y[i] * y[place - i] * y_factor;
    }
    rest |= carry & 2047;
    carry >>= 11u;
  }
  let equal = carry == 0 && rest == 0;
  return carry > 0 || (carry == 0 && rest != 0) || (equal && counts[a] < counts[b]);
}

// The best of count candidates from first on, stride apart, is put first.
fn put_best_first(first: u32, stride: u32, count: u32) {
  var best = first;
  for (var i = 1u; i < count; i += 1u) {
    if (is_better(first + i * stride, best)) {
      best = first + i * stride;
    }
  }
  sums[first] = sums[best];
  counts[first] = counts[best];
}

// Word word of the codes.
fn code_word(word: u32) -> u32 {
  let end = min(RECORD_TOKENS * CODES, (word * 32u + 31u) / BITS + 1u);
  var bits = 0u;
  for (var item = word * 32u / BITS; item < end; item += 1u) {
    let code = (codes[item / 2u] >> (item % 2u * 16u)) & 0xffffu;
    let first = item * BITS;
    if (first >= word * 32u) {
      bits |= code << (first - word * 32u);
    } else {
      bits |= code >> (word * 32u - first);
    }
  }
  return bits;
}

// Codes of the block that leaves the exact tier: for each channel a mean, the scale of least squared error, and for each number
// the nearest of three levels, of equally near ones the mean. Grid: (records, KV heads, entries).
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
  let record = page_word(entry.slot, head, record_first / PAGE_TOKENS, RECORD_TOKENS, RECORD_WORDS) +
    (record_first % PAGE_TOKENS) / RECORD_TOKENS * RECORD_WORDS;

  find_extremes(entry, head, record_first, encode_end, lane);
  for (var channel = lane; channel < HEAD_DIM; channel += WORKGROUP) {
    levels[channel] = fit_mean(entry, head, record_first, encode_end, channel) << 8u;
  }
  workgroupBarrier();

  var number = 0u; // of the trits of eight channels
  for (var chunk = 0u; chunk < CHUNKS; chunk += 1u) {
    var rest = vec4<f32>(); // of the lane's token
    for (var i = 0u; i < 4u; i += 1u) {
      let channel = 4u * chunk + i;
      let limits = channel_limits(channel);
      let own = member_of(entry, head, record_first, encode_end, channel, lane);
      rest[i] = clamp(own, limits.low, limits.high) - mean_of(levels[channel] >> 8u);
    }
    let magnitude = abs(rest);
    magnitudes[lane] = magnitude;
    workgroupBarrier();
    // Each number proposes itself and all of larger magnitude, of equal ones those before it.
    var sum_0 = vec2<i32>();
    var sum_1 = vec2<i32>();
    var sum_2 = vec2<i32>();
    var sum_3 = vec2<i32>();
    var count = vec4<u32>();
    for (var i = 0u; i < GROUP; i += 1u) {
      let other = magnitudes[i];
      let is_ahead = (other > magnitude) | ((other == magnitude) & vec4<bool>(i <= lane));
      sum_0 += select(vec2<i32>(), units_of(other.x), is_ahead.x);
      sum_1 += select(vec2<i32>(), units_of(other.y), is_ahead.y);
      sum_2 += select(vec2<i32>(), units_of(other.z), is_ahead.z);
      sum_3 += select(vec2<i32>(), units_of(other.w), is_ahead.w);
      count += select(vec4<u32>(), vec4<u32>(1u), is_ahead);
    }
    sums[lane] = carried(sum_0);
    sums[GROUP + lane] = carried(sum_1);
    sums[2u * GROUP + lane] = carried(sum_2);
    sums[3u * GROUP + lane] = carried(sum_3);
    counts[lane] = count.x;
    counts[GROUP + lane] = count.y;
    counts[2u * GROUP + lane] = count.z;
    counts[3u * GROUP + lane] = count.w;
    workgroupBarrier();
    put_best_first(lane * 4u, 1u, 4u);
    workgroupBarrier();
    if (lane < 4u) {
      let first = lane * GROUP;
      put_best_first(first, 4u, GROUP / 4u);
      // Binary16 without its sign and its lowest bits.
      let half = mean_bits(sums[first], f32(counts[first]));
      levels[4u * chunk + lane] |= min((half + 0x40u) >> 7u, 0xf7u);
    }
    workgroupBarrier();
    for (var i = 0u; i < 4u; i += 1u) {
      let scale = scale_of(levels[4u * chunk + i] & 0xffu);
      let trit = select(select(1u, 0u, 2.0 * rest[i] < -scale), 2u, 2.0 * rest[i] > scale);
      number = 3u * number + select(trit, 1u, scale == 0.0);
    }
    if (chunk % 2u == 1u) {
      let code = (number << BITS) / NUMBERS + select(1u, 0u, (number << BITS) % NUMBERS == 0u);
      let item = lane * CODES + chunk / 2u;
      codes[item / 2u] |= code << (item % 2u * 16u);
      number = 0u;
    }
  }
  workgroupBarrier();
  for (var word = lane; word < METADATA_WORDS; word += WORKGROUP) {
    records[record + word] = levels[2u * word] | (levels[2u * word + 1u] << 16u);
  }
  for (var word = lane; word < CODE_WORDS; word += WORKGROUP) {
    records[record + METADATA_WORDS + word] = code_word(word);
  }
}
`;
