// Generated from attention/tables/table.wgsl.hbs by @couplet/kv/generate. Do not edit: generate it again.

/** WGSL of `table_c4b6_d48_table16`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 48u;
const WORKGROUP: u32 = 64u;
const ROWS: u32 = 4u; // query rows of one table: the components of one vec4
const CHANNELS: u32 = 4u; // channels per code
const CENTROIDS: u32 = 64u;
const CODES: u32 = 12u; // codes per token
const CODEBOOK_WORDS: u32 = 816u; // per head
const LANE_ENTRIES: u32 = 4u; // entries of one invocation, of one group
const SHARE: u32 = WORKGROUP * LANE_ENTRIES; // entries of a workgroup
const WORD_LEVELS: u32 = 4u; // levels of one centroid in a word
const STAGED: u32 = 16u; // channels they belong to

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
@group(0) @binding(2) var<storage, read> queries: array<u32>;
@group(0) @binding(3) var<storage, read> codebooks: array<u32>;
@group(0) @binding(4) var<storage, read_write> table16_written: array<vec2<u32>>;

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

// A workgroup serves ROWS query rows of one KV head: row = token * group + query head of the group.
struct Block {
  head: u32, // among those bound
  table: u32, // place of its lookup table among those of one KV head
  first_row: u32,
  rows: u32, // rows the entry has in all
  first_position: u32,
  last_position: u32,
}

fn blocks_per_entry() -> u32 {
  return (step.max_count * layer.group + ROWS - 1u) / ROWS;
}

fn block_of(entry: Entry, index: u32, workgroup: vec3<u32>) -> Block {
  let rows = entry.count * layer.group;
  let first_row = index * ROWS;
  let last_row = min(first_row + ROWS, rows) - 1u;
  return Block(
    workgroup.y,
    entry.first * layer.group / ROWS + workgroup.z / blocks_per_entry() + index,
    first_row,
    rows,
    entry.start + first_row / layer.group,
    entry.start + last_row / layer.group,
  );
}

// Row row of the block, in the order of the host's buffers: token by token, head by head.
fn global_row(entry: Entry, block: Block, row: u32) -> u32 {
  let at = block.first_row + row;
  return (entry.first + at / layer.group) * layer.query_heads +
    (layer.first_head + block.head) * layer.group + at % layer.group;
}

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

var<workgroup> origins: array<vec4<f32>, STAGED>; // what a channel adds to every entry of its group
var<workgroup> level_steps: array<vec4<f32>, STAGED>; // what a level adds

// Which of the lookup tables serves a block of query rows.
fn table_of(block: Block) -> u32 {
  return block.table * (layer.query_heads / layer.group) + layer.first_head + block.head;
}

// What a channel adds to every entry of its group: entries count from the middle of the grids, because f16 has few digits.
fn entry_origin(low: f32, level_step: f32) -> f32 {
  return -127.5 * level_step;
}

fn write_entry(at: u32, products: vec4<f32>) {
  let bounded = clamp(products, vec4<f32>(-65504.0), vec4<f32>(65504.0));
  table16_written[at] = vec2<u32>(pack2x16float(bounded.xy), pack2x16float(bounded.zw));
}

// q.centroid, times the softmax scale, of every group and code, for a block of query rows.
// Grid: (entries of the table / LANE_ENTRIES / workgroup size, KV heads, entries x row blocks).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z / blocks_per_entry()];
  let index = workgroup.z % blocks_per_entry();
  if (index * ROWS >= entry.count * layer.group) {
    return;
  }
  let block = block_of(entry, index, workgroup);
  let codebook = block.head * CODEBOOK_WORDS;
  let first_channel = workgroup.x * SHARE / CENTROIDS * CHANNELS;
  for (var i = lane; i < min(STAGED, HEAD_DIM - first_channel); i += WORKGROUP) {
    stage_channel(entry, block, codebook, first_channel + i, i);
  }
  workgroupBarrier();

  let first = (workgroup.x * WORKGROUP + lane) * LANE_ENTRIES;
  if (first >= CODES * CENTROIDS) {
    return;
  }
  let staged = first / CENTROIDS * CHANNELS - first_channel;
  var origin = vec4<f32>();
  var level_step = array<vec4<f32>, CHANNELS>();
  for (var i = 0u; i < CHANNELS; i += 1u) {
    origin += origins[staged + i];
    level_step[i] = level_steps[staged + i];
  }
  let table = table_of(block) * CODES * CENTROIDS;
  for (var item = first; item < first + LANE_ENTRIES; item += 1u) {
    var products = origin;
    for (var i = 0u; i < CHANNELS; i += WORD_LEVELS) {
      let at = item * CHANNELS + i;
      let levels = levels_of(codebooks[codebook + HEAD_DIM + at / 4u] >> (at % 4u * 8u));
      for (var j = 0u; j < WORD_LEVELS; j += 1u) {
        products += levels[j] * level_step[i + j];
      }
    }
    write_entry(table + item, products);
  }
}

fn stage_channel(entry: Entry, block: Block, codebook: u32, channel: u32, at: u32) {
  var query = vec4<f32>();
  for (var row = 0u; row < ROWS; row += 1u) {
    let row_at = min(block.first_row + row, block.rows - 1u);
    query[row] = query_at(
      (entry.first + row_at / layer.group) * layer.query_token_stride +
        (block.head * layer.group + row_at % layer.group) * layer.query_head_stride + channel,
    );
  }
  let q = layer.scale * query;
  let grid = unpack2x16float(codebooks[codebook + channel]);
  origins[at] = q * entry_origin(grid.x, grid.y / 64.0);
  level_steps[at] = q * (grid.y / 64.0);
}
`;
