// Generated from templates/schemes/decode.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (2.5 and 5 bits: for those whose errors cost most).

/** WGSL of `decode_c2b10_d80`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 80u;
const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
const WORKGROUP: u32 = 64u;
const PAGE_TOKENS: u32 = 64u;
const CODED_CHANNELS: u32 = 2u; // channels per code
const CODED_BITS: u32 = 10u; // bits per code
const CODED_MASK: u32 = 1023u;
const CODED_CENTROIDS: u32 = 1024u;
const CODED_CODES: u32 = 40u; // codes per token
const CODED_RUN_TOKENS: u32 = 2u; // tokens whose codes lie evenly apart: by
const CODED_TOKEN_WORDS: u32 = 0u; // so many words, or if these are none
const CODED_TOKEN_CODES: u32 = 40u; // by so many codes
const CODED_RECORD_TOKENS: u32 = 2u;
const CODED_RECORD_WORDS: u32 = 25u;
const CODED_CODEBOOK_WORDS: u32 = 20560u; // per head

override SIDE: u32 = 0u; // 0 decodes keys, 1 values
override IO_HALF: bool = false; // the host's tensors hold f16, not f32

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
@group(0) @binding(2) var<storage, read> coded_records: array<u32>;
@group(0) @binding(3) var<storage, read> codebooks: array<u32>;
@group(0) @binding(4) var<storage, read> pages: array<u32>;
@group(0) @binding(5) var<storage, read_write> vectors: array<u32>;

// First word of a head's records in page page of the sequence in slot, for records of record_tokens tokens and record_words words.
fn page_word(slot: u32, head: u32, page: u32, record_tokens: u32, record_words: u32) -> u32 {
  let physical = pages[layer.page_table + slot * layer.sequence_pages + page];
  return (physical * layer.kv_heads + head) * (PAGE_TOKENS / record_tokens) * record_words;
}

// Numbers as f16 holds them: the largest of their sign for what lies beyond. Written so that a NaN stays one.
fn bounded(numbers: vec4<f32>) -> vec4<f32> {
  return select(numbers, sign(numbers) * 65504.0, abs(numbers) > vec4<f32>(65504.0));
}

// Writes channels 4 chunk to 4 chunk + 3 of a head of the layer into the host's tensor, which lies as its keys or values do.
fn write_vector(token: u32, head: u32, chunk: u32, vector: vec4<f32>) {
  var at = token * layer.key_token_stride + head * layer.key_head_stride + chunk * 4u;
  if (SIDE == 1u) {
    at = token * layer.value_token_stride + head * layer.value_head_stride + chunk * 4u;
  }
  if (IO_HALF) {
    let halves = bounded(vector);
    vectors[at / 2u] = pack2x16float(halves.xy);
    vectors[at / 2u + 1u] = pack2x16float(halves.zw);
  } else {
    vectors[at] = bitcast<u32>(vector.x);
    vectors[at + 1u] = bitcast<u32>(vector.y);
    vectors[at + 2u] = bitcast<u32>(vector.z);
    vectors[at + 3u] = bitcast<u32>(vector.w);
  }
}

// What the levels of four channels stand for: low + level * step.
struct Grid {
  low: vec4<f32>,
  step: vec4<f32>,
}

// The four levels in a word. They are signed on the way, because processors have no instruction for unsigned numbers.
fn levels_of(word: u32) -> vec4<f32> {
  return vec4<f32>(vec4<i32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u)));
}

fn codebook_word(at: u32) -> u32 {
  return codebooks[at];
}

// Words 2 pair and the next.
fn codebook_pair_at(pair: u32) -> vec2<u32> {
  return vec2<u32>(codebooks[2u * pair], codebooks[2u * pair + 1u]);
}

// Words first + 2 pair and the next; first is even.
fn codebook_pair(first: u32, pair: u32) -> vec2<u32> {
  return codebook_pair_at(first / 2u + pair);
}

// The grids of channels 4 chunk to 4 chunk + 3.
fn coded_grid(codebook: u32, chunk: u32) -> Grid {
  let at = codebook + chunk * 4u;
  let first = codebook_pair(at, 0u);
  let second = codebook_pair(at, 1u);
  let grid_0 = unpack2x16float(first.x);
  let grid_1 = unpack2x16float(first.y);
  let grid_2 = unpack2x16float(second.x);
  let grid_3 = unpack2x16float(second.y);
  return Grid(
    vec4<f32>(grid_0.x, grid_1.x, grid_2.x, grid_3.x),
    vec4<f32>(grid_0.y, grid_1.y, grid_2.y, grid_3.y) / 64.0,
  );
}
// Code index of the record at record; a code may straddle two words.
fn coded_code(record: u32, index: u32) -> u32 {
  let bit = index * CODED_BITS;
  let word = record + (bit >> 5u);
  let shift = bit & 31u;
  var code = coded_records[word] >> shift;
  if (shift + CODED_BITS > 32u) {
    code |= coded_records[word + 1u] << (32u - shift);
  }
  return code & CODED_MASK;
}
// The levels of the centroid of group group, two centroids to a word.
fn coded_levels(codebook: u32, record: u32, token: u32, group: u32) -> vec2<f32> {
  let at = group * CODED_CENTROIDS + coded_code(record, token * CODED_CODES + group);
  return levels_of(codebook_word(codebook + HEAD_DIM + (at >> 1u)) >> ((at & 1u) * 16u)).xy;
}

// Channels 4 chunk to 4 chunk + 3 of token token of the record at record.
fn coded_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let levels = vec4<f32>(
    coded_levels(codebook, record, token, chunk * 2u),
    coded_levels(codebook, record, token, chunk * 2u + 1u),
  );
  return grid.low + levels * grid.step;
}

// Decodes count coded tokens from coded token start on into the host's tensor.
// Grid: (vec4s of one token / workgroup size, most tokens of an entry, entries).
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) item: vec3<u32>) {
  let entry = step.entries[item.z];
  if (item.y >= entry.count || item.x >= layer.kv_heads * CHUNKS) {
    return;
  }
  let head = item.x / CHUNKS;
  let token = entry.start + item.y;
  let page = page_word(entry.slot, head, token / PAGE_TOKENS, CODED_RECORD_TOKENS, CODED_RECORD_WORDS);
  let record = page + (token % PAGE_TOKENS) / CODED_RECORD_TOKENS * CODED_RECORD_WORDS;
  let model_head = layer.first_head + head;
  let codebook = select(layer.value_codebook, 0u, SIDE == 0u) + model_head * CODED_CODEBOOK_WORDS;
  let chunk = item.x % CHUNKS;
  let grid = coded_grid(codebook, chunk);
  let vector = coded_load4(grid, codebook, record, token % CODED_RECORD_TOKENS, chunk);
  write_vector(entry.first + item.y, model_head, chunk, vector);
}
`;
