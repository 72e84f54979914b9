// Generated from exact_tier/store.wgsl.hbs by @couplet/kv/generate. Do not edit: generate it again.

/** WGSL of `store_d48`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 48u;
const WORKGROUP: u32 = 64u;

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
@group(0) @binding(2) var<storage, read> keys: array<u32>;
@group(0) @binding(3) var<storage, read> values: array<u32>;
@group(0) @binding(4) var<storage, read_write> exact_written: array<u32>;
@group(0) @binding(5) var<storage, read_write> counters: array<atomic<u32>, 3>;

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

fn tensor_word(side: u32, word: u32) -> u32 {
  if (side == 0u) {
    return keys[word];
  }
  return values[word];
}

// Two numbers as f16 can hold them, in a floating-point format given by its sign bit, its infinity and what it has for the
// largest finite f16: what lies beyond that becomes the largest of its sign, and what is no number 0. Both are counted. Bits
// tell them apart, because compilers take it that neither infinities nor NaNs come up.
fn finite(channels: vec2<u32>, sign: u32, infinity: u32, largest: u32) -> vec2<u32> {
  let magnitudes = channels & vec2<u32>(sign - 1u);
  let nan = magnitudes > vec2<u32>(infinity);
  let beyond = (magnitudes > vec2<u32>(largest)) & !nan;
  if (any(beyond | nan)) {
    let counts = select(vec4<u32>(), vec4<u32>(1u), vec4<bool>(beyond, nan));
    atomicAdd(&counters[0], counts.x + counts.y);
    atomicAdd(&counters[1], counts.z + counts.w);
  }
  let signs = channels & vec2<u32>(sign);
  return select(signs | min(magnitudes, vec2<u32>(largest)), vec2<u32>(), nan);
}

// Puts a step's keys and values into the exact tier as f16, two channels to a word, all of them finite.
// Grid: (words of one token / workgroup size, most tokens of an entry, entries x 2 sides).
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) item: vec3<u32>) {
  let entry = step.entries[item.z / 2u];
  let side = item.z % 2u;
  if (item.y >= entry.count || item.x >= layer.kv_heads * (HEAD_DIM / 2u)) {
    return;
  }
  let head = item.x / (HEAD_DIM / 2u);
  let host_head = layer.first_head + head;
  let pair = item.x % (HEAD_DIM / 2u);
  let token = entry.first + item.y;
  var at = token * layer.key_token_stride + host_head * layer.key_head_stride + pair * 2u;
  if (side == 1u) {
    at = token * layer.value_token_stride + host_head * layer.value_head_stride + pair * 2u;
  }
  let to = exact_word(entry.slot, side, entry.start + item.y, head) + pair;
  if (IO_HALF) {
    let word = tensor_word(side, at >> 1u);
    let halves = finite(vec2<u32>(word & 0xffffu, word >> 16u), 0x8000u, 0x7c00u, 0x7bffu);
    exact_written[to] = halves.x | (halves.y << 16u);
  } else {
    let channels = vec2<u32>(tensor_word(side, at), tensor_word(side, at + 1u));
    let singles = finite(channels, 0x80000000u, 0x7f800000u, 0x477fe000u);
    exact_written[to] = pack2x16float(bitcast<vec2<f32>>(singles));
  }
}
`;
