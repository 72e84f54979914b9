// Generated from exact_tier/load.wgsl.hbs by @couplet/kv/generate. Do not edit: generate it again.

/** WGSL of `load_d48`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 48u;
const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
const WORKGROUP: u32 = 64u;

override SIDE: u32 = 0u; // 0 loads keys, 1 values
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
  slot_rows: u32, // vectors of the exact tier from one slot's to the next's; 0 where one tier serves all
  recent: u32, // 0 where queries see no token of the ring
  remap: f32, // what a span's range of scores is narrowed by; 0 where it is not
  reserved: u32,
}

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<uniform> layer: Layer;
@group(0) @binding(2) var<storage, read> exact: array<u32>;
@group(0) @binding(3) var<storage, read_write> vectors: array<u32>;

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
  let row = slot * layer.slot_rows + side * (layer.sinks + layer.ring) + exact_slot(position);
  return (row * layer.kv_heads + head) * (HEAD_DIM / 2u);
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

// Copies count tokens from position start on out of the exact tier into the host's tensor.
// Grid: (vec4s of one token / workgroup size, most tokens of an entry, entries).
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) item: vec3<u32>) {
  let entry = step.entries[item.z];
  if (item.y >= entry.count || item.x >= layer.kv_heads * CHUNKS) {
    return;
  }
  let head = item.x / CHUNKS;
  let chunk = item.x % CHUNKS;
  let at = exact_word(entry.slot, SIDE, entry.start + item.y, head) + chunk * 2u;
  let vector = vec4<f32>(unpack2x16float(exact[at]), unpack2x16float(exact[at + 1u]));
  write_vector(entry.first + item.y, layer.first_head + head, chunk, vector);
}
`;
