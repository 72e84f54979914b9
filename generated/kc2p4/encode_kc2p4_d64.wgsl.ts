// Generated from templates/schemes/promoted/encode_promoted.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (Kitty's keys: 2 bits, and 4 for the channels of largest range, an eighth or a fourth).

/** WGSL of `encode_kc2p4_d64`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 64u;
const WORKGROUP: u32 = 64u;
const PAGE_TOKENS: u32 = 64u;
const BITS: u32 = 2u; // bits per code of a plane
const RECORD_TOKENS: u32 = 64u; // a block
const RECORD_WORDS: u32 = 386u;
const PROMOTED: u32 = 16u; // channels that have codes in both planes
const MASK_WORDS: u32 = HEAD_DIM / 32u; // whose bits say which
const WORD_CODES: u32 = 32u / BITS;
const LOW_WORDS: u32 = RECORD_TOKENS * HEAD_DIM / WORD_CODES;
const HIGH_WORDS: u32 = RECORD_TOKENS * PROMOTED / WORD_CODES;
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

var<workgroup> ranges: array<f32, HEAD_DIM>;
var<workgroup> mask: array<atomic<u32>, MASK_WORDS>;
var<workgroup> promoted: array<u32, PROMOTED>; // the channels, in order
var<workgroup> levels: array<u32, HEAD_DIM>; // of each channel: scale, and in the upper half the minimum, as binary16

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

// The code of the level nearest to a number, ties to the higher code, where own are the scale and the number whose code is zero.
// Division may err; the comparisons that decide are exact.
fn level_code(number: f32, own: vec2<f32>, zero: f32, highest: f32) -> u32 {
  let scale = abs(own.x);
  if (scale == 0.0) {
    return u32(zero);
  }
  let difference = (number - own.y) * sign(own.x);
  let code = clamp(floor(difference / scale + zero + 0.5), 0.0, highest);
  if (code < highest && 2.0 * difference >= (2.0 * (code - zero) + 1.0) * scale) {
    return u32(code) + 1u;
  }
  if (code > 0.0 && 2.0 * difference < (2.0 * (code - zero) - 1.0) * scale) {
    return u32(code) - 1u;
  }
  return u32(code);
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

// Levels from the smallest number to the largest. Of the two zeros, the positive one is kept.
fn range_levels(limits: Limits, steps: f32) -> u32 {
  let minimum = pack2x16float(vec2<f32>(0.0, select(limits.low, 0.0, limits.low == 0.0)));
  return minimum | quotient_bits(limits.high - limits.low, steps);
}

// Levels of a channel.
fn fit_channel(entry: Entry, head: u32, record_first: u32, encode_end: u32, channel: u32) -> u32 {
  return range_levels(channel_limits(channel), highest_code(channel));
}

fn is_promoted(channel: u32) -> bool {
  return ((atomicLoad(&mask[channel / 32u]) >> (channel % 32u)) & 1u) == 1u;
}

// The highest code of a channel.
fn highest_code(channel: u32) -> f32 {
  return f32((1u << select(BITS, 2u * BITS, is_promoted(channel))) - 1u);
}

// Finds the channels of largest range, of equal ones the lower.
fn promote_channels(lane: u32) {
  for (var channel = lane; channel < HEAD_DIM; channel += WORKGROUP) {
    let limits = channel_limits(channel);
    ranges[channel] = limits.high - limits.low;
  }
  workgroupBarrier();
  for (var channel = lane; channel < HEAD_DIM; channel += WORKGROUP) {
    let own = ranges[channel];
    var ahead = 0u;
    for (var other = 0u; other < HEAD_DIM; other += 1u) {
      let range = ranges[other];
      ahead += select(0u, 1u, range > own || (range == own && other < channel));
    }
    if (ahead < PROMOTED) {
      atomicOr(&mask[channel / 32u], 1u << (channel % 32u));
    }
  }
  workgroupBarrier();
  for (var channel = lane; channel < HEAD_DIM; channel += WORKGROUP) {
    if (is_promoted(channel)) {
      var before = countOneBits(atomicLoad(&mask[channel / 32u]) & ((1u << (channel % 32u)) - 1u));
      for (var word = 0u; word < channel / 32u; word += 1u) {
        before += countOneBits(atomicLoad(&mask[word]));
      }
      promoted[before] = channel;
    }
  }
}

// The code, of both planes, of a channel of the exact vector at word word.
fn code_of(word: u32, channel: u32) -> u32 {
  return level_code(exact_channel(word, channel), unpack2x16float(levels[channel]), 0.0, highest_code(channel));
}

// The first word of the exact vector of token token of the record.
fn token_word(entry: Entry, head: u32, record_first: u32, token: u32) -> u32 {
  return exact_word(entry.slot, SIDE, layer.sinks + record_first + token, head);
}

// Codes of the block that leaves the exact tier: for each channel a scale and a minimum, and twice the bits for those of largest
// range. Grid: (records, KV heads, entries).
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
  promote_channels(lane);
  for (var channel = lane; channel < HEAD_DIM; channel += WORKGROUP) {
    let own = fit_channel(entry, head, record_first, encode_end, channel);
    levels[channel] = own;
    records[record + MASK_WORDS + channel] = own;
  }
  for (var word = lane; word < MASK_WORDS; word += WORKGROUP) {
    records[record + word] = atomicLoad(&mask[word]);
  }
  workgroupBarrier();
  let low_at = record + MASK_WORDS + HEAD_DIM;
  for (var item = lane; item < LOW_WORDS; item += WORKGROUP) {
    let word = token_word(entry, head, record_first, item * WORD_CODES / HEAD_DIM);
    let first = item * WORD_CODES % HEAD_DIM;
    var bits = 0u;
    for (var i = 0u; i < WORD_CODES; i += 1u) {
      bits |= (code_of(word, first + i) & ((1u << BITS) - 1u)) << (i * BITS);
    }
    records[low_at + item] = bits;
  }
  for (var item = lane; item < HIGH_WORDS; item += WORKGROUP) {
    var bits = 0u;
    for (var i = 0u; i < WORD_CODES; i += 1u) {
      let at = item * WORD_CODES + i;
      let word = token_word(entry, head, record_first, at / PROMOTED);
      bits |= (code_of(word, promoted[at % PROMOTED]) >> BITS) << (i * BITS);
    }
    records[low_at + LOW_WORDS + item] = bits;
  }
}
`;
