// Generated from templates/table.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (2 bits: CQ-4c8b of the paper).

/** WGSL of `table_c4b8_d128`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 128u;
const WORKGROUP: u32 = 64u;
const CHANNELS: u32 = 4u; // channels per code
const CENTROIDS: u32 = 256u;
const CODES: u32 = 32u; // codes per token
const CODEBOOK_WORDS: u32 = 8320u; // per head
const LANE_ENTRIES: u32 = 4u; // entries of one invocation, of one group: their levels fill CHANNELS words

override IO_HALF: bool = false; // the host's tensors hold f16, not f32

// One sequence's share of a step; its first token is row first of the host's buffers.
struct Entry {
  slot: u32,
  start: u32, // tokens in the sequence before the step
  count: u32, // tokens the step adds
  first: u32,
  encode_from: u32, // first coded token the step encodes, counted behind the sinks
  exact_from: u32, // no token before this position, sinks apart, is held exactly
  reserved_0: u32,
  reserved_1: u32,
}

struct Step {
  entry_count: u32,
  max_count: u32, // most tokens of one entry
  splits: u32, // workgroups that share the tokens of one row
  score_stride: u32, // scores per row in the score buffer
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
}

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<uniform> layer: Layer;
@group(0) @binding(2) var<storage, read> queries: array<u32>;
@group(0) @binding(3) var<storage, read> codebooks: array<u32>;
@group(0) @binding(4) var<storage, read_write> table_written: array<f32>;

// Element index of the queries, in the host's element type.
fn query_at(index: u32) -> f32 {
  if (IO_HALF) {
    return unpack2x16float(queries[index >> 1u])[index & 1u];
  }
  return bitcast<f32>(queries[index]);
}

// The four levels in a word. They are signed on the way, because processors have no instruction for unsigned numbers.
fn levels_of(word: u32) -> vec4<f32> {
  return vec4<f32>(vec4<i32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u)));
}

// q.centroid, times the softmax scale, of every group and code of one query row.
// Grid: (entries of the table / LANE_ENTRIES / workgroup size, query heads, tokens of the step).
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) item: vec3<u32>) {
  let entry = item.x * LANE_ENTRIES;
  if (entry >= CODES * CENTROIDS) {
    return;
  }
  let query = item.z * layer.query_token_stride + item.y * layer.query_head_stride;
  let codebook = item.y / layer.group * CODEBOOK_WORDS;
  let first = entry / CENTROIDS * CHANNELS;
  var low = 0.0;
  var level_step = array<f32, CHANNELS>(); // what a level adds to the product
  for (var i = 0u; i < CHANNELS; i += 1u) {
    let grid = unpack2x16float(codebooks[codebook + first + i]);
    let q = layer.scale * query_at(query + first + i);
    low += q * grid.x;
    level_step[i] = q * (grid.y / 64.0);
  }
  var products = array<f32, LANE_ENTRIES>();
  for (var word = 0u; word < CHANNELS; word += 1u) {
    let levels = levels_of(codebooks[codebook + HEAD_DIM + item.x * CHANNELS + word]);
    for (var i = 0u; i < 4u; i += 1u) {
      let at = word * 4u + i;
      products[at / CHANNELS] += levels[i] * level_step[at % CHANNELS];
    }
  }
  let row = item.z * layer.query_heads + item.y;
  for (var i = 0u; i < LANE_ENTRIES; i += 1u) {
    table_written[row * CODES * CENTROIDS + entry + i] = low + products[i];
  }
}
`;
