// Generated from templates/schemes/span/encode_span.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (images and videos, whose tokens share the levels of a channel, after CalibQuant).

/** WGSL of `encode_sc1_d128`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 128u;
const WORKGROUP: u32 = 64u;
const PAGE_TOKENS: u32 = 64u;
const BITS: u32 = 1u; // bits per code
const HIGHEST: f32 = 1.0; // code
const RECORD_TOKENS: u32 = 64u;
const RECORD_WORDS: u32 = 256u;
const TOKEN_WORDS: u32 = HEAD_DIM * BITS / 32u; // of a token's codes
const WORD_CODES: u32 = 32u / BITS;

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
@group(0) @binding(4) var<storage, read> levels: array<u32>;
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

// Codes of a span's tokens: for each number the nearest level of its channel. A record is a page. Behind the last token it is
// zero. Grid: (records, KV heads, 1).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z];
  let head = workgroup.y;
  let record_first = workgroup.x * RECORD_TOKENS;
  if (record_first >= entry.count) {
    return;
  }
  let record = page_word(entry.slot, head, workgroup.x, RECORD_TOKENS, RECORD_WORDS);
  let own = ((entry.slot * 2u + SIDE) * layer.kv_heads + head) * HEAD_DIM;
  for (var item = lane; item < RECORD_TOKENS * TOKEN_WORDS; item += WORKGROUP) {
    let token = record_first + item / TOKEN_WORDS;
    let word = exact_word(entry.slot, SIDE, min(token, entry.count - 1u), head);
    let first = item % TOKEN_WORDS * WORD_CODES;
    var bits = 0u;
    for (var i = 0u; i < select(0u, WORD_CODES, token < entry.count); i += 1u) {
      let channel = first + i;
      let number = unpack2x16float(exact[word + (channel >> 1u)])[channel & 1u];
      bits |= level_code(number, unpack2x16float(levels[own + channel]), 0.0, HIGHEST) << (i * BITS);
    }
    records[record + item] = bits;
  }
}
`;
