// Generated from templates/attention/mix.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (images and videos, whose tokens share the levels of a channel, after CalibQuant).

/** WGSL of `mix_sc1_d128`. */
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
override SKIP_BELOW: f32 = 0.0; // how far below what rows have seen a tile that is not mixed lies; 0 where all are mixed
const SLICES: u32 = WORKGROUP / CHUNK_LANES; // tokens mixed at once
const TOP_GROUPS: u32 = 8u; // the largest score is found among so many lanes each, then among as many results
const TOP_LANES: u32 = WORKGROUP / TOP_GROUPS;
const VALUE_BITS: u32 = 1u; // bits per code
const VALUE_RECORD_TOKENS: u32 = 64u;
const VALUE_RECORD_WORDS: u32 = 256u;
const VALUE_METADATA_WORDS: u32 = 0u; // in front of a record's codes
const VALUE_CODEBOOK_WORDS: u32 = 0u; // per head

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
@group(0) @binding(2) var<storage, read> row_scores: array<f32>;
@group(0) @binding(3) var<storage, read> value_records: array<u32>;
@group(0) @binding(4) var<storage, read> levels: array<u32>;
@group(0) @binding(5) var<storage, read> exact_quads: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> pages: array<u32>;
@group(0) @binding(7) var<storage, read_write> partials_written: array<vec4<f32>>;

var<workgroup> weights: array<vec4<f32>, TILE>;
var<workgroup> tops: array<vec4<f32>, WORKGROUP>;
var<workgroup> group_tops: array<vec4<f32>, TOP_GROUPS>;
var<private> row_max = vec4<f32>(HIDDEN);
var<private> row_sum: vec4<f32>;
var<private> skipped: bool; // whether the tile is not mixed
var<private> counts: vec2<f32>; // coded tiles that were skipped, and all, where some may be
var<private> mixed: array<mat4x4<f32>, LANE_CHUNKS>;
var<workgroup> row_sums: array<f32, ROWS>;
var<private> sums: mat4x4<f32>; // of what was mixed, over the slices: chunks of the lane's row
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
fn value_codes4(record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let bit = (token * CHUNKS + chunk) * 4u * VALUE_BITS;
  let word = value_records[record + VALUE_METADATA_WORDS + (bit >> 5u)] >> (bit & 31u);
  let places = vec4<u32>(0u, 1u, 2u, 3u) * VALUE_BITS;
  return vec4<f32>(vec4<i32>((vec4<u32>(word) >> places) & vec4<u32>((1u << VALUE_BITS) - 1u)));
}

// The codes of channels 4 chunk to 4 chunk + 3 of token token of the record at record. The span's levels are applied elsewhere:
// to queries before, and to sums of values after.
fn value_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  return value_codes4(record, token, chunk);
}

// Channels 4 chunk to 4 chunk + 15 of token token of the record at record, a chunk a column.
fn value_chunks(codebook: u32, record: u32, token: u32, chunk: u32) -> mat4x4<f32> {
  return mat4x4<f32>(
    value_load4(Grid(), codebook, record, token, chunk + 0u),
    value_load4(Grid(), codebook, record, token, chunk + 1u),
    value_load4(Grid(), codebook, record, token, chunk + 2u),
    value_load4(Grid(), codebook, record, token, chunk + 3u),
  );
}

// A lane mixes LANE_CHUNKS chunks of every SLICES-th token.
fn lane_chunk(lane: u32) -> u32 {
  return 0u + lane % CHUNK_LANES * LANE_CHUNKS;
}

// What one value adds to all rows.
fn weighted(value: vec4<f32>, weight: vec4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(value * weight.x, value * weight.y, value * weight.z, value * weight.w);
}

// Of coded values the levels are mixed; their grids come when they are summed.
fn mix_coded(codebook: u32, record: u32, token: u32, chunk: u32, weight: vec4<f32>) {
  let levels = value_chunks(codebook, record, token, chunk);
  for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
    mixed[i] += weighted(levels[i], weight);
  }
}

fn value_grid(codebook: u32, chunk: u32) -> Grid {
  return levels_grid(codebook, chunk);
}

fn finish_coded(entry: Entry, block: Block, lane: u32) {
  let codebook = levels_word(entry.slot, 1u, block.head);
  if (lane < ROW_LANES) {
    for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
      let grid = value_grid(codebook, lane_chunk(lane) + i);
      sums[i] = grid.low * row_sums[lane / CHUNK_LANES] + grid.step * sums[i];
    }
  }
}

// The largest of all lanes' vectors, by component: of some lanes each, then of their results.
fn top_of(own: vec4<f32>, lane: u32) -> vec4<f32> {
  tops[lane] = own;
  workgroupBarrier();
  var top = own;
  if (lane < TOP_GROUPS) {
    for (var other = 1u; other < TOP_LANES; other += 1u) {
      top = max(top, tops[other * TOP_GROUPS + lane]);
    }
    group_tops[lane] = top;
  }
  workgroupBarrier();
  for (var group = 0u; group < TOP_GROUPS; group += 1u) {
    top = max(top, group_tops[group]);
  }
  return top;
}

// The best scores of the tile, by row.
fn tile_top(lane: u32) -> vec4<f32> {
  var highest = scores[0];
  for (var i = 1u; i < SPAN; i += 1u) {
    highest = max(highest, scores[i]);
  }
  return top_of(highest, lane);
}

// Takes note of the best scores of a tile that is not mixed now.
fn peek_tile(lane: u32) {
  row_max = max(row_max, tile_top(lane));
  workgroupBarrier();
}

// Online softmax (FlashAttention, arXiv 2205.14135 §3.1): what was summed before is rescaled, and weights are
// exp(score - row_max). A tile of codes is skipped if it lies far below what every row has seen: of n tokens' weight, its tokens
// have at most n * exp(-SKIP_BELOW). Comparisons with NaN are false, so that rows of NaN skip nothing.
fn soften_tile(tile: Tile, lane: u32) {
  let top = tile_top(lane);
  let is_low = (top <= vec4<f32>(HIDDEN)) | (top < row_max - SKIP_BELOW);
  skipped = SKIP_BELOW > 0.0 && tile.coded && all(is_low);
  if (!skipped) {
    let next = max(row_max, top);
    let rescale = exp(row_max - next);
    row_max = next;
    row_sum *= rescale;
    let kept = rescale;
    for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
      let rows = mixed[i];
      mixed[i] = mat4x4<f32>(
        rows[0] * kept.x,
        rows[1] * kept.y,
        rows[2] * kept.z,
        rows[3] * kept.w,
      );
    }
    // A hidden token has no weight, even where a row has seen no other.
    let seen = max(next, vec4<f32>(0.5 * HIDDEN));
    for (var i = 0u; i < SPAN; i += 1u) {
      let weight = exp(scores[i] - seen);
      weights[i * PAGE_TOKENS + lane] = weight;
      row_sum += weight;
    }
  }
  workgroupBarrier();
}

// Adds the lane's share of the tile's values. Only one of the two loops runs.
fn mix_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {
  let chunk = lane_chunk(lane);
  let slice = lane / CHUNK_LANES;
  let count = select(0u, tile.end - tile.first, slice < SLICES && !skipped);
  let coded_count = select(0u, count, tile.coded);
  let exact_count = select(count, 0u, tile.coded);
  if (SKIP_BELOW > 0.0 && tile.coded) {
    counts += vec2<f32>(f32(skipped), 1.0);
  }
  let codebook = layer.value_codebook + (layer.first_head + block.head) * VALUE_CODEBOOK_WORDS;
  let first_page = (tile.first - min(layer.sinks, tile.first)) / PAGE_TOKENS;
  for (var first = 0u; first < coded_count; first += PAGE_TOKENS) {
    let page = first_page + first / PAGE_TOKENS;
    let word = page_word(entry.slot, block.head, page, VALUE_RECORD_TOKENS, VALUE_RECORD_WORDS);
    let end = min(coded_count - first, PAGE_TOKENS);
    for (var token = slice; token < end; token += SLICES) {
      let record = word + token / VALUE_RECORD_TOKENS * VALUE_RECORD_WORDS;
      mix_coded(codebook, record, token % VALUE_RECORD_TOKENS, chunk, weights[first + token]);
    }
  }
  for (var token = slice; token < exact_count; token += SLICES) {
    let exact_at = exact_word(entry.slot, 1u, tile.first + token, block.head);
    let weight = weights[token];
    for (var i = 0u; i < LANE_CHUNKS; i += 2u) {
      let values = exact_load8(exact_at, chunk + i);
      mixed[i] += weighted(values[0], weight);
      mixed[i + 1u] += weighted(values[1], weight);
    }
  }
}

// The sum of one chunk of every lane over the slices. The first lanes, CHUNK_LANES for each row, get that of their row.
fn sum_chunk(rows: mat4x4<f32>, lane: u32) -> vec4<f32> {
  workgroupBarrier();
  weights[lane] = rows[0];
  weights[WORKGROUP + lane] = rows[1];
  weights[2u * WORKGROUP + lane] = rows[2];
  weights[3u * WORKGROUP + lane] = rows[3];
  workgroupBarrier();
  let first = lane / CHUNK_LANES * WORKGROUP + lane % CHUNK_LANES;
  var sum = vec4<f32>();
  for (var slice = 0u; slice < select(0u, SLICES, lane / CHUNK_LANES < ROWS); slice += 1u) {
    sum += weights[first + slice * CHUNK_LANES];
  }
  return sum;
}

// The other way: a chunk's sums, given back to the lanes of the first slice as what they mixed.
fn shared_chunk(sum: vec4<f32>, lane: u32) -> mat4x4<f32> {
  workgroupBarrier();
  weights[lane] = sum;
  workgroupBarrier();
  if (lane >= CHUNK_LANES) {
    return mat4x4<f32>();
  }
  return mat4x4<f32>(
    weights[lane],
    weights[CHUNK_LANES + lane],
    weights[2u * CHUNK_LANES + lane],
    weights[3u * CHUNK_LANES + lane],
  );
}

// After the last tile, what was mixed is summed over the slices, and written. It is summed after the last coded one as well,
// because what coding did to values is undone before exact ones are added.
fn finish_tile(entry: Entry, block: Block, tiles: Tiles, tile: Tile, at: u32, end: u32, split: u32, lane: u32) {
  if (at + 1u == end || at + 1u == tiles.coded) {
    tops[lane] = row_sum;
    sums[0] = sum_chunk(mixed[0], lane);
    var sum = 0.0;
    for (var other = 0u; other < select(0u, WORKGROUP, lane < ROWS); other += 1u) {
      sum += tops[other][lane]; // a lane sums a row's weights
    }
    if (lane < ROWS) {
      row_sums[lane] = sum;
    }
    sums[1] = sum_chunk(mixed[1], lane);
    sums[2] = sum_chunk(mixed[2], lane);
    sums[3] = sum_chunk(mixed[3], lane);
    mixed = array<mat4x4<f32>, LANE_CHUNKS>();
    if (tile.coded) {
      finish_coded(entry, block, lane);
    }
    if (at + 1u == end) {
      write_partials(entry, block, split, lane);
    } else {
      for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
        mixed[i] = shared_chunk(sums[i], lane);
      }
    }
  }
}

// Writes one partial result a row: CHUNKS vectors, then (max, sum, tiles skipped, all), tiles in the block's first row.
fn write_partials(entry: Entry, block: Block, split: u32, lane: u32) {
  let used = min(ROWS, block.rows - block.first_row);
  if (lane < used * CHUNK_LANES) {
    let chunk = partial_of(entry, block, lane / CHUNK_LANES, split) + lane_chunk(lane);
    for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
      partials_written[chunk + i] = sums[i];
    }
  }
  if (lane < used && lane_chunk(0u) == 0u) {
    partials_written[partial_of(entry, block, lane, split) + CHUNKS] =
      vec4<f32>(row_max[lane], row_sums[lane], select(vec2<f32>(), counts, lane == 0u));
  }
}

fn partial_of(entry: Entry, block: Block, row: u32, split: u32) -> u32 {
  return (global_row(entry, block, row) * step.partial_stride + entry.first_partial + split) * (CHUNKS + 1u);
}

// Grid: (splits, KV heads, entries x row blocks), as the score kernel's.
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let workgroup = id;
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
  // Where tiles may be skipped, exact ones come before all others for their largest scores alone: most weight is there as a rule.
  let own = workgroup.x * share;
  if (own >= end) {
    write_partials(entry, block, workgroup.x, lane);
    return;
  }
  let peeks = select(0u, total - tiles.coded, SKIP_BELOW > 0.0);
  for (var turn = own; turn < end + peeks; turn += 1u) {
    let peeking = SKIP_BELOW > 0.0 && turn < own + peeks;
    let at = select(turn - peeks, turn - own + tiles.coded, peeking);
    let tile = tile_at(tiles, at);
    for (var row = 0u; row < ROWS; row += 1u) {
      let stored = min(row, block.rows - 1u - block.first_row);
      let first = global_row(entry, block, stored) * step.score_stride + at * TILE + lane;
      for (var i = 0u; i < SPAN; i += 1u) {
        scores[i][row] = row_scores[first + i * PAGE_TOKENS];
      }
    }
    if (peeking) {
      peek_tile(lane);
      continue;
    }
    soften_tile(tile, lane);
    mix_tile(entry, block, tile, lane);
    finish_tile(entry, block, tiles, tile, at, end, workgroup.x, lane);
  }
}
`;
