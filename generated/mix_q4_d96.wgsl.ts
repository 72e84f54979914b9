// Generated from templates/mix.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (the levels of llama.cpp's q4_0 and q8_0: the baseline in use).

/** WGSL of `mix_q4_d96`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 96u;
const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
const WORKGROUP: u32 = 64u;
const PAGE_TOKENS: u32 = 64u; // as many as lanes, so that a lane holds the same token of each page
const SPAN: u32 = 2u; // pages of a tile: tokens a lane scores at once, for each query it loads
const TILE: u32 = SPAN * PAGE_TOKENS; // tokens scored at once
const MAX_ROWS: u32 = 8u;
const HIDDEN: f32 = -3.0e38; // the score of a token that a row does not see

override SOFTCAP: bool = false; // scores are capped
override ROWS: u32 = MAX_ROWS; // query rows of one workgroup: a power of two
const SLICES: u32 = WORKGROUP / CHUNKS; // tokens mixed at once
const SUMMED_ROWS: u32 = 4u; // rows summed over the lanes at once
const VALUE_BITS: u32 = 4u; // bits per code
const VALUE_RECORD_TOKENS: u32 = 2u;
const VALUE_RECORD_WORDS: u32 = 27u;
const VALUE_METADATA_WORDS: u32 = 3u; // in front of a record's codes
const VALUE_ZERO: f32 = 8.0; // the code of 0
const VALUE_CODEBOOK_WORDS: u32 = 0u; // per head

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
@group(0) @binding(2) var<storage, read> row_scores: array<f32>;
@group(0) @binding(3) var<storage, read> value_records: array<u32>;
@group(0) @binding(4) var<storage, read> exact: array<u32>;
@group(0) @binding(5) var<storage, read> pages: array<u32>;
@group(0) @binding(6) var<storage, read_write> partials_written: array<vec4<f32>>;

var<workgroup> weights: array<f32, ROWS * TILE>;
var<workgroup> tops: array<f32, WORKGROUP>;
var<workgroup> row_tops: array<f32, ROWS>;
var<workgroup> slices: array<vec4<f32>, SUMMED_ROWS * WORKGROUP>;
var<private> row_max: array<f32, MAX_ROWS>;
var<private> row_sum: array<f32, MAX_ROWS>;
var<private> mixed: array<vec4<f32>, MAX_ROWS>;

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
  let row = (slot * 2u + side) * (layer.sinks + layer.ring) + exact_slot(position);
  return (row * layer.kv_heads + head) * (HEAD_DIM / 2u);
}

// First word of a head's records in page page of the sequence in slot, for records of record_tokens tokens and record_words words.
fn page_word(slot: u32, head: u32, page: u32, record_tokens: u32, record_words: u32) -> u32 {
  let physical = pages[layer.page_table + slot * layer.sequence_pages + page];
  return (physical * layer.kv_heads + head) * (PAGE_TOKENS / record_tokens) * record_words;
}

// The tokens a block of query rows sees, cut into tiles of TILE consecutive tokens: coded tiles (each is SPAN pages), then sinks, then the ring.
struct Tiles {
  coded_first: u32, // index of the first coded tile that any row sees
  coded: u32, // number of coded tiles from there
  sinks: u32, // number of tiles of sinks
  ring: u32, // number of tiles of recent tokens
  coded_end: u32, // one past the last coded position
  sinks_end: u32,
  ring_first: u32, // first position in the ring's tiles
  ring_end: u32,
}

struct Tile {
  coded: bool,
  ring: bool,
  first: u32, // position of its first token
  end: u32, // one past the position of its last token
}

// The oldest position that the query at position may see.
fn oldest_seen(position: u32) -> u32 {
  return position + 1u - min(layer.sliding_window, position + 1u);
}

fn tiles_between(entry: Entry, first_position: u32, last_position: u32) -> Tiles {
  var tiles: Tiles;
  let next = last_position + 1u;
  let seen = oldest_seen(first_position);
  tiles.coded_end = layer.sinks + coded_visible(entry, last_position);
  tiles.coded_first = (max(seen, layer.sinks) - layer.sinks) / TILE;
  tiles.coded = (tiles.coded_end - layer.sinks + TILE - 1u) / TILE;
  tiles.coded -= min(tiles.coded, tiles.coded_first);
  tiles.sinks_end = select(min(layer.sinks, next), 0u, seen >= layer.sinks);
  tiles.sinks = (tiles.sinks_end + TILE - 1u) / TILE;
  tiles.ring_first = max(layer.sinks + coded_visible(entry, first_position), seen);
  tiles.ring_end = select(next, 0u, layer.window + layer.block == 1u);
  tiles.ring = (tiles.ring_end - min(tiles.ring_first, tiles.ring_end) + TILE - 1u) / TILE;
  return tiles;
}

fn tile_at(tiles: Tiles, index: u32) -> Tile {
  if (index < tiles.coded) {
    let first = layer.sinks + (tiles.coded_first + index) * TILE;
    return Tile(true, false, first, min(first + TILE, tiles.coded_end));
  }
  if (index < tiles.coded + tiles.sinks) {
    let first = (index - tiles.coded) * TILE;
    return Tile(false, false, first, min(first + TILE, tiles.sinks_end));
  }
  let first = tiles.ring_first + (index - tiles.coded - tiles.sinks) * TILE;
  return Tile(false, true, first, min(first + TILE, tiles.ring_end));
}

// The positions of the tile that the query at position sees: from x up to but not including y.
fn visible(entry: Entry, tile: Tile, position: u32) -> vec2<u32> {
  let coded_end = layer.sinks + coded_visible(entry, position);
  let end = select(position + 1u, coded_end, tile.coded);
  let oldest = max(select(0u, coded_end, tile.ring), oldest_seen(position));
  return vec2<u32>(oldest, min(end, tile.end));
}

// A workgroup serves ROWS query rows of one KV head: row = token * group + query head of the group.
struct Block {
  head: u32, // among those bound
  first_row: u32,
  rows: u32, // rows the entry has in all
  first_position: u32,
  last_position: u32,
}

fn blocks_per_entry() -> u32 {
  return (step.max_count * layer.group + ROWS - 1u) / ROWS;
}

fn block_of(entry: Entry, index: u32, head: u32) -> Block {
  let rows = entry.count * layer.group;
  let first_row = index * ROWS;
  let last_row = min(first_row + ROWS, rows) - 1u;
  return Block(
    head,
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

fn exact_load4(word: u32, chunk: u32) -> vec4<f32> {
  let at = word + chunk * 2u;
  return vec4<f32>(unpack2x16float(exact[at]), unpack2x16float(exact[at + 1u]));
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

// The codes of channels 4 chunk to 4 chunk + 3 of token token of the record at record, which lie in one word. They are signed
// on the way, because processors have no instruction for unsigned numbers.
fn value_codes4(record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let bit = (token * CHUNKS + chunk) * 4u * VALUE_BITS;
  let word = value_records[record + VALUE_METADATA_WORDS + (bit >> 5u)] >> (bit & 31u);
  let places = vec4<u32>(0u, 1u, 2u, 3u) * VALUE_BITS;
  return vec4<f32>(vec4<i32>((vec4<u32>(word) >> places) & vec4<u32>((1u << VALUE_BITS) - 1u)));
}
// Nothing is coded by levels.
fn value_grid(codebook: u32, chunk: u32) -> Grid {
  return Grid();
}

// Channels 4 chunk to 4 chunk + 3 of token token of the record at record: a scale for 32 channels of the token.
fn value_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let group = token * (CHUNKS / 8u) + chunk / 8u;
  let scale = unpack2x16float(value_records[record + (group >> 1u)])[group & 1u];
  return scale * (value_codes4(record, token, chunk) - VALUE_ZERO);
}

// Online softmax (FlashAttention, arXiv 2205.14135 §3.1): weights turn from scores into exp(score - row_max), and what was summed before is rescaled.
fn soften_tile(lane: u32) {
  let share = WORKGROUP / ROWS;
  let own = lane / share * TILE;
  var highest = HIDDEN;
  for (var token = lane % share; token < TILE; token += share) {
    highest = max(highest, weights[own + token]);
  }
  tops[lane] = highest;
  workgroupBarrier();
  let first = lane % share == 0u;
  for (var part = 1u; part < select(1u, share, first); part += 1u) {
    highest = max(highest, tops[lane + part]);
  }
  if (first) {
    row_tops[lane / share] = highest;
  }
  workgroupBarrier();
  for (var row = 0u; row < ROWS; row += 1u) {
    let next = max(row_max[row], row_tops[row]);
    let rescale = exp(row_max[row] - next);
    row_max[row] = next;
    row_sum[row] *= rescale;
    mixed[row] *= rescale;
    for (var token = lane; token < TILE; token += WORKGROUP) {
      let score = weights[row * TILE + token];
      let weight = select(exp(score - next), 0.0, score <= HIDDEN);
      weights[row * TILE + token] = weight;
      row_sum[row] += weight;
    }
  }
  workgroupBarrier();
}

// Adds the lane's share of the tile's values: chunk lane % CHUNKS of every SLICES-th token. Only one of the two loops runs.
fn mix_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {
  let chunk = lane % CHUNKS;
  let slice = lane / CHUNKS;
  let count = select(0u, tile.end - tile.first, slice < SLICES);
  let coded_count = select(0u, count, tile.coded);
  let exact_count = select(count, 0u, tile.coded);
  let codebook = layer.value_codebook + (layer.first_head + block.head) * VALUE_CODEBOOK_WORDS;
  let grid = value_grid(codebook, chunk);
  let first_page = (tile.first - min(layer.sinks, tile.first)) / PAGE_TOKENS;
  for (var first = 0u; first < coded_count; first += PAGE_TOKENS) {
    let page = first_page + first / PAGE_TOKENS;
    let word = page_word(entry.slot, block.head, page, VALUE_RECORD_TOKENS, VALUE_RECORD_WORDS);
    let end = min(coded_count - first, PAGE_TOKENS);
    for (var token = slice; token < end; token += SLICES) {
      let record = word + token / VALUE_RECORD_TOKENS * VALUE_RECORD_WORDS;
      let value = value_load4(grid, codebook, record, token % VALUE_RECORD_TOKENS, chunk);
      for (var row = 0u; row < ROWS; row += 1u) {
        mixed[row] += weights[row * TILE + first + token] * value;
      }
    }
  }
  for (var token = slice; token < exact_count; token += SLICES) {
    let exact_at = exact_word(entry.slot, 1u, tile.first + token, block.head);
    let value = exact_load4(exact_at, chunk);
    for (var row = 0u; row < ROWS; row += 1u) {
      mixed[row] += weights[row * TILE + token] * value;
    }
  }
}

// Sums over the lanes and writes one partial result a row: CHUNKS vectors, then (max, sum, 0, 0). Rows go SUMMED_ROWS at a
// time, because barriers cost more than memory.
fn write_partials(entry: Entry, block: Block, split: u32, lane: u32) {
  let rows = min(ROWS, block.rows - block.first_row);
  workgroupBarrier();
  for (var row = 0u; row < ROWS; row += 1u) {
    weights[row * TILE + lane] = row_sum[row];
    row_tops[row] = row_max[row];
  }
  for (var first = 0u; first < ROWS; first += SUMMED_ROWS) {
    for (var row = first; row < min(first + SUMMED_ROWS, ROWS); row += 1u) {
      slices[(row - first) * WORKGROUP + lane] = mixed[row];
    }
    workgroupBarrier();
    let end = min(first + SUMMED_ROWS, rows);
    for (var item = first * CHUNKS + lane; item < end * CHUNKS; item += WORKGROUP) {
      let row = item / CHUNKS;
      let chunk = item % CHUNKS;
      var total = slices[(row - first) * WORKGROUP + chunk];
      for (var slice = 1u; slice < SLICES; slice += 1u) {
        total += slices[(row - first) * WORKGROUP + slice * CHUNKS + chunk];
      }
      partials_written[partial_of(entry, block, row, split) + chunk] = total;
    }
    if (first + SUMMED_ROWS < ROWS) {
      workgroupBarrier();
    }
  }
  var sum = 0.0;
  for (var other = 0u; other < select(0u, WORKGROUP, lane < rows); other += 1u) {
    sum += weights[lane * TILE + other];
  }
  if (lane < rows) {
    partials_written[partial_of(entry, block, lane, split) + CHUNKS] =
      vec4<f32>(row_tops[lane], sum, 0.0, 0.0);
  }
}

fn partial_of(entry: Entry, block: Block, row: u32, split: u32) -> u32 {
  return (global_row(entry, block, row) * step.splits + split) * (CHUNKS + 1u);
}

// Grid: (splits, KV heads, entries x row blocks), as the score kernel's.
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
  let block = block_of(entry, index, workgroup.y);
  let tiles = tiles_between(entry, block.first_position, block.last_position);
  let total = tiles.coded + tiles.sinks + tiles.ring;
  let share = (total + step.splits - 1u) / step.splits;
  let end = min((workgroup.x + 1u) * share, total);
  for (var row = 0u; row < ROWS; row += 1u) {
    row_max[row] = HIDDEN;
    row_sum[row] = 0.0;
    mixed[row] = vec4<f32>();
  }
  for (var at = workgroup.x * share; at < end; at += 1u) {
    let tile = tile_at(tiles, at);
    workgroupBarrier();
    for (var row = 0u; row < ROWS; row += 1u) {
      let stored = min(row, block.rows - 1u - block.first_row);
      let first = global_row(entry, block, stored) * step.score_stride + at * TILE;
      for (var token = lane; token < TILE; token += WORKGROUP) {
        weights[row * TILE + token] = row_scores[first + token];
      }
    }
    workgroupBarrier();
    soften_tile(lane);
    mix_tile(entry, block, tile, lane);
  }
  write_partials(entry, block, workgroup.x, lane);
}
`;
