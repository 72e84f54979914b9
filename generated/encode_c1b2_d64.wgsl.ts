// Generated from templates/encode_coupled.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (2 bits with less coupling: the ablation that shows what coupling gains).

/** WGSL of `encode_c1b2_d64`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 64u;
const WORKGROUP: u32 = 64u;
const PAGE_TOKENS: u32 = 64u;
const CHANNELS: u32 = 1u; // channels per code
const BITS: u32 = 2u; // bits per code
const CENTROIDS: u32 = 4u;
const CODES: u32 = 64u; // codes per token
const RECORD_TOKENS: u32 = 1u;
const RECORD_WORDS: u32 = 4u;
const CODEBOOK_WORDS: u32 = 128u; // per head
const LANES: u32 = 1u; // lanes that share the search for one code

override SIDE: u32 = 0u; // 0 encodes keys, 1 values

// One sequence's share of a step. \`first\` is its first token's row in the host's buffers.
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

struct Layer {
  kv_heads: u32,
  group: u32, // query heads per KV head
  sinks: u32,
  window: u32,
  ring: u32, // slots of the ring that holds the recent tokens
  sequence_pages: u32, // pages in one sequence's page table
  io_half: u32, // 1 where the host's buffers hold f16
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
}

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<uniform> layer: Layer;
@group(0) @binding(2) var<storage, read> exact: array<u32>;
@group(0) @binding(3) var<storage, read> pages: array<u32>;
@group(0) @binding(4) var<storage, read> codebooks: array<u32>;
@group(0) @binding(5) var<storage, read_write> records: array<u32>;

// A query at position i sees token j <= i exactly where j < sinks or j > i - window, else by its code.
// Coded tokens are counted from behind the sinks.

// How many coded tokens a query at \`position\` sees.
fn coded_visible(entry: Entry, position: u32) -> u32 {
  let hidden = layer.sinks + layer.window;
  let aged = select(0u, position + 1u - min(hidden, position + 1u), position + 1u > hidden);
  let floor = entry.exact_from - min(layer.sinks, entry.exact_from);
  return max(aged, min(floor, position + 1u - min(layer.sinks, position + 1u)));
}

// The exact buffer's slot of the token at \`position\`.
fn exact_slot(position: u32) -> u32 {
  if (position < layer.sinks) {
    return position;
  }
  return layer.sinks + (position - layer.sinks) % layer.ring;
}

// First word of the exact vector of a head at \`position\`; side 0 holds keys, side 1 values.
fn exact_word(slot: u32, side: u32, position: u32, head: u32) -> u32 {
  let row = (slot * 2u + side) * (layer.sinks + layer.ring) + exact_slot(position);
  return (row * layer.kv_heads + head) * (HEAD_DIM / 2u);
}

// First word of a head's records in page \`page\` of the sequence in \`slot\`, for records of \`record_tokens\` tokens and \`record_words\` words.
fn page_word(slot: u32, head: u32, page: u32, record_tokens: u32, record_words: u32) -> u32 {
  let physical = pages[slot * layer.sequence_pages + page];
  return (physical * layer.kv_heads + head) * (PAGE_TOKENS / record_tokens) * record_words;
}

var<workgroup> codes: array<u32, RECORD_TOKENS * CODES>;
var<workgroup> distances: array<f32, WORKGROUP>;
var<workgroup> nearest: array<u32, WORKGROUP>;

var<private> group_vector: f32;
var<private> group_scale: f32;

// Loads group \`group\` of the exact vector at word \`word\`, and its channel scale.
fn load_group(word: u32, scale: u32, head: u32, group: u32) {
  group_vector = unpack2x16float(exact[word + (group >> 1u)])[group & 1u];
  group_scale = 1.0;
  if (scale != 0u) {
    group_scale = bitcast<f32>(codebooks[scale + head * HEAD_DIM + group]);
  }
}

// Squared distance of the loaded group to centroid \`code\`, two centroids to a word.
fn group_distance(codebook: u32, group: u32, code: u32) -> f32 {
  let at = group * CENTROIDS + code;
  let centroid = unpack2x16float(codebooks[codebook + (at >> 1u)])[at & 1u];
  let difference = (group_vector - centroid) * group_scale;
  return difference * difference;
}

// Bits of word \`word\` that the first \`kept\` codes of the record fill.
fn kept_mask(word: u32, kept: u32) -> u32 {
  let bits = kept * BITS - min(kept * BITS, word * 32u);
  return select((1u << (bits & 31u)) - 1u, 0xffffffffu, bits >= 32u);
}

// Codes of the tokens that leave the exact tier (Coupled Quantization, arXiv 2405.03917 §3): nearest centroid, ties to the lowest index.
// A workgroup owns one record, so tokens coded before are kept without atomics. Grid: (records, KV heads, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z];
  let head = workgroup.y;
  let last = entry.start + entry.count - 1u;
  let encode_end = coded_visible(entry, last);
  let record_first = (entry.encode_from / RECORD_TOKENS + workgroup.x) * RECORD_TOKENS;
  if (record_first >= encode_end || entry.encode_from >= encode_end) {
    return;
  }
  let codebook = select(layer.value_codebook, 0u, SIDE == 0u) + head * CODEBOOK_WORDS;
  let scale = select(layer.value_scale, layer.key_scale, SIDE == 0u);

  for (var round = 0u; round < RECORD_TOKENS * CODES; round += WORKGROUP / LANES) {
    let item = round + lane / LANES;
    let token = record_first + item / CODES;
    let group = item % CODES;
    var best = 3.0e38;
    var best_code = 0u;
    if (item < RECORD_TOKENS * CODES && token >= entry.encode_from && token < encode_end) {
      let exact_at = exact_word(entry.slot, SIDE, layer.sinks + token, head);
      load_group(exact_at, scale, head, group);
      for (var code = lane % LANES; code < CENTROIDS; code += LANES) {
        let distance = group_distance(codebook, group, code);
        if (distance < best) {
          best = distance;
          best_code = code;
        }
      }
    }
    distances[lane] = best;
    nearest[lane] = best_code;
    workgroupBarrier();
    if (lane % LANES == 0u && item < RECORD_TOKENS * CODES) {
      for (var other = lane + 1u; other < lane + LANES; other += 1u) {
        let tie = distances[other] == best && nearest[other] < best_code;
        if (distances[other] < best || tie) {
          best = distances[other];
          best_code = nearest[other];
        }
      }
      codes[item] = best_code;
    }
    workgroupBarrier();
  }

  let at = page_word(entry.slot, head, record_first / PAGE_TOKENS, RECORD_TOKENS, RECORD_WORDS) +
    (record_first % PAGE_TOKENS) / RECORD_TOKENS * RECORD_WORDS;
  let kept = (entry.encode_from - min(record_first, entry.encode_from)) * CODES;
  for (var word = lane; word < RECORD_WORDS; word += WORKGROUP) {
    var bits = 0u;
    if (kept > 0u) {
      bits = records[at + word] & kept_mask(word, kept);
    }
    let end = min(RECORD_TOKENS * CODES, (word * 32u + 31u) / BITS + 1u);
    for (var item = max(kept, word * 32u / BITS); item < end; item += 1u) {
      let first = item * BITS;
      if (first >= word * 32u) {
        bits |= codes[item] << (first - word * 32u);
      } else {
        bits |= codes[item] >> (word * 32u - first);
      }
    }
    records[at + word] = bits;
  }
}
`;
