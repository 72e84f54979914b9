// Generated from templates/schemes/decode.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (2 bits of the same, and 4 for what costs most).

/** WGSL of `decode_n8b8x2_d64`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 64u;
const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
const WORKGROUP: u32 = 64u;
const PAGE_TOKENS: u32 = 64u;
const CODED_CHANNELS: u32 = 8u; // channels per code
const CODED_BITS: u32 = 8u; // bits per code
const CODED_MASK: u32 = 255u;
const CODED_CENTROIDS: u32 = 256u;
const CODED_CODES: u32 = 16u; // codes per token
const CODED_RUN_TOKENS: u32 = 64u; // tokens whose codes lie evenly apart: by
const CODED_TOKEN_WORDS: u32 = 4u; // so many words, or if these are none
const CODED_TOKEN_CODES: u32 = 0u; // by so many codes
const CODED_RECORD_TOKENS: u32 = 64u;
const CODED_RECORD_WORDS: u32 = 272u;
const CODED_STAGES: u32 = 2u; // codes of a group, whose levels are added
const CODED_METADATA_WORDS: u32 = 16u; // of a record, before its codes
const CODED_GRID_WORDS: u32 = 2u; // of one channel
const CODED_CHANNEL_WORDS: u32 = 3u; // with the middle of its means
const CODED_SIZES: u32 = HEAD_DIM * CODED_CHANNEL_WORDS; // where they begin among a head's words
const CODED_GROUP_CENTROIDS: u32 = CODED_STAGES * CODED_CENTROIDS;
const CODED_CODEBOOK_WORDS: u32 = 204u; // per head

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
@group(0) @binding(3) var<storage, read> codebook_quads: array<vec4<u32>>;
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

const SIZES: u32 = 16u; // that a token's may be

// The first halves of four words, and the second ones.
fn halves_across(words: vec4<u32>) -> mat2x4<f32> {
  let x = unpack2x16float(words.x);
  let y = unpack2x16float(words.y);
  let z = unpack2x16float(words.z);
  let w = unpack2x16float(words.w);
  return mat2x4<f32>(vec4<f32>(x.x, y.x, z.x, w.x), vec4<f32>(x.y, y.y, z.y, w.y));
}

// The levels of four means, of which 7.5 would be their middles.
fn mean_numbers(word: u32) -> vec4<f32> {
  let halves = vec2<u32>(word, word >> 4u) & vec2<u32>(0x0f0fu);
  return vec4<f32>(vec4<i32>((halves.xyxy >> vec4<u32>(0u, 0u, 8u, 8u)) & vec4<u32>(255u)));
}

// What level level stands for, of the sizes at word sizes.
fn size_at(sizes: u32, level: u32) -> f32 {
  return unpack2x16float(codebook_word(sizes + level / 2u))[level % 2u];
}

// Grids of channels 4 chunk to 4 chunk + 3: what their lowest levels stand for, steps of levels and of means, middles of means.
fn coded_grids(codebook: u32, chunk: u32) -> mat4x4<f32> {
  let at = codebook + HEAD_DIM + chunk * 4u * CODED_GRID_WORDS;
  let first = codebook_quad(at, 0u);
  let second = codebook_quad(at, 1u);
  let lows = halves_across(vec4<u32>(first.xz, second.xz));
  let steps = halves_across(vec4<u32>(first.yw, second.yw));
  return mat4x4<f32>(
    lows[0] + lows[1],
    steps[0] / 64.0,
    steps[1] / 64.0,
    bitcast<vec4<f32>>(codebook_quad(codebook, chunk)),
  );
}

// What the levels of channels 4 chunk to 4 chunk + 3 stand for, before a token's size.
fn coded_grid(codebook: u32, chunk: u32) -> Grid {
  let grids = coded_grids(codebook, chunk);
  return Grid(grids[0], grids[1]);
}
// The same, with the means of the record at record in place of their middles.
fn coded_mean_grids(codebook: u32, record: u32, chunk: u32) -> mat4x4<f32> {
  var grids = coded_grids(codebook, chunk);
  let numbers = mean_numbers(coded_records[record + chunk / 2u] >> (chunk % 2u * 16u));
  grids[3] += (numbers - 7.5) * grids[2];
  return grids;
}

// Code index of the record at record; codes never straddle words at this width.
fn coded_code(record: u32, index: u32) -> u32 {
  let bit = index * CODED_BITS;
  return (coded_records[record + (bit >> 5u)] >> (bit & 31u)) & CODED_MASK;
}
// The levels of channels 4 chunk to 4 chunk + 3 of token token, whose record's codes begin at word codes.
fn coded_word(centroids: u32, codes: u32, token: u32, chunk: u32) -> u32 {
  let first = chunk / (CODED_CHANNELS / 4u) * CODED_STAGES;
  var word = 0u;
  for (var stage = first; stage < first + CODED_STAGES; stage += 1u) {
    let code = coded_code(codes, token * CODED_CODES + stage);
    word += codebook_word(centroids + (stage * CODED_CENTROIDS + code) * (CODED_CHANNELS / 4u) +
      chunk % (CODED_CHANNELS / 4u));
  }
  return word;
}
// Channels 4 chunk to 4 chunk + 3 of token token of the record at record.
fn coded_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let side_codebook = select(layer.value_codebook, 0u, SIDE == 0u);
  let centroids = side_codebook + codebook_word(codebook + CODED_SIZES + 8u);
  let levels = levels_of(coded_word(centroids, record + CODED_METADATA_WORDS, token, chunk));
  let level = (coded_records[record + (HEAD_DIM + token) / 8u] >> (token % 8u * 4u)) & (SIZES - 1u);
  let mean = coded_mean_grids(codebook, record, chunk)[3];
  return mean + size_at(codebook + CODED_SIZES, level) * (grid.low + levels * grid.step);
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
