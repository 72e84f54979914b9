// Generated from templates/attention/score.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (images and videos, whose tokens share the levels of a channel, after CalibQuant).

/** WGSL of `score_sc1_d128_plain`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 128u;
const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
const WORKGROUP: u32 = 64u;
const PAGE_TOKENS: u32 = 64u; // as many as lanes, so that a lane holds the same token of each page
const ROWS: u32 = 4u; // query rows of one workgroup: the components of one vec4
const LANE_CHUNKS: u32 = 4u; // chunks of a lane that shares a vector with others: columns of a matrix
const CHUNK_LANES: u32 = CHUNKS / LANE_CHUNKS;
const ROW_LANES: u32 = ROWS * CHUNK_LANES; // lanes that share all rows' vectors, the first CHUNK_LANES the first row's
const HIDDEN: f32 = -2.0e38; // the score of a token that a row does not see
const NEAR: u32 = 128u; // distances the rotary table has one by one
const EXACT_SPAN: u32 = 2u; // tokens of an exact tile that a lane scores
const EXACT_TILE: u32 = EXACT_SPAN * PAGE_TOKENS;
const MAX_SPAN: u32 = 8u;

override SOFTCAP: bool = false; // scores are capped
override SPAN: u32 = MAX_SPAN; // pages of a coded tile: tokens a lane scores at once, for each query it loads
override TILE: u32 = SPAN * PAGE_TOKENS;
override IO_HALF: bool = false; // the host's tensors hold f16, not f32
const KEY_BITS: u32 = 1u; // bits per code
const KEY_RECORD_TOKENS: u32 = 64u;
const KEY_RECORD_WORDS: u32 = 256u;
const KEY_METADATA_WORDS: u32 = 0u; // in front of a record's codes
const KEY_CODEBOOK_WORDS: u32 = 0u; // per head
// Keys are gathered as they were coded.

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
@group(0) @binding(2) var<storage, read> queries: array<u32>;
@group(0) @binding(3) var<storage, read> key_records: array<u32>;
@group(0) @binding(4) var<storage, read> levels: array<u32>;
@group(0) @binding(5) var<storage, read> exact_quads: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> pages: array<u32>;
@group(0) @binding(7) var<storage, read_write> row_scores_written: array<f32>;

alias Chunk = vec4<f32>; // what products of queries and keys are taken in
alias Rows = mat4x4<f32>;

// Adds the products of four channels of a key and all rows: a multiply-add each, where key * rows would add once more.
fn add_products(sum: vec4<f32>, key: vec4<f32>, rows: Rows) -> vec4<f32> {
  let channels = transpose(rows);
  return sum + channels[0] * key.x + channels[1] * key.y + channels[2] * key.z + channels[3] * key.w;
}

var<workgroup> query_tile: array<Chunk, ROWS * CHUNKS>;
var<private> scores: array<vec4<f32>, MAX_SPAN>;

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

// The tokens a block of query rows sees, cut into tiles of consecutive tokens: coded tiles (each is SPAN pages), then sinks,
// then the ring, whose tiles are smaller, because there are few exact tokens as a rule.
struct Tiles {
  coded_first: u32, // first token of the first coded tile, counted from behind the sinks
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
  let coded_tokens = tiles.coded_end - layer.sinks;
  // What lies behind a sliding window is given up in multiples of NEAR tokens.
  tiles.coded_first = min((max(seen, layer.sinks) - layer.sinks) / NEAR * NEAR, coded_tokens);
  tiles.coded = (coded_tokens - tiles.coded_first + TILE - 1u) / TILE;
  tiles.sinks_end = select(min(layer.sinks, next), 0u, seen >= layer.sinks);
  tiles.sinks = (tiles.sinks_end + EXACT_TILE - 1u) / EXACT_TILE;
  tiles.ring_first = max(layer.sinks + coded_visible(entry, first_position), seen);
  tiles.ring_end = select(next, 0u, layer.recent == 0u);
  tiles.ring = (tiles.ring_end - min(tiles.ring_first, tiles.ring_end) + EXACT_TILE - 1u) / EXACT_TILE;
  return tiles;
}

fn tile_at(tiles: Tiles, index: u32) -> Tile {
  if (index < tiles.coded) {
    let first = layer.sinks + tiles.coded_first + index * TILE;
    return Tile(true, false, first, min(first + TILE, tiles.coded_end));
  }
  if (index < tiles.coded + tiles.sinks) {
    let first = (index - tiles.coded) * EXACT_TILE;
    return Tile(false, false, first, min(first + EXACT_TILE, tiles.sinks_end));
  }
  let first = tiles.ring_first + (index - tiles.coded - tiles.sinks) * EXACT_TILE;
  return Tile(false, true, first, min(first + EXACT_TILE, tiles.ring_end));
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

// Eight numbers in f16, four a column.
fn halves_of(quad: vec4<u32>) -> mat2x4<f32> {
  return mat2x4<f32>(
    vec4<f32>(unpack2x16float(quad.x), unpack2x16float(quad.y)),
    vec4<f32>(unpack2x16float(quad.z), unpack2x16float(quad.w)),
  );
}

// Chunks chunk and chunk + 1 of the exact vector at word word; chunk is even.
fn exact_load8(word: u32, chunk: u32) -> mat2x4<f32> {
  return halves_of(exact_quads[(word >> 2u) + (chunk >> 1u)]);
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

// First word of the levels of a head of the span in slot; side 0 has those of keys, side 1 of values. Spans are in one part.
fn levels_word(slot: u32, side: u32, head: u32) -> u32 {
  return ((slot * 2u + side) * layer.kv_heads + head) * HEAD_DIM;
}

// What the codes of four channels stand for, from their levels, the first at word at: a scale, and in the upper half a minimum.
fn levels_at(at: u32, stride: u32) -> Grid {
  let x = unpack2x16float(levels[at]);
  let y = unpack2x16float(levels[at + stride]);
  let z = unpack2x16float(levels[at + 2u * stride]);
  let w = unpack2x16float(levels[at + 3u * stride]);
  return Grid(vec4<f32>(x.y, y.y, z.y, w.y), vec4<f32>(x.x, y.x, z.x, w.x));
}

// The same of channels 4 chunk to 4 chunk + 3, from a head's levels at word.
fn levels_grid(word: u32, chunk: u32) -> Grid {
  return levels_at(word + 4u * chunk, 1u);
}

// The codes of channels 4 chunk to 4 chunk + 3 of token token of the record at record, which lie in one word. They are signed
// on the way, because processors have no instruction for unsigned numbers.
fn key_codes4(record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let bit = (token * CHUNKS + chunk) * 4u * KEY_BITS;
  let word = key_records[record + KEY_METADATA_WORDS + (bit >> 5u)] >> (bit & 31u);
  let places = vec4<u32>(0u, 1u, 2u, 3u) * KEY_BITS;
  return vec4<f32>(vec4<i32>((vec4<u32>(word) >> places) & vec4<u32>((1u << KEY_BITS) - 1u)));
}

// The codes of channels 4 chunk to 4 chunk + 3 of token token of the record at record. The span's levels are applied elsewhere:
// to queries before, and to sums of values after.
fn key_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  return key_codes4(record, token, chunk);
}

// Channels 4 chunk to 4 chunk + 7 of token token of the record at record, a chunk a column.
fn key_chunks(codebook: u32, record: u32, token: u32, chunk: u32) -> mat2x4<f32> {
  return mat2x4<f32>(
    key_load4(Grid(), codebook, record, token, chunk + 0u),
    key_load4(Grid(), codebook, record, token, chunk + 1u),
  );
}

// Element index of the queries, in the host's element type.
fn query_at(index: u32) -> f32 {
  if (IO_HALF) {
    return unpack2x16float(queries[index >> 1u])[index & 1u];
  }
  return bitcast<f32>(queries[index]);
}
// Channels 4 chunk to 4 chunk + 3 of a query row, times the softmax scale.
fn query_load4(entry: Entry, head: u32, row: u32, channel: u32, stride: u32) -> vec4<f32> {
  let token = entry.first + row / layer.group;
  let query_head = (layer.first_head + head) * layer.group + row % layer.group;
  let at = token * layer.query_token_stride + query_head * layer.query_head_stride + channel;
  return layer.scale *
    vec4<f32>(
      query_at(at),
      query_at(at + stride),
      query_at(at + 2u * stride),
      query_at(at + 3u * stride),
    );
}

// Channels 4 chunk to 4 chunk + 3 of all rows, a column each.
fn query_rows(chunk: u32) -> Rows {
  return Rows(
    query_tile[chunk],
    query_tile[CHUNKS + chunk],
    query_tile[2u * CHUNKS + chunk],
    query_tile[3u * CHUNKS + chunk],
  );
}

// Where one token's key lies: in the exact tier, or coded.
struct KeyAt {
  word: u32, // the first of the exact vector, or of the record
  token: u32, // of the record
}

// The lane's tokens of the tile: one in each of its SPAN pages. Past the tile's end the last token stands in.
var<private> key_at: array<KeyAt, MAX_SPAN>;

fn find_keys(entry: Entry, block: Block, tile: Tile, lane: u32) {
  for (var i = 0u; i < SPAN; i += 1u) {
    let position = min(tile.first + i * PAGE_TOKENS + lane, tile.end - 1u);
    if (tile.coded) {
      let token = position - layer.sinks;
      let page = token / PAGE_TOKENS;
      let word = page_word(entry.slot, block.head, page, KEY_RECORD_TOKENS, KEY_RECORD_WORDS);
      let record = (token % PAGE_TOKENS) / KEY_RECORD_TOKENS;
      key_at[i] = KeyAt(word + record * KEY_RECORD_WORDS, token % KEY_RECORD_TOKENS);
    } else {
      key_at[i] = KeyAt(exact_word(entry.slot, 0u, position, block.head), 0u);
    }
  }
}

// How often lanes go through a loop over one of the two sources: never through that of the other. All lanes as often, so that
// what depends on the turn alone is computed once for all of them.
fn trips(tile: Tile, coded: bool, count: u32) -> u32 {
  return select(0u, count, coded == tile.coded);
}

// Of the eight channels of two chunks, the first of which is even.
struct Grids {
  first: Grid,
  second: Grid,
}

fn exact_grids(block: Block, chunk: u32) -> Grids {
  return Grids();
}

fn exact_key8(grids: Grids, block: Block, at: KeyAt, chunk: u32) -> mat2x4<f32> {
  return exact_load8(at.word, chunk);
}

fn coded_grids(block: Block, chunk: u32) -> Grids {
  return Grids();
}

fn coded_key8(grids: Grids, block: Block, at: KeyAt, chunk: u32) -> mat2x4<f32> {
  return key_chunks(0u, at.word, at.token, chunk);
}

var<workgroup> biases: array<f32, ROWS * CHUNKS>; // products of queries with the minima of four channels
var<private> row_biases: vec4<f32>;

fn prepare_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {}

// A score is the sum of query * minimum, the same for all tokens, and of query * scale * code: the span's levels are multiplied
// with the queries once.
fn prepare_block(entry: Entry, block: Block, lane: u32) {
  let word = levels_word(entry.slot, 0u, block.head);
  for (var item = lane; item < ROWS * CHUNKS; item += WORKGROUP) {
    let row = min(block.first_row + item / CHUNKS, block.rows - 1u);
    let query = query_load4(entry, block.head, row, (item % CHUNKS) * 4u, 1u);
    let grid = levels_grid(word, item % CHUNKS);
    query_tile[item] = Chunk(query * grid.step);
    biases[item] = dot(query, grid.low);
  }
  workgroupBarrier();
  for (var chunk = 0u; chunk < CHUNKS; chunk += 1u) {
    row_biases += vec4<f32>(
      biases[chunk],
      biases[CHUNKS + chunk],
      biases[2u * CHUNKS + chunk],
      biases[3u * CHUNKS + chunk],
    );
  }
}

// Scores of the lane's tokens for every row. A span has no exact tokens.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let coded_chunks = trips(tile, true, CHUNKS);
  for (var chunk = 0u; chunk < coded_chunks; chunk += 2u) {
    let grids = coded_grids(block, chunk);
    let queries_0 = query_rows(chunk);
    let queries_1 = query_rows(chunk + 1u);
    if (0u < SPAN) {
      let key = coded_key8(grids, block, key_at[0], chunk);
      scores[0] = add_products(add_products(scores[0], key[0], queries_0), key[1], queries_1);
    }
    if (1u < SPAN) {
      let key = coded_key8(grids, block, key_at[1], chunk);
      scores[1] = add_products(add_products(scores[1], key[0], queries_0), key[1], queries_1);
    }
    if (2u < SPAN) {
      let key = coded_key8(grids, block, key_at[2], chunk);
      scores[2] = add_products(add_products(scores[2], key[0], queries_0), key[1], queries_1);
    }
    if (3u < SPAN) {
      let key = coded_key8(grids, block, key_at[3], chunk);
      scores[3] = add_products(add_products(scores[3], key[0], queries_0), key[1], queries_1);
    }
    if (4u < SPAN) {
      let key = coded_key8(grids, block, key_at[4], chunk);
      scores[4] = add_products(add_products(scores[4], key[0], queries_0), key[1], queries_1);
    }
    if (5u < SPAN) {
      let key = coded_key8(grids, block, key_at[5], chunk);
      scores[5] = add_products(add_products(scores[5], key[0], queries_0), key[1], queries_1);
    }
    if (6u < SPAN) {
      let key = coded_key8(grids, block, key_at[6], chunk);
      scores[6] = add_products(add_products(scores[6], key[0], queries_0), key[1], queries_1);
    }
    if (7u < SPAN) {
      let key = coded_key8(grids, block, key_at[7], chunk);
      scores[7] = add_products(add_products(scores[7], key[0], queries_0), key[1], queries_1);
    }
  }
  for (var i = 0u; i < SPAN; i += 1u) {
    scores[i] += row_biases;
  }
}

// Scores of the lane's tokens of the tile, HIDDEN where a row does not see a token.
fn score_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {
  for (var i = 0u; i < SPAN; i += 1u) {
    scores[i] = vec4<f32>();
  }
  find_keys(entry, block, tile, lane);
  if (tile.first + lane < tile.end) {
    score_tokens(block, tile, lane);
  }
  var first = vec4<u32>();
  var end = vec4<u32>(); // of the positions that each row sees
  for (var row = 0u; row < ROWS; row += 1u) {
    let at = block.first_row + row;
    let range = visible(entry, tile, entry.start + at / layer.group);
    first[row] = range.x;
    end[row] = select(0u, range.y, at < block.rows);
  }
  if (SOFTCAP) {
    let cap = vec4<f32>(layer.softcap);
    for (var i = 0u; i < SPAN; i += 1u) {
      // Clamped because tanh may overflow where it has long been 1.
      scores[i] = cap * tanh(clamp(scores[i] / cap, vec4<f32>(-20.0), vec4<f32>(20.0)));
    }
  }
  // Most tiles are seen whole.
  if (!all((first <= vec4<u32>(tile.first)) & (end >= vec4<u32>(tile.first + TILE)))) {
    for (var i = 0u; i < SPAN; i += 1u) {
      let position = vec4<u32>(tile.first + i * PAGE_TOKENS + lane);
      scores[i] = select(vec4<f32>(HIDDEN), scores[i], (position >= first) & (position < end));
    }
  }
}

// Grid: (splits, KV heads, entries x row blocks).
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
  let tiles = tiles_between(entry, block.first_position, block.last_position);
  let total = tiles.coded + tiles.sinks + tiles.ring;
  let share = (total + step.splits - 1u) / step.splits;
  let end = min((workgroup.x + 1u) * share, total);
  prepare_block(entry, block, lane);
  for (var at = workgroup.x * share; at < end; at += 1u) {
    let tile = tile_at(tiles, at);
    workgroupBarrier(); // the tile before is scored
    prepare_tile(entry, block, tile, lane);
    score_tile(entry, block, tile, lane);
    for (var row = 0u; row < min(ROWS, block.rows - block.first_row); row += 1u) {
      let first = global_row(entry, block, row) * step.score_stride + at * TILE + lane;
      for (var i = 0u; i < SPAN; i += 1u) {
        row_scores_written[first + i * PAGE_TOKENS] = scores[i][row];
      }
    }
  }
}
`;
