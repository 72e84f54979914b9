// Generated from schemes/coupled/encode_coupled.wgsl.hbs by @couplet/kv/generate. Do not edit: generate it again.

/** WGSL of `encode_c4b6_d48_anchored`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 48u;
const WORKGROUP: u32 = 64u;
const PAGE_TOKENS: u32 = 64u;
const CHANNELS: u32 = 4u; // channels per code
const BITS: u32 = 6u; // bits per code
const CENTROIDS: u32 = 64u;
const CODES: u32 = 12u; // codes per token
const RECORD_TOKENS: u32 = 4u;
const RECORD_WORDS: u32 = 9u;
const CODEBOOK_WORDS: u32 = 816u; // per head
const ROW_CENTROIDS: u32 = 4u; // centroids that one load brings
const ROW_TOKENS: u32 = 1u; // most tokens whose search is by rows
const LANES: u32 = 4u; // lanes that share the search for one code
const MAX_TOKENS: u32 = 8u;

override SIDE: u32 = 0u; // 0 encodes keys, 1 values
override TOKENS: u32 = 1u; // tokens a lane compares with a centroid it has loaded, at most MAX_TOKENS
override BLOCK: u32 = RECORD_TOKENS; // tokens of one workgroup: whole records, a multiple of TOKENS
const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
const NEAR: u32 = 128u; // distances the table has one by one
override INTERLEAVED: bool = false; // pairs are (2i, 2i + 1), not (i, i + half)
override ROTARY_CHUNKS: u32 = CHUNKS / 2u; // pairs of channels that rotate, in fours
override ANCHORS_LOW: u32 = 0u; // the logarithm of an anchor's tokens, four bits for each of the first eight bands of pairs
override ANCHORS_HIGH: u32 = 0u; // the same of the others

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
@group(0) @binding(3) var<storage, read> pages: array<u32>;
@group(0) @binding(4) var<storage, read> codebooks: array<u32>;
@group(0) @binding(5) var<storage, read> codebook_quads: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> records: array<u32>;
@group(0) @binding(7) var<storage, read> rope: array<vec4<f32>>;

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

// First word of a head's records in page page of the sequence in slot, for records of record_tokens tokens and record_words words.
fn page_word(slot: u32, head: u32, page: u32, record_tokens: u32, record_words: u32) -> u32 {
  let physical = pages[layer.page_table + slot * layer.sequence_pages + page];
  return (physical * layer.kv_heads + head) * (PAGE_TOKENS / record_tokens) * record_words;
}

var<workgroup> codes: array<u32, BLOCK * CODES>;
var<workgroup> distances: array<f32, WORKGROUP * TOKENS>;
var<workgroup> nearest: array<u32, WORKGROUP * TOKENS>;
var<private> scale: array<f32, CHANNELS>; // of the lane's group
var<private> low: array<f32, CHANNELS>; // the lowest level's number and a level's step, times scale
var<private> level_step: array<f32, CHANNELS>;
var<private> vectors: array<f32, MAX_TOKENS * CHANNELS>;
var<private> centroid: array<f32, CHANNELS>;

// The four levels in a word. They are signed on the way, because processors have no instruction for unsigned numbers.
fn levels_of(word: u32) -> vec4<f32> {
  return vec4<f32>(vec4<i32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u)));
}

// Loads group group of the exact vector at word word, two channels to a word.
fn load_vector(token: u32, word: u32, group: u32) {
  for (var pair = 0u; pair < CHANNELS / 2u; pair += 1u) {
    let channels = unpack2x16float(exact[word + group * (CHANNELS / 2u) + pair]);
    vectors[token * CHANNELS + 2u * pair] = channels.x * scale[2u * pair];
    vectors[token * CHANNELS + 2u * pair + 1u] = channels.y * scale[2u * pair + 1u];
  }
}

// Loads centroid code of group group, four levels to a word.
fn load_centroid(codebook: u32, group: u32, code: u32) {
  let at = codebook + HEAD_DIM + (group * CENTROIDS + code) * (CHANNELS / 4u);
  for (var quad = 0u; quad < CHANNELS / 4u; quad += 1u) {
    let levels = levels_of(codebooks[at + quad]);
    centroid[4u * quad] = low[4u * quad] + levels.x * level_step[4u * quad];
    centroid[4u * quad + 1u] = low[4u * quad + 1u] + levels.y * level_step[4u * quad + 1u];
    centroid[4u * quad + 2u] = low[4u * quad + 2u] + levels.z * level_step[4u * quad + 2u];
    centroid[4u * quad + 3u] = low[4u * quad + 3u] + levels.w * level_step[4u * quad + 3u];
  }
}

// Keeps scale and grid of channel i of the group.
fn load_channel(i: u32, grid_word: u32, channel_scale: f32) {
  let grid = unpack2x16float(grid_word);
  scale[i] = channel_scale;
  low[i] = grid.x * channel_scale;
  level_step[i] = grid.y / 64.0 * channel_scale;
}

// Loads scale and grid of group group.
fn load_grid(codebook: u32, first_scale: u32, group: u32) {
  for (var quad = 0u; quad < CHANNELS / 4u; quad += 1u) {
    let channel = group * CHANNELS + 4u * quad;
    let grid = codebook_quads[(codebook + channel) / 4u];
    let given = bitcast<vec4<f32>>(codebook_quads[(first_scale + channel) / 4u]);
    let scales = select(vec4<f32>(1.0), given, first_scale != 0u);
    load_channel(4u * quad, grid.x, scales.x);
    load_channel(4u * quad + 1u, grid.y, scales.y);
    load_channel(4u * quad + 2u, grid.z, scales.z);
    load_channel(4u * quad + 3u, grid.w, scales.w);
  }
}

// Bands that have no anchors: the first ones.
fn explicit_bands() -> u32 {
  return (select(countTrailingZeros(ANCHORS_LOW), 32u + countTrailingZeros(ANCHORS_HIGH), ANCHORS_LOW == 0u)) / 4u;
}

// The logarithm of the tokens of an anchor of a band that has some: a division by them is a shift.
fn anchor_shift(band: u32) -> u32 {
  return (select(ANCHORS_LOW, ANCHORS_HIGH, band >= 8u) >> (band % 8u * 4u)) & 15u;
}

fn anchor_tokens(band: u32) -> u32 {
  return 1u << anchor_shift(band);
}

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

// The chunk of the channels that turn with those of a chunk.
fn partner_chunk(chunk: u32) -> u32 {
  let apart = select(chunk + ROTARY_CHUNKS, chunk - ROTARY_CHUNKS, chunk >= ROTARY_CHUNKS);
  return select(apart, chunk, INTERLEAVED || chunk >= 2u * ROTARY_CHUNKS);
}

// Chunk chunk of coded token coded, turned by way times what the token is off the middle of its anchor.
fn anchored_chunk(value: vec4<f32>, partner: vec4<f32>, coded: u32, chunk: u32, way: f32) -> vec4<f32> {
  let pair = select(chunk % ROTARY_CHUNKS, chunk / 2u, INTERLEAVED);
  if (chunk >= 2u * ROTARY_CHUNKS || pair < 2u * explicit_bands()) {
    return value;
  }
  let tokens = anchor_tokens(pair / 2u);
  let place = coded % tokens;
  let ahead = place >= tokens / 2u;
  let angle = angle_of(select(tokens / 2u - place, place - tokens / 2u, ahead), pair);
  let second_half = chunk >= ROTARY_CHUNKS;
  let other = select(select(-partner, partner, second_half), value.yxwz * vec4<f32>(-1.0, 1.0, -1.0, 1.0), INTERLEAVED);
  let odd_chunk = chunk % 2u == 1u;
  let cosine = select(angle.cosine, select(angle.cosine.xxyy, angle.cosine.zzww, odd_chunk), INTERLEAVED);
  let sine = select(angle.sine, select(angle.sine.xxyy, angle.sine.zzww, odd_chunk), INTERLEAVED);
  return value * cosine + select(-way, way, ahead) * other * sine;
}

// Chunk chunk of the exact vector at word word, turned as coded token coded.
fn turned_chunk(word: u32, coded: u32, chunk: u32) -> vec4<f32> {
  return anchored_chunk(exact_chunk(word, chunk), exact_chunk(word, partner_chunk(chunk)), coded, chunk, 1.0);
}

fn exact_chunk(word: u32, chunk: u32) -> vec4<f32> {
  let at = word + 2u * chunk;
  return vec4<f32>(unpack2x16float(exact[at]), unpack2x16float(exact[at + 1u]));
}

// Loads group group of the exact vector at word word, turned as coded token coded.
fn load_turned(token: u32, word: u32, coded: u32, group: u32) {
  for (var quad = 0u; quad < CHANNELS / 4u; quad += 1u) {
    let turned = turned_chunk(word, coded, group * (CHANNELS / 4u) + quad);
    vectors[token * CHANNELS + 4u * quad] = turned.x * scale[4u * quad];
    vectors[token * CHANNELS + 4u * quad + 1u] = turned.y * scale[4u * quad + 1u];
    vectors[token * CHANNELS + 4u * quad + 2u] = turned.z * scale[4u * quad + 2u];
    vectors[token * CHANNELS + 4u * quad + 3u] = turned.w * scale[4u * quad + 3u];
  }
}

// Squared distance of a loaded vector to the loaded centroid.
fn distance_of(token: u32) -> f32 {
  var distance = 0.0;
  for (var i = 0u; i < CHANNELS; i += 1u) {
    let difference = vectors[token * CHANNELS + i] - centroid[i];
    distance += difference * difference;
  }
  return distance;
}

// Bits of word word that the first kept codes of a record fill.
fn kept_mask(word: u32, kept: u32) -> u32 {
  let bits = kept * BITS - min(kept * BITS, word * 32u);
  return select((1u << (bits & 31u)) - 1u, 0xffffffffu, bits >= 32u);
}

// Codes of the tokens that leave the exact tier (Coupled Quantization, arXiv 2405.03917 §3): nearest centroid, ties to the lowest index.
// A workgroup owns whole records, so tokens coded before are kept without atomics. Grid: (blocks of tokens, KV heads, entries).
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
  let model_head = layer.first_head + head;
  let codebook = select(layer.value_codebook, 0u, SIDE == 0u) + model_head * CODEBOOK_WORDS;
  let first_scale = select(layer.value_scale, layer.key_scale, SIDE == 0u);
  let head_scale = select(first_scale + model_head * HEAD_DIM, 0u, first_scale == 0u);

  for (var round = 0u; round < CODES; round += WORKGROUP / LANES) {
    let group = round + lane / LANES;
    let share = min(group, CODES - 1u); // idle lanes repeat the last group
    load_grid(codebook, head_scale, share);
    for (var batch = 0u; batch < BLOCK; batch += TOKENS) {
      let first = block_first + batch;
      var best = array<f32, MAX_TOKENS>();
      var best_code = array<u32, MAX_TOKENS>();
      for (var token = 0u; token < TOKENS; token += 1u) {
        best[token] = 3.0e38;
        let position = layer.sinks + min(max(first + token, entry.encode_from), encode_end - 1u);
        load_turned(token, exact_word(entry.slot, SIDE, position, head), position - layer.sinks, share);
      }
      // A lone token uses a centroid once, so that loads decide; and loops over sixteen channels of several tokens stay rolled.
      if (TOKENS <= ROW_TOKENS) {
        for (var row = lane % LANES; row < CENTROIDS / ROW_CENTROIDS; row += LANES) {
          let words = codebook_quads[(codebook + HEAD_DIM) / 4u + share * (CENTROIDS / ROW_CENTROIDS) + row];
          let code_of_0 = row * ROW_CENTROIDS + 0u;
          let levels_0_0 = levels_of(words.x);
          let c_0_0 = low[0u] + levels_0_0.x * level_step[0u];
          let c_0_1 = low[1u] + levels_0_0.y * level_step[1u];
          let c_0_2 = low[2u] + levels_0_0.z * level_step[2u];
          let c_0_3 = low[3u] + levels_0_0.w * level_step[3u];
          if (TOKENS > 0u) {
            var distance_0_0 = 0.0;
            let difference_0_0_0 = vectors[0u] - c_0_0;
            distance_0_0 += difference_0_0_0 * difference_0_0_0;
            let difference_0_0_1 = vectors[1u] - c_0_1;
            distance_0_0 += difference_0_0_1 * difference_0_0_1;
            let difference_0_0_2 = vectors[2u] - c_0_2;
            distance_0_0 += difference_0_0_2 * difference_0_0_2;
            let difference_0_0_3 = vectors[3u] - c_0_3;
            distance_0_0 += difference_0_0_3 * difference_0_0_3;
            best_code[0u] = select(best_code[0u], code_of_0, distance_0_0 < best[0u]);
            best[0u] = min(best[0u], distance_0_0);
          }
          let code_of_1 = row * ROW_CENTROIDS + 1u;
          let levels_1_0 = levels_of(words.y);
          let c_1_0 = low[0u] + levels_1_0.x * level_step[0u];
          let c_1_1 = low[1u] + levels_1_0.y * level_step[1u];
          let c_1_2 = low[2u] + levels_1_0.z * level_step[2u];
          let c_1_3 = low[3u] + levels_1_0.w * level_step[3u];
          if (TOKENS > 0u) {
            var distance_1_0 = 0.0;
            let difference_1_0_0 = vectors[0u] - c_1_0;
            distance_1_0 += difference_1_0_0 * difference_1_0_0;
            let difference_1_0_1 = vectors[1u] - c_1_1;
            distance_1_0 += difference_1_0_1 * difference_1_0_1;
            let difference_1_0_2 = vectors[2u] - c_1_2;
            distance_1_0 += difference_1_0_2 * difference_1_0_2;
            let difference_1_0_3 = vectors[3u] - c_1_3;
            distance_1_0 += difference_1_0_3 * difference_1_0_3;
            best_code[0u] = select(best_code[0u], code_of_1, distance_1_0 < best[0u]);
            best[0u] = min(best[0u], distance_1_0);
          }
          let code_of_2 = row * ROW_CENTROIDS + 2u;
          let levels_2_0 = levels_of(words.z);
          let c_2_0 = low[0u] + levels_2_0.x * level_step[0u];
          let c_2_1 = low[1u] + levels_2_0.y * level_step[1u];
          let c_2_2 = low[2u] + levels_2_0.z * level_step[2u];
          let c_2_3 = low[3u] + levels_2_0.w * level_step[3u];
          if (TOKENS > 0u) {
            var distance_2_0 = 0.0;
            let difference_2_0_0 = vectors[0u] - c_2_0;
            distance_2_0 += difference_2_0_0 * difference_2_0_0;
            let difference_2_0_1 = vectors[1u] - c_2_1;
            distance_2_0 += difference_2_0_1 * difference_2_0_1;
            let difference_2_0_2 = vectors[2u] - c_2_2;
            distance_2_0 += difference_2_0_2 * difference_2_0_2;
            let difference_2_0_3 = vectors[3u] - c_2_3;
            distance_2_0 += difference_2_0_3 * difference_2_0_3;
            best_code[0u] = select(best_code[0u], code_of_2, distance_2_0 < best[0u]);
            best[0u] = min(best[0u], distance_2_0);
          }
          let code_of_3 = row * ROW_CENTROIDS + 3u;
          let levels_3_0 = levels_of(words.w);
          let c_3_0 = low[0u] + levels_3_0.x * level_step[0u];
          let c_3_1 = low[1u] + levels_3_0.y * level_step[1u];
          let c_3_2 = low[2u] + levels_3_0.z * level_step[2u];
          let c_3_3 = low[3u] + levels_3_0.w * level_step[3u];
          if (TOKENS > 0u) {
            var distance_3_0 = 0.0;
            let difference_3_0_0 = vectors[0u] - c_3_0;
            distance_3_0 += difference_3_0_0 * difference_3_0_0;
            let difference_3_0_1 = vectors[1u] - c_3_1;
            distance_3_0 += difference_3_0_1 * difference_3_0_1;
            let difference_3_0_2 = vectors[2u] - c_3_2;
            distance_3_0 += difference_3_0_2 * difference_3_0_2;
            let difference_3_0_3 = vectors[3u] - c_3_3;
            distance_3_0 += difference_3_0_3 * difference_3_0_3;
            best_code[0u] = select(best_code[0u], code_of_3, distance_3_0 < best[0u]);
            best[0u] = min(best[0u], distance_3_0);
          }
        }
      }
      if (TOKENS > ROW_TOKENS) {
        for (var code = lane % LANES; code < CENTROIDS; code += LANES) {
          load_centroid(codebook, share, code);
          for (var token = 0u; token < TOKENS; token += 1u) {
            let distance = distance_of(token);
            if (distance < best[token]) {
              best[token] = distance;
              best_code[token] = code;
            }
          }
        }
      }
      for (var token = 0u; token < TOKENS; token += 1u) {
        distances[token * WORKGROUP + lane] = best[token];
        nearest[token * WORKGROUP + lane] = best_code[token];
      }
      workgroupBarrier();
      for (var item = lane; item < TOKENS * (WORKGROUP / LANES); item += WORKGROUP) {
        let at = item * LANES;
        var shortest = distances[at];
        var winner = nearest[at];
        for (var other = at + 1u; other < at + LANES; other += 1u) {
          let tie = distances[other] == shortest && nearest[other] < winner;
          if (distances[other] < shortest || tie) {
            shortest = distances[other];
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
