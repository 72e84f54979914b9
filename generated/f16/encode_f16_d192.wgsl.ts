// Generated from templates/schemes/half/encode_half.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (keys of MiMo V2, and of DeepSeek's heads, whose values have 128 channels).

/** WGSL of `encode_f16_d192`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 192u;
const WORKGROUP: u32 = 64u;
const PAGE_TOKENS: u32 = 64u;
const RECORD_TOKENS: u32 = 1u;
const RECORD_WORDS: u32 = 96u;

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

// Copies the tokens that leave the exact tier into records, which hold f16 as the tier does. Grid: (tokens, KV heads, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z];
  let head = workgroup.y;
  let token = entry.encode_from + workgroup.x;
  if (token >= coded_visible(entry, entry.start + entry.count - 1u)) {
    return;
  }
  let exact_at = exact_word(entry.slot, SIDE, layer.sinks + token, head);
  let to = page_word(entry.slot, head, token / PAGE_TOKENS, RECORD_TOKENS, RECORD_WORDS) +
    (token % PAGE_TOKENS) * RECORD_WORDS;
  for (var word = lane; word < RECORD_WORDS; word += WORKGROUP) {
    records[to + word] = exact[exact_at + word];
  }
}
`;
