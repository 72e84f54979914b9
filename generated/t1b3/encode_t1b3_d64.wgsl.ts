// Generated from templates/schemes/hadamard/encode_rotated.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (1 to 4 bits of TurboQuant: the baseline beside u8b8 and u4b8).

/** WGSL of `encode_t1b3_d64`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 64u;
const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
const WORKGROUP: u32 = 64u;
const PAGE_TOKENS: u32 = 64u;
const CHANNELS: u32 = 1u; // channels per code
const BITS: u32 = 3u; // bits per code
const ROW_CENTROIDS: u32 = 1u; // that one load brings
const CENTROIDS: u32 = 8u; // of all heads and groups
const CODES: u32 = 64u; // codes per token
const RECORD_TOKENS: u32 = 2u;
const RECORD_WORDS: u32 = 13u;
const METADATA_WORDS: u32 = 1u; // in front of a record's codes
const TOKEN_WORDS: u32 = CODES * BITS / 32u; // of a token's codes
const TOKENS: u32 = 2u; // tokens coded at once, which divide those of a record
const LANES: u32 = 1u; // lanes that share the search for one code
const SPREAD: f32 = 0.125; // the factor of the rotation

override SIDE: u32 = 0u; // 0 encodes keys, 1 values

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
@group(0) @binding(2) var<storage, read> exact: array<u32>;
@group(0) @binding(3) var<storage, read> pages: array<u32>;
@group(0) @binding(4) var<storage, read> codebooks: array<u32>;
@group(0) @binding(5) var<storage, read_write> records: array<u32>;

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

var<workgroup> vectors: array<vec4<f32>, TOKENS * CHUNKS>;
var<workgroup> codes: array<u32, TOKENS * CODES>;
var<workgroup> deviations: array<f32, TOKENS>;
var<workgroup> half_squares: array<f32, CENTROIDS>; // of the centroids' lengths
var<workgroup> likenesses: array<f32, TOKENS * WORKGROUP>;
var<workgroup> nearest: array<u32, TOKENS * WORKGROUP>;

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

// Chunk chunk, which is four channels, of the exact vector at word word.
fn exact_chunk(word: u32, chunk: u32) -> vec4<f32> {
  let at = word + 2u * chunk;
  return vec4<f32>(unpack2x16float(exact[at]), unpack2x16float(exact[at + 1u]));
}

// Chunk chunk of the exact vector at word word, of the token at position, as the transform takes it.
fn signed_chunk(word: u32, position: u32, chunk: u32) -> vec4<f32> {
  return kept_chunk(word, (position - layer.sinks) % RECORD_TOKENS, chunk) * channel_signs(chunk) * SPREAD;
}

// Ends the Walsh-Hadamard transform of the vectors, whose chunks hadamard4 has transformed one by one.
fn transform_vectors(lane: u32) {
  for (var stride = 1u; stride < CHUNKS; stride *= 2u) {
    workgroupBarrier();
    for (var item = lane; item < TOKENS * CHUNKS / 2u; item += WORKGROUP) {
      let first = item / stride * (2u * stride) + item % stride;
      let a = vectors[first];
      let b = vectors[first + stride];
      vectors[first] = a + b;
      vectors[first + stride] = a - b;
    }
  }
  workgroupBarrier();
  for (var item = lane; item < TOKENS * CHUNKS; item += WORKGROUP) {
    vectors[item] = centred(vectors[item], item % CHUNKS);
  }
  workgroupBarrier();
}

// The one channel of a group.
alias Part = f32;

// A centroid.
alias Row = f32;

// Group group of the vector of token token.
fn vector_part(token: u32, group: u32, part: u32) -> Part {
  return vectors[token * CHUNKS + (group >> 2u)][group & 3u];
}

// Centroid row, two to a word.
fn centroid_row(codebook: u32, row: u32) -> Row {
  return unpack2x16float(codebooks[codebook + (row >> 1u)])[row & 1u];
}

fn row_part(row: Row, part: u32) -> Part {
  return row;
}

fn product(a: Part, b: Part) -> f32 {
  return a * b;
}

// Vectors are coded without taking a mean off.
fn begin_record(entry: Entry, head: u32, record: u32, record_first: u32, lane: u32) {}

fn kept_chunk(word: u32, token: u32, chunk: u32) -> vec4<f32> {
  return exact_chunk(word, chunk);
}

fn end_record(energy: f32, lane: u32) {}

fn centre_of(chunk: u32) -> vec4<f32> {
  return vec4<f32>();
}

fn centred(value: vec4<f32>, chunk: u32) -> vec4<f32> {
  return value;
}

// Writes the scales of the batch's tokens, two to a word, beside those that are kept.
fn write_scales(
  entry: Entry,
  record: u32,
  first: u32,
  batch: u32,
  encode_end: u32,
  lane: u32,
) {
  for (var pair = lane; pair < TOKENS / 2u; pair += WORKGROUP) {
    let token = first + 2u * pair;
    let at = record + (batch >> 1u) + pair;
    let scales = pack2x16float(vec2<f32>(deviations[2u * pair], deviations[2u * pair + 1u]));
    let low = select(0u, scales & 0xffffu, token < encode_end);
    let high = select(0u, scales & 0xffff0000u, token + 1u < encode_end);
    let kept = select(0u, records[at] & 0xffffu, token < entry.encode_from);
    records[at] = select(low, kept, token < entry.encode_from) | high;
  }
}

// Codes of the tokens that leave the exact tier: centred, rotated, divided by their size, and then the nearest centroid of
// each group, ties to the lowest index. A workgroup owns a whole record, so tokens coded before are kept without atomics.
// Grid: (records, KV heads, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z];
  let head = workgroup.y;
  let encode_end = coded_visible(entry, entry.start + entry.count - 1u);
  let record_first = (entry.encode_from / RECORD_TOKENS + workgroup.x) * RECORD_TOKENS;
  if (record_first >= encode_end || entry.encode_from >= encode_end) {
    return;
  }
  let codebook = select(layer.value_codebook, 0u, SIDE == 0u);
  let record = page_word(entry.slot, head, record_first / PAGE_TOKENS, RECORD_TOKENS, RECORD_WORDS) +
    (record_first % PAGE_TOKENS) / RECORD_TOKENS * RECORD_WORDS;
  for (var row = lane; row < CENTROIDS / ROW_CENTROIDS; row += WORKGROUP) {
    let centroids = centroid_row(codebook, row);
    let c_0_0 = row_part(centroids, 0u);
    half_squares[row * ROW_CENTROIDS + 0u] = 0.5 * (product(c_0_0, c_0_0));
  }
  begin_record(entry, head, record, record_first, lane);

  var energy = 0.0; // of what the lane has found the sizes of
  for (var batch = 0u; batch < RECORD_TOKENS; batch += TOKENS) {
    workgroupBarrier();
    for (var item = lane; item < TOKENS * CHUNKS; item += WORKGROUP) {
      let token = clamp(record_first + batch + item / CHUNKS, entry.encode_from, encode_end - 1u);
      let position = layer.sinks + token;
      let word = exact_word(entry.slot, SIDE, position, head);
      vectors[item] = hadamard4(signed_chunk(word, position, item % CHUNKS));
    }
    transform_vectors(lane);
    for (var token = lane; token < TOKENS; token += WORKGROUP) {
      var square = 0.0;
      for (var chunk = 0u; chunk < CHUNKS; chunk += 1u) {
        let value = vectors[token * CHUNKS + chunk];
        square += dot(value, value);
      }
      energy += square;
      // As binary16, so that rounding here hardly ever decides between two centroids.
      let deviation = pack2x16float(vec2<f32>(min(sqrt(square / f32(HEAD_DIM)), 65504.0), 0.0));
      deviations[token] = unpack2x16float(deviation).x;
    }
    workgroupBarrier();

    for (var round = 0u; round < CODES; round += WORKGROUP / LANES) {
      let group = min(round + lane / LANES, CODES - 1u); // idle lanes repeat the last group
      let deviation_0 = deviations[0u];
      let x_0_0 = vector_part(0u, group, 0u);
      var best_0 = -3.0e38;
      var code_0 = 0u;
      let deviation_1 = deviations[1u];
      let x_1_0 = vector_part(1u, group, 0u);
      var best_1 = -3.0e38;
      var code_1 = 0u;
      // |x / deviation - c|^2 is least where x.c - deviation |c|^2 / 2 is largest; no division, so that ties are exact.
      for (var row = lane % LANES; row < CENTROIDS / ROW_CENTROIDS; row += LANES) {
        let centroids = centroid_row(codebook, row);
        let code_of_0 = row * ROW_CENTROIDS + 0u;
        let c_0_0 = row_part(centroids, 0u);
        let half_square_0 = 0.5 * (product(c_0_0, c_0_0));
        let likeness_0_0 = product(x_0_0, c_0_0) - deviation_0 * half_square_0;
        code_0 = select(code_0, code_of_0, likeness_0_0 > best_0);
        best_0 = max(best_0, likeness_0_0);
        let likeness_0_1 = product(x_1_0, c_0_0) - deviation_1 * half_square_0;
        code_1 = select(code_1, code_of_0, likeness_0_1 > best_1);
        best_1 = max(best_1, likeness_0_1);
      }
      likenesses[0u * WORKGROUP + lane] = best_0;
      nearest[0u * WORKGROUP + lane] = code_0;
      likenesses[1u * WORKGROUP + lane] = best_1;
      nearest[1u * WORKGROUP + lane] = code_1;
      workgroupBarrier();
      for (var item = lane; item < TOKENS * (WORKGROUP / LANES); item += WORKGROUP) {
        let at = item * LANES;
        var highest = likenesses[at];
        var winner = nearest[at];
        for (var other = at + 1u; other < at + LANES; other += 1u) {
          let tie = likenesses[other] == highest && nearest[other] < winner;
          if (likenesses[other] > highest || tie) {
            highest = likenesses[other];
            winner = nearest[other];
          }
        }
        let item_group = round + item % (WORKGROUP / LANES);
        if (item_group < CODES) {
          codes[item / (WORKGROUP / LANES) * CODES + item_group] = winner;
        }
      }
      workgroupBarrier();
    }

    write_scales(entry, record, record_first + batch, batch, encode_end, lane);
    for (var item = lane; item < TOKENS * TOKEN_WORDS; item += WORKGROUP) {
      let token = record_first + batch + item / TOKEN_WORDS;
      if (token >= entry.encode_from) {
        let at = record + METADATA_WORDS + batch * TOKEN_WORDS + item;
        records[at] = select(0u, code_word(item / TOKEN_WORDS, item % TOKEN_WORDS), token < encode_end);
      }
    }
  }
  end_record(energy, lane);
}

// Word word of the codes of token token of the batch.
fn code_word(token: u32, word: u32) -> u32 {
  let end = min(CODES, (word * 32u + 31u) / BITS + 1u);
  var bits = 0u;
  for (var item = word * 32u / BITS; item < end; item += 1u) {
    let code = codes[token * CODES + item];
    let first = item * BITS;
    if (first >= word * 32u) {
      bits |= code << (first - word * 32u);
    } else {
      bits |= code >> (word * 32u - first);
    }
  }
  return bits;
}
`;
