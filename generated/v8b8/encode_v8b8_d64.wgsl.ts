// Generated from templates/schemes/vecinfer/encode_shared.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (2, 1.25 and 1 bits of VecInfer: one small codebook for all groups of a head).

/** WGSL of `encode_v8b8_d64`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 64u;
const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
const WORKGROUP: u32 = 64u;
const PAGE_TOKENS: u32 = 64u;
const CHANNELS: u32 = 8u; // channels per code
const QUADS: u32 = CHANNELS / 4u; // vec4s per code, and words of a centroid
const BITS: u32 = 8u; // bits per code
const CENTROIDS: u32 = 256u; // of all groups of a head
const ROW_CENTROIDS: u32 = 2u; // that one load brings
const CODES: u32 = 8u; // codes per token
const RECORD_TOKENS: u32 = 1u;
const RECORD_WORDS: u32 = 2u;
const CODEBOOK_WORDS: u32 = 584u; // per head
const LANES: u32 = 8u; // lanes that share the search for one code
const MAX_TOKENS: u32 = 8u;
const SPREAD: f32 = 0.125; // the factor of the rotation

override SIDE: u32 = 0u; // 0 encodes keys, 1 values
override TOKENS: u32 = 1u; // tokens a lane compares with a centroid it has loaded, at most MAX_TOKENS
override BLOCK: u32 = RECORD_TOKENS; // tokens of one workgroup: whole records, a multiple of TOKENS

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
@group(0) @binding(4) var<storage, read> codebook_quads: array<vec4<u32>>;
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
var<workgroup> codes: array<u32, BLOCK * CODES>;
var<workgroup> likenesses: array<f32, WORKGROUP * TOKENS>;
var<workgroup> nearest: array<u32, WORKGROUP * TOKENS>;
var<private> codebook: u32; // first word of the head's
var<private> points: array<vec4<f32>, MAX_TOKENS * QUADS>; // of the lane's group

// The four levels in a word. They are signed on the way, because processors have no instruction for unsigned numbers.
fn levels_of(word: u32) -> vec4<f32> {
  return vec4<f32>(vec4<i32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u)));
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

// Factors (low halves) and means of a chunk's channels.
fn transform_words(chunk: u32) -> vec4<u32> {
  return codebook_quads[codebook / 4u + chunk];
}

// What the channels of a chunk are multiplied by before the rotation: 1 where the head is not rotated. Factors are signed
// powers of two, so that their inverses are a matter of exponents.
fn smoothing(chunk: u32) -> vec4<f32> {
  let words = transform_words(chunk);
  let exponents = vec4<u32>(142u) - ((words >> vec4<u32>(10u)) & vec4<u32>(31u));
  let signs = (words & vec4<u32>(0x8000u)) << vec4<u32>(16u);
  let inverse = bitcast<vec4<f32>>(signs | (exponents << vec4<u32>(23u)));
  return select(vec4<f32>(1.0), SPREAD * inverse, (words & vec4<u32>(0xffffu)) != vec4<u32>());
}

fn means(chunk: u32) -> vec4<f32> {
  let words = transform_words(chunk);
  return vec4<f32>(
    unpack2x16float(words.x).y,
    unpack2x16float(words.y).y,
    unpack2x16float(words.z).y,
    unpack2x16float(words.w).y,
  );
}

// The lowest level's numbers and a level's steps of four channels of every group.
fn grid_of(quad: u32) -> mat2x4<f32> {
  let words = codebook_quads[(codebook + HEAD_DIM) / 4u + quad];
  let channel_0 = unpack2x16float(words.x);
  let channel_1 = unpack2x16float(words.y);
  let channel_2 = unpack2x16float(words.z);
  let channel_3 = unpack2x16float(words.w);
  return mat2x4<f32>(
    vec4<f32>(channel_0.x, channel_1.x, channel_2.x, channel_3.x),
    vec4<f32>(channel_0.y, channel_1.y, channel_2.y, channel_3.y) / 64.0,
  );
}

// Chunk chunk of the exact vector at word word, of the token at position, as the transform takes it.
fn signed_chunk(word: u32, position: u32, chunk: u32) -> vec4<f32> {
  return exact_chunk(word, chunk) * smoothing(chunk);
}

// Bits of word word that the first kept codes of a record fill.
fn kept_mask(word: u32, kept: u32) -> u32 {
  let bits = kept * BITS - min(kept * BITS, word * 32u);
  return select((1u << (bits & 31u)) - 1u, 0xffffffffu, bits >= 32u);
}

// Codes of the tokens that leave the exact tier (VecInfer, arXiv 2510.06175 §3): smoothed and rotated, then the nearest
// centroid of each group, ties to the lowest index. A workgroup owns whole records, so tokens coded before are kept
// without atomics. Grid: (blocks of tokens, KV heads, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z];
  let head = workgroup.y;
  let encode_end = coded_visible(entry, entry.start + entry.count - 1u);
  let block_first = entry.encode_from / RECORD_TOKENS * RECORD_TOKENS + workgroup.x * BLOCK;
  if (block_first >= encode_end || entry.encode_from >= encode_end) {
    return;
  }
  codebook = select(layer.value_codebook, 0u, SIDE == 0u) + (layer.first_head + head) * CODEBOOK_WORDS;
  let rotated = (codebook_quads[codebook / 4u].x & 0xffffu) != 0u;
  let grid_0 = grid_of(0u);
  let grid_1 = grid_of(1u);

  for (var batch = 0u; batch < BLOCK; batch += TOKENS) {
    let first = block_first + batch;
    for (var item = lane; item < TOKENS * CHUNKS; item += WORKGROUP) {
      let position = layer.sinks + clamp(first + item / CHUNKS, entry.encode_from, encode_end - 1u);
      let word = exact_word(entry.slot, SIDE, position, head);
      let value = signed_chunk(word, position, item % CHUNKS);
      vectors[item] = select(value, hadamard4(value), rotated);
    }
    for (var stride = 1u; stride < CHUNKS; stride *= 2u) {
      workgroupBarrier();
      for (var item = lane; item < TOKENS * CHUNKS / 2u; item += WORKGROUP) {
        let at = item / stride * (2u * stride) + item % stride;
        let a = vectors[at];
        let b = vectors[at + stride];
        vectors[at] = select(a, a + b, rotated);
        vectors[at + stride] = select(b, a - b, rotated);
      }
    }
    workgroupBarrier();

    for (var round = 0u; round < CODES; round += WORKGROUP / LANES) {
      let group = min(round + lane / LANES, CODES - 1u); // idle lanes repeat the last group
      var best = array<f32, MAX_TOKENS>();
      var best_code = array<u32, MAX_TOKENS>();
      for (var token = 0u; token < TOKENS; token += 1u) {
        best[token] = -3.0e38;
        points[token * QUADS + 0u] = vectors[token * CHUNKS + group * QUADS + 0u] - means(group * QUADS + 0u);
        points[token * QUADS + 1u] = vectors[token * CHUNKS + group * QUADS + 1u] - means(group * QUADS + 1u);
      }
      // |x - c|^2 is least where x.c - |c|^2 / 2 is largest, which takes fewer digits.
      for (var row = lane % LANES; row < CENTROIDS / ROW_CENTROIDS; row += LANES) {
        let words = codebook_quads[(codebook + HEAD_DIM + CHANNELS) / 4u + row];
        let code_of_0 = row * ROW_CENTROIDS + 0u;
        let c_0_0 = grid_0[0] + levels_of(words.x) * grid_0[1];
        let c_0_1 = grid_1[0] + levels_of(words.y) * grid_1[1];
        let half_square_0 = 0.5 * (dot(c_0_0, c_0_0) + dot(c_0_1, c_0_1));
        if (TOKENS > 0u) {
          let likeness = dot(points[0u], c_0_0) + dot(points[1u], c_0_1) - half_square_0;
          best_code[0u] = select(best_code[0u], code_of_0, likeness > best[0u]);
          best[0u] = max(best[0u], likeness);
        }
        if (TOKENS > 1u) {
          let likeness = dot(points[2u], c_0_0) + dot(points[3u], c_0_1) - half_square_0;
          best_code[1u] = select(best_code[1u], code_of_0, likeness > best[1u]);
          best[1u] = max(best[1u], likeness);
        }
        if (TOKENS > 2u) {
          let likeness = dot(points[4u], c_0_0) + dot(points[5u], c_0_1) - half_square_0;
          best_code[2u] = select(best_code[2u], code_of_0, likeness > best[2u]);
          best[2u] = max(best[2u], likeness);
        }
        if (TOKENS > 3u) {
          let likeness = dot(points[6u], c_0_0) + dot(points[7u], c_0_1) - half_square_0;
          best_code[3u] = select(best_code[3u], code_of_0, likeness > best[3u]);
          best[3u] = max(best[3u], likeness);
        }
        if (TOKENS > 4u) {
          let likeness = dot(points[8u], c_0_0) + dot(points[9u], c_0_1) - half_square_0;
          best_code[4u] = select(best_code[4u], code_of_0, likeness > best[4u]);
          best[4u] = max(best[4u], likeness);
        }
        if (TOKENS > 5u) {
          let likeness = dot(points[10u], c_0_0) + dot(points[11u], c_0_1) - half_square_0;
          best_code[5u] = select(best_code[5u], code_of_0, likeness > best[5u]);
          best[5u] = max(best[5u], likeness);
        }
        if (TOKENS > 6u) {
          let likeness = dot(points[12u], c_0_0) + dot(points[13u], c_0_1) - half_square_0;
          best_code[6u] = select(best_code[6u], code_of_0, likeness > best[6u]);
          best[6u] = max(best[6u], likeness);
        }
        if (TOKENS > 7u) {
          let likeness = dot(points[14u], c_0_0) + dot(points[15u], c_0_1) - half_square_0;
          best_code[7u] = select(best_code[7u], code_of_0, likeness > best[7u]);
          best[7u] = max(best[7u], likeness);
        }
        let code_of_1 = row * ROW_CENTROIDS + 1u;
        let c_1_0 = grid_0[0] + levels_of(words.z) * grid_0[1];
        let c_1_1 = grid_1[0] + levels_of(words.w) * grid_1[1];
        let half_square_1 = 0.5 * (dot(c_1_0, c_1_0) + dot(c_1_1, c_1_1));
        if (TOKENS > 0u) {
          let likeness = dot(points[0u], c_1_0) + dot(points[1u], c_1_1) - half_square_1;
          best_code[0u] = select(best_code[0u], code_of_1, likeness > best[0u]);
          best[0u] = max(best[0u], likeness);
        }
        if (TOKENS > 1u) {
          let likeness = dot(points[2u], c_1_0) + dot(points[3u], c_1_1) - half_square_1;
          best_code[1u] = select(best_code[1u], code_of_1, likeness > best[1u]);
          best[1u] = max(best[1u], likeness);
        }
        if (TOKENS > 2u) {
          let likeness = dot(points[4u], c_1_0) + dot(points[5u], c_1_1) - half_square_1;
          best_code[2u] = select(best_code[2u], code_of_1, likeness > best[2u]);
          best[2u] = max(best[2u], likeness);
        }
        if (TOKENS > 3u) {
          let likeness = dot(points[6u], c_1_0) + dot(points[7u], c_1_1) - half_square_1;
          best_code[3u] = select(best_code[3u], code_of_1, likeness > best[3u]);
          best[3u] = max(best[3u], likeness);
        }
        if (TOKENS > 4u) {
          let likeness = dot(points[8u], c_1_0) + dot(points[9u], c_1_1) - half_square_1;
          best_code[4u] = select(best_code[4u], code_of_1, likeness > best[4u]);
          best[4u] = max(best[4u], likeness);
        }
        if (TOKENS > 5u) {
          let likeness = dot(points[10u], c_1_0) + dot(points[11u], c_1_1) - half_square_1;
          best_code[5u] = select(best_code[5u], code_of_1, likeness > best[5u]);
          best[5u] = max(best[5u], likeness);
        }
        if (TOKENS > 6u) {
          let likeness = dot(points[12u], c_1_0) + dot(points[13u], c_1_1) - half_square_1;
          best_code[6u] = select(best_code[6u], code_of_1, likeness > best[6u]);
          best[6u] = max(best[6u], likeness);
        }
        if (TOKENS > 7u) {
          let likeness = dot(points[14u], c_1_0) + dot(points[15u], c_1_1) - half_square_1;
          best_code[7u] = select(best_code[7u], code_of_1, likeness > best[7u]);
          best[7u] = max(best[7u], likeness);
        }
      }
      for (var token = 0u; token < TOKENS; token += 1u) {
        likenesses[token * WORKGROUP + lane] = best[token];
        nearest[token * WORKGROUP + lane] = best_code[token];
      }
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
          codes[(batch + item / (WORKGROUP / LANES)) * CODES + item_group] = winner;
        }
      }
      workgroupBarrier();
    }
  }

  for (var word = lane; word < BLOCK / RECORD_TOKENS * RECORD_WORDS; word += WORKGROUP) {
    let record = word / RECORD_WORDS;
    write_word(entry, head, block_first + record * RECORD_TOKENS, record, word % RECORD_WORDS, encode_end);
  }
}

// Writes word word of the record whose first token is record_first, the workgroup's record record.
fn write_word(entry: Entry, head: u32, record_first: u32, record: u32, word: u32, encode_end: u32) {
  if (record_first >= encode_end) {
    return;
  }
  let at = page_word(entry.slot, head, record_first / PAGE_TOKENS, RECORD_TOKENS, RECORD_WORDS) +
    (record_first % PAGE_TOKENS) / RECORD_TOKENS * RECORD_WORDS + word;
  let kept = (entry.encode_from - min(record_first, entry.encode_from)) * CODES;
  var bits = 0u;
  if (kept > 0u) {
    bits = records[at] & kept_mask(word, kept);
  }
  let written = min(encode_end - record_first, RECORD_TOKENS) * CODES;
  let end = min(written, (word * 32u + 31u) / BITS + 1u);
  for (var item = max(kept, word * 32u / BITS); item < end; item += 1u) {
    let code = codes[record * RECORD_TOKENS * CODES + item];
    let first = item * BITS;
    if (first >= word * 32u) {
      bits |= code << (first - word * 32u);
    } else {
      bits |= code >> (word * 32u - first);
    }
  }
  records[at] = bits;
}
`;
