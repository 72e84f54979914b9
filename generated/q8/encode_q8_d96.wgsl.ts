// Generated from templates/schemes/uniform/encode_levels.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (the levels of llama.cpp's q4_0 and q8_0: the baseline in use).

/** WGSL of `encode_q8_d96`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 96u;
const WORKGROUP: u32 = 64u;
const PAGE_TOKENS: u32 = 64u;
const BITS: u32 = 8u; // bits per code
const STEPS: f32 = 127.0; // scales in what a group spans
const HIGHEST: f32 = f32((1u << BITS) - 1u); // code
const ZERO: f32 = 128.0; // the code of the minimum, or of 0 where there is none
const RECORD_TOKENS: u32 = 1u;
const RECORD_WORDS: u32 = 26u;
const METADATA_WORDS: u32 = 2u; // in front of a record's codes
const TOKEN_WORDS: u32 = HEAD_DIM * BITS / 32u; // of a token's codes
const WORD_CODES: u32 = 32u / BITS;
const GROUP: u32 = 32u; // numbers that share a scale
const GROUPS: u32 = 3u; // of a record

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

var<workgroup> levels: array<u32, GROUPS>; // of each group: scale, and in the upper half the minimum, as binary16

// A group is GROUP consecutive channels of one token.
fn group_of(token: u32, channel: u32) -> u32 {
  return (token * HEAD_DIM + channel) / GROUP;
}

fn member_token(group: u32, member: u32) -> u32 {
  return group / (HEAD_DIM / GROUP);
}

fn member_channel(group: u32, member: u32) -> u32 {
  return group % (HEAD_DIM / GROUP) * GROUP + member;
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

// Levels as far on either side of 0 as the largest magnitude.
fn fit_group(low: f32, high: f32) -> u32 {
  return quotient_bits(max(-low, high), STEPS);
}

// Fits each group's levels to its numbers.
fn fit_groups(entry: Entry, head: u32, record_first: u32, encode_end: u32, lane: u32) {
  for (var group = lane; group < GROUPS; group += WORKGROUP) {
    var low = 3.0e38;
    var high = -3.0e38;
    for (var i = 0u; i < GROUP; i += 1u) {
      let number = member_of(entry, head, record_first, encode_end, group, i);
      low = min(low, number);
      high = max(high, number);
    }
    levels[group] = fit_group(low, high);
  }
  workgroupBarrier();
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

// Writes what the record says of its groups, two to a word, which may belong to two tokens. What is behind the last group is 0:
// another sequence may have left something there.
fn write_metadata(entry: Entry, record: u32, record_first: u32, encode_end: u32, lane: u32) {
  for (var word = lane; word < METADATA_WORDS; word += WORKGROUP) {
    let before = records[record + word];
    var bits = 0u;
    for (var group = 2u * word; group < min(2u * word + 2u, GROUPS); group += 1u) {
      let shift = (group & 1u) * 16u;
      let token = record_first + member_token(group, 0u);
      let scale = select(0u, levels[group], token < encode_end);
      bits |= select((before >> shift) & 0xffffu, scale, token >= entry.encode_from) << shift;
    }
    records[record + word] = bits;
  }
}

// Codes of the tokens that leave the exact tier: for each group of numbers a scale, and for each number the nearest level.
// A workgroup owns a whole record, so tokens coded before are kept without atomics. Grid: (records, KV heads, entries).
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

  fit_groups(entry, head, record_first, encode_end, lane);
  write_metadata(entry, record, record_first, encode_end, lane);
  for (var item = lane; item < RECORD_TOKENS * TOKEN_WORDS; item += WORKGROUP) {
    let token = record_first + item / TOKEN_WORDS;
    if (token >= entry.encode_from) {
      var bits = 0u;
      let word = exact_word(entry.slot, SIDE, layer.sinks + min(token, encode_end - 1u), head);
      let first = item % TOKEN_WORDS * WORD_CODES;
      for (var i = 0u; i < select(0u, WORD_CODES, token < encode_end); i += 1u) {
        let own = unpack2x16float(levels[group_of(token - record_first, first + i)]);
        bits |= level_code(exact_channel(word, first + i), own, ZERO, HIGHEST) << (i * BITS);
      }
      records[record + METADATA_WORDS + item] = bits;
    }
  }
}
`;
