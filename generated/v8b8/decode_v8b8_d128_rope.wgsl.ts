// Generated from templates/schemes/hadamard/decode_rotated.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (2, 1.25 and 1 bits of VecInfer: one small codebook for all groups of a head).

/** WGSL of `decode_v8b8_d128_rope`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 128u;
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
const CODED_RECORD_TOKENS: u32 = 1u;
const CODED_RECORD_WORDS: u32 = 4u;
const CODED_CODEBOOK_WORDS: u32 = 648u; // per head

override SIDE: u32 = 0u; // 0 decodes keys, 1 values
override IO_HALF: bool = false; // the host's tensors hold f16, not f32
const NEAR: u32 = 128u; // distances the table has one by one
override INTERLEAVED: bool = false; // pairs are (2i, 2i + 1), not (i, i + half)
override ROTARY_CHUNKS: u32 = CHUNKS / 2u; // pairs of channels that rotate, in fours

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
@group(0) @binding(5) var<storage, read> rope: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> vectors: array<u32>;

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

// Factors, then means, of channels 4 chunk to 4 chunk + 3.
fn coded_transform(codebook: u32, chunk: u32) -> mat2x4<f32> {
  let first = codebook_pair(codebook, 2u * chunk);
  let second = codebook_pair(codebook, 2u * chunk + 1u);
  let channel_0 = unpack2x16float(first.x);
  let channel_1 = unpack2x16float(first.y);
  let channel_2 = unpack2x16float(second.x);
  let channel_3 = unpack2x16float(second.y);
  return mat2x4<f32>(
    vec4<f32>(channel_0.x, channel_1.x, channel_2.x, channel_3.x),
    vec4<f32>(channel_0.y, channel_1.y, channel_2.y, channel_3.y),
  );
}

// The grids of channels 4 chunk to 4 chunk + 3, which all groups share, from the channels' means on.
fn coded_grid(codebook: u32, chunk: u32) -> Grid {
  let at = codebook + HEAD_DIM + chunk % (CODED_CHANNELS / 4u) * 4u;
  let first = codebook_pair(at, 0u);
  let second = codebook_pair(at, 1u);
  let grid_0 = unpack2x16float(first.x);
  let grid_1 = unpack2x16float(first.y);
  let grid_2 = unpack2x16float(second.x);
  let grid_3 = unpack2x16float(second.y);
  return Grid(
    vec4<f32>(grid_0.x, grid_1.x, grid_2.x, grid_3.x) + coded_transform(codebook, chunk)[1],
    vec4<f32>(grid_0.y, grid_1.y, grid_2.y, grid_3.y) / 64.0,
  );
}

// Code index of the record at record; codes never straddle words at this width.
fn coded_code(record: u32, index: u32) -> u32 {
  let bit = index * CODED_BITS;
  return (coded_records[record + (bit >> 5u)] >> (bit & 31u)) & CODED_MASK;
}
// Channels 4 chunk to 4 chunk + 3 of token token of the record at record, as they were coded: one word of a centroid.
fn coded_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let quads = CODED_CHANNELS / 4u; // words of a centroid
  let code = coded_code(record, token * CODED_CODES + chunk / quads);
  let at = codebook + HEAD_DIM + CODED_CHANNELS + code * quads + chunk % quads;
  return grid.low + levels_of(codebook_word(at)) * grid.step;
}

const UNSPREAD: f32 = 0.0625; // the factor of the inverse rotation, which queries take as well

// The signs of a chunk's channels before a Hadamard rotation: the Rudin-Shapiro sequence, whose transform is flat. A sign is
// -1 where a channel's number has an odd number of neighbouring pairs of set bits.
fn channel_signs(chunk: u32) -> vec4<f32> {
  let channels = 4u * chunk + vec4<u32>(0u, 1u, 2u, 3u);
  return 1.0 - 2.0 * vec4<f32>(countOneBits(channels & (channels >> vec4<u32>(1u))) & vec4<u32>(1u));
}

// The Walsh-Hadamard transform of four channels. That of a head is the sum of its chunks, transformed so, each
// with -1 where its number and that of the result have an odd number of set bits in common.
fn hadamard4(x: vec4<f32>) -> vec4<f32> {
  let y = vec4<f32>(x.x + x.y, x.x - x.y, x.z + x.w, x.z - x.w);
  return vec4<f32>(y.x + y.z, y.y + y.w, y.x - y.z, y.y - y.w);
}

var<workgroup> rotated: array<vec4<f32>, WORKGROUP>;

struct Angle {
  cosine: vec4<f32>,
  sine: vec4<f32>,
}

// The rotation of four pairs of channels at a distance: the sum of a near one and a far one.
fn angle_of(distance: u32, pair: u32) -> Angle {
  let near = ((distance % NEAR) * ROTARY_CHUNKS + pair) * 2u;
  let far = ((NEAR + distance / NEAR) * ROTARY_CHUNKS + pair) * 2u;
  return Angle(
    rope[near] * rope[far] - rope[near + 1u] * rope[far + 1u],
    rope[near + 1u] * rope[far] + rope[near] * rope[far + 1u],
  );
}

// -1 where an odd number of bits is set, else 1.
fn parity_sign(bits: u32) -> f32 {
  return 1.0 - 2.0 * f32(countOneBits(bits) & 1u);
}

// Decodes count coded tokens from coded token start on into the host's tensor, and undoes their Hadamard rotation.
// A workgroup has whole heads. Grid: (vec4s of one token / workgroup size, most tokens of an entry, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z];
  if (workgroup.y >= entry.count) {
    return;
  }
  let item = workgroup.x * WORKGROUP + lane;
  let chunk = item % CHUNKS;
  let head = min(item / CHUNKS, layer.kv_heads - 1u); // lanes past the last head repeat it
  let token = entry.start + workgroup.y;
  let page = page_word(entry.slot, head, token / PAGE_TOKENS, CODED_RECORD_TOKENS, CODED_RECORD_WORDS);
  let record = page + (token % PAGE_TOKENS) / CODED_RECORD_TOKENS * CODED_RECORD_WORDS;
  let model_head = layer.first_head + head;
  let codebook = select(layer.value_codebook, 0u, SIDE == 0u) + model_head * CODED_CODEBOOK_WORDS;
  let grid = coded_grid(codebook, chunk);
  rotated[lane] = coded_load4(grid, codebook, record, token % CODED_RECORD_TOKENS, chunk);
  workgroupBarrier();
  var sum = vec4<f32>();
  for (var other = 0u; other < CHUNKS; other += 1u) {
    sum += parity_sign(chunk & other) * rotated[lane - chunk + other];
  }
  // Where a head is not rotated, its factors are 0.
  let factors = coded_transform(codebook, chunk)[0];
  let plain = select(rotated[lane], UNSPREAD * hadamard4(sum) * factors, factors != vec4<f32>());
  workgroupBarrier();
  rotated[lane] = plain;
  workgroupBarrier();
  var vector = plain;
  if (chunk < 2u * ROTARY_CHUNKS) {
    // The rotary embedding of the token's position is undone.
    let angle = angle_of(layer.sinks + token, select(chunk % ROTARY_CHUNKS, chunk / 2u, INTERLEAVED));
    let even = rotated[select(lane - chunk + chunk % ROTARY_CHUNKS, lane, INTERLEAVED)];
    let odd = rotated[select(lane - chunk + chunk % ROTARY_CHUNKS + ROTARY_CHUNKS, lane, INTERLEAVED)];
    if (INTERLEAVED) {
      let high = chunk % 2u == 1u;
      let cosine = select(angle.cosine.xy, angle.cosine.zw, high);
      let sine = select(angle.sine.xy, angle.sine.zw, high);
      let first = plain.xz * cosine + plain.yw * sine;
      let second = plain.yw * cosine - plain.xz * sine;
      vector = vec4<f32>(first.x, second.x, first.y, second.y);
    } else if (chunk < ROTARY_CHUNKS) {
      vector = even * angle.cosine + odd * angle.sine;
    } else {
      vector = odd * angle.cosine - even * angle.sine;
    }
  }
  if (item < layer.kv_heads * CHUNKS) {
    write_vector(entry.first + workgroup.y, model_head, chunk, vector);
  }
}
`;
