// Generated from templates/schemes/hadamard/encode_rotated.wgsl.hbs by `deno task generate`. Do not edit: change the template, or
// the row in codegen/variants.ts (1.38 and 2.38 bits without calibration, after NSNQuant).

/** WGSL of `encode_u8b8_d128`. */
export const wgsl: string = `
const HEAD_DIM: u32 = 128u;
const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
const WORKGROUP: u32 = 64u;
const PAGE_TOKENS: u32 = 64u;
const CHANNELS: u32 = 8u; // channels per code
const BITS: u32 = 8u; // bits per code
const ROW_CENTROIDS: u32 = 1u; // that one load brings
const CENTROIDS: u32 = 256u; // of all heads and groups
const CODES: u32 = 16u; // codes per token
const RECORD_TOKENS: u32 = 64u;
const RECORD_WORDS: u32 = 337u;
const METADATA_WORDS: u32 = 81u; // in front of a record's codes
const TOKEN_WORDS: u32 = CODES * BITS / 32u; // of a token's codes
const TOKENS: u32 = 8u; // tokens coded at once, which divide those of a record
const LANES: u32 = 4u; // lanes that share the search for one code
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
@group(0) @binding(4) var<storage, read> codebook_quads: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> records: array<u32>;
@group(0) @binding(6) var<storage, read_write> counters: array<atomic<u32>, 5>;

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

// Four channels of a group.
alias Part = vec4<f32>;

// Centroids that lie side by side in one load, two channels to a word.
alias Row = vec4<u32>;

// Part part of group group of the vector of token token.
fn vector_part(token: u32, group: u32, part: u32) -> Part {
  return vectors[token * CHUNKS + group * (CHANNELS / 4u) + part];
}

fn centroid_row(codebook: u32, row: u32) -> Row {
  return codebook_quads[codebook / 4u + row];
}

// Part part of the centroids of a row.
fn row_part(row: Row, part: u32) -> Part {
  return vec4<f32>(unpack2x16float(row[2u * part]), unpack2x16float(row[2u * part + 1u]));
}

fn product(a: Part, b: Part) -> f32 {
  return dot(a, b);
}

// All of a record's tokens leave the exact tier at once, and are coded together (NSNQuant, arXiv 2505.18231 §4).
var<workgroup> lowest: array<vec4<f32>, CHUNKS>; // what the tokens' channels are clamped to
var<workgroup> highest: array<vec4<f32>, CHUNKS>;
var<workgroup> magnitude_bits: atomic<u32>;
var<private> token_sum: vec4<f32>; // of the lane's chunk, before any clamping
var<private> is_limited: bool; // some of them are clamped

alias Numbers = vec4<f32>;

const BEYOND: f32 = 65504.0; // where numbers lie that f16 could not hold
const REACH: f32 = 16.0; // how far a number may lie from all others of its channel, in their range or the typical magnitude

// What the numbers of channels lie among: the smallest, the second smallest, the second largest and the largest.
struct Extremes {
  low: Numbers,
  low_2: Numbers,
  high_2: Numbers,
  high: Numbers,
}

struct Limits {
  low: Numbers,
  high: Numbers,
}

// Extremes of no numbers.
fn no_extremes() -> Extremes {
  return Extremes(Numbers(3.0e38), Numbers(3.0e38), Numbers(-3.0e38), Numbers(-3.0e38));
}

fn with_numbers(found: Extremes, numbers: Numbers) -> Extremes {
  return Extremes(
    min(found.low, numbers),
    min(found.low_2, max(found.low, numbers)),
    max(found.high_2, min(found.high, numbers)),
    max(found.high, numbers),
  );
}

// The same without those that f16 could not hold.
fn with_held(found: Extremes, numbers: Numbers) -> Extremes {
  let held = abs(numbers) < Numbers(BEYOND);
  let lows = with_numbers(found, select(Numbers(3.0e38), numbers, held));
  let highs = with_numbers(found, select(Numbers(-3.0e38), numbers, held));
  return Extremes(lows.low, lows.low_2, highs.high_2, highs.high);
}

// Where some are of them, those that f16 could hold; all where these are fewer than three.
fn settled(found: Extremes, held: Extremes, has_bad: bool) -> Extremes {
  let few = held.low_2 > held.high_2;
  return Extremes(
    select(found.low, select(held.low, found.low, few), has_bad),
    select(found.low_2, select(held.low_2, found.low, few), has_bad),
    select(found.high_2, select(held.high_2, found.high, few), has_bad),
    select(found.high, select(held.high, found.high, few), has_bad),
  );
}

// The magnitude of a channel, which no single number decides.
fn magnitudes_of(found: Extremes) -> Numbers {
  return max(abs(found.low_2), abs(found.high_2));
}

// The typical magnitude, given the sum of all channels' as the bits of f16: their mean is nearly that of logarithms, so that a few
// large channels change it little, and whole numbers add up alike everywhere.
fn typical_of(magnitude_bits: u32) -> f32 {
  return unpack2x16float(magnitude_bits / HEAD_DIM).x;
}

// What numbers are clamped to: they lie within as a rule. One that lies far from all others, on either side, is taken for the
// nearest of them.
fn limits_of(found: Extremes, typical: f32) -> Limits {
  let reach = REACH * max(found.high_2 - found.low_2, Numbers(typical));
  return Limits(
    select(found.low, found.low_2, found.low_2 - found.low > reach),
    select(found.high, found.high_2, found.high - found.high_2 > reach),
  );
}

// The first word of the exact vector of token token of the record.
fn token_word(entry: Entry, head: u32, record_first: u32, token: u32) -> u32 {
  return exact_word(entry.slot, SIDE, layer.sinks + record_first + token, head);
}

// Finds what keeps a bad number from the record's other tokens. There are at least as many lanes as chunks.
fn find_limits(entry: Entry, head: u32, record_first: u32, lane: u32) {
  let chunk = min(lane, CHUNKS - 1u); // lanes past the last chunk repeat it
  var found = no_extremes();
  token_sum = vec4<f32>();
  for (var token = 0u; token < RECORD_TOKENS; token += 1u) {
    let numbers = exact_chunk(token_word(entry, head, record_first, token), chunk);
    found = with_numbers(found, numbers);
    token_sum += numbers;
  }
  let least = found.low;
  let most = found.high;
  let has_bad = any(max(-least, most) >= vec4<f32>(BEYOND));
  var held = no_extremes();
  for (var token = 0u; token < select(0u, RECORD_TOKENS, has_bad); token += 1u) {
    held = with_held(held, exact_chunk(token_word(entry, head, record_first, token), chunk));
  }
  found = settled(found, held, has_bad);
  if (lane < CHUNKS) {
    let magnitudes = magnitudes_of(found);
    let xy = pack2x16float(magnitudes.xy);
    let zw = pack2x16float(magnitudes.zw);
    atomicAdd(&magnitude_bits, (xy & 0xffffu) + (xy >> 16u) + (zw & 0xffffu) + (zw >> 16u));
  }
  workgroupBarrier();
  if (lane < CHUNKS) {
    let limits = limits_of(found, typical_of(atomicLoad(&magnitude_bits)));
    lowest[chunk] = limits.low;
    highest[chunk] = limits.high;
    is_limited = any(limits.low > least) || any(limits.high < most);
  }
  workgroupBarrier();
}

// Chunk chunk of the exact vector at word word, within the limits.
fn limited_chunk(word: u32, chunk: u32) -> vec4<f32> {
  return clamp(exact_chunk(word, chunk), lowest[chunk], highest[chunk]);
}

// Chunk chunk, which is the lane's, of the mean of the record's tokens. They are added up again where they are coded otherwise.
fn record_mean(entry: Entry, head: u32, record_first: u32, chunk: u32, is_waved: bool) -> vec4<f32> {
  let again = is_limited || is_waved;
  var sum = select(token_sum, vec4<f32>(), again);
  for (var token = 0u; token < select(0u, RECORD_TOKENS, again); token += 1u) {
    sum += kept_chunk(token_word(entry, head, record_first, token), token, chunk);
  }
  return sum / f32(RECORD_TOKENS);
}

const LEAST_EXPONENT: u32 = 87u; // of the largest mean that the step of a record's means follows

var<workgroup> mean: array<vec4<f32>, CHUNKS>; // as it will be read; zero until it is known
var<workgroup> largest_mean: atomic<u32>; // the bits of its magnitude

// Keeps chunk chunk of the mean as it is.
fn hold_mean(chunk: u32, value: vec4<f32>) {
  mean[chunk] = value;
  let magnitudes = abs(value);
  let most = max(max(magnitudes.x, magnitudes.y), max(magnitudes.z, magnitudes.w));
  atomicMax(&largest_mean, bitcast<u32>(most));
}

// Writes the mean as whole numbers of one step, the smallest power of two that the largest of them allows, and keeps it as it will be
// read. Numbers have two bytes, or one where they are short.
fn write_means(record: u32, short: bool, lane: u32) {
  workgroupBarrier();
  let exponent = max(atomicLoad(&largest_mean) >> 23u, LEAST_EXPONENT) - select(14u, 6u, short);
  let step = bitcast<f32>(exponent << 23u);
  let most = vec4<f32>(select(32767.0, 127.0, short));
  for (var chunk = lane; chunk < CHUNKS; chunk += WORKGROUP) {
    let steps = clamp(round(mean[chunk] * bitcast<f32>((254u - exponent) << 23u)), -most, most);
    let numbers = bitcast<vec4<u32>>(vec4<i32>(steps));
    mean[chunk] = steps * step;
    if (short) {
      let bytes = numbers & vec4<u32>(0xffu);
      records[record + chunk] = bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
    } else {
      records[record + 2u * chunk] = (numbers.x & 0xffffu) | (numbers.y << 16u);
      records[record + 2u * chunk + 1u] = (numbers.z & 0xffffu) | (numbers.w << 16u);
    }
  }
  if (lane == 0u) {
    records[record + 2u * CHUNKS] = bitcast<u32>(step);
  }
}

const WAVES: u32 = 16u; // most of a record
const HALF_PI: f32 = 1.5707964;

// Cosine and sine of an angle, in 2^-25 of a turn.
fn cosine_sine(angle: u32) -> vec2<f32> {
  let quarter = ((angle & 0x1ffffffu) + 0x400000u) >> 23u;
  let rest = i32(angle & 0x1ffffffu) - i32(quarter << 23u);
  let x = f32(rest) * (HALF_PI / 8388608.0);
  let y = x * x;
  let sine = x * (1.0 + y * (-1.0 / 6.0 + y * (1.0 / 120.0 + y * (-1.0 / 5040.0 + y / 362880.0))));
  let cosine = 1.0 + y * (-0.5 + y * (1.0 / 24.0 + y * (-1.0 / 720.0 + y / 40320.0)));
  let turned = select(vec2<f32>(cosine, sine), vec2<f32>(-sine, cosine), (quarter & 1u) == 1u);
  return select(turned, -turned, (quarter & 2u) == 2u);
}

// What a wave adds to its channel, in token token of a record. Its first word has the channel, and from bit 8 on how far it turns
// from token to token, in 2^-24 of a turn; its second the factors of cosine and sine, counted from the record's middle, in f16.
fn wave_at(wave: vec2<u32>, token: u32) -> f32 {
  let angle = (wave.x >> 8u) * (2u * token - 63u); // modulo 2^32, as a turn is modulo 2^25
  let factors = unpack2x16float(wave.y) * cosine_sine(angle);
  return factors.x + factors.y;
}

const LEAST_SHARE: f32 = 0.75; // of its energy that a wave has
const TRIES: u32 = 64u; // steps that are tried at once
const WAVE_LANES: u32 = WORKGROUP / WAVES; // lanes that try steps for one channel
const QUADS: u32 = RECORD_TOKENS / 4u;

var<workgroup> waves: array<vec2<u32>, WAVES>;
var<private> wave_total: u32; // of the record
var<workgroup> wave_channels: array<u32, WAVES>; // those that may have one
var<workgroup> loud_channels: atomic<u32>;
var<workgroup> wave_count: u32; // of those

// What the record's waves add to chunk chunk of token token.
fn waves_of(token: u32, chunk: u32) -> vec4<f32> {
  var sum = vec4<f32>();
  for (var i = 0u; i < wave_total; i += 1u) {
    let wave = waves[i];
    let channels = vec4<u32>(0u, 1u, 2u, 3u) + 4u * chunk;
    if ((wave.x & 0xffu) / 4u == chunk) {
      sum += select(vec4<f32>(), vec4<f32>(wave_at(wave, token)), channels == vec4<u32>(wave.x & 0xffu));
    }
  }
  return sum;
}

// The wave of least squares with a given step in one channel's numbers, its energy and theirs.
struct WaveFit {
  cosine: f32,
  sine: f32,
  energy: f32,
  total: f32,
}

// The numbers lie in vectors from quad first on. Cosines and sines around the middle are orthogonal, and each number has another as
// far from the middle.
fn fit_wave(first: u32, step: u32) -> WaveFit {
  let starts = array<vec2<f32>, 4>(
    cosine_sine(7u * step),
    cosine_sine(5u * step),
    cosine_sine(3u * step),
    cosine_sine(step),
  );
  var cosines = vec4<f32>(starts[0].x, starts[1].x, starts[2].x, starts[3].x);
  var sines = vec4<f32>(starts[0].y, starts[1].y, starts[2].y, starts[3].y);
  let turn = cosine_sine(8u * step);
  var even = vec4<f32>();
  var odd = vec4<f32>();
  var sine_squares = vec4<f32>();
  var total = vec4<f32>();
  for (var quad = 0u; quad < QUADS / 2u; quad += 1u) {
    let before = vectors[first + QUADS / 2u - 1u - quad];
    let behind = vectors[first + QUADS / 2u + quad].wzyx;
    even += (behind + before) * cosines;
    odd += (behind - before) * sines;
    sine_squares += 2.0 * sines * sines;
    total += before * before + behind * behind;
    let turned = cosines * turn.x - sines * turn.y;
    sines = sines * turn.x + cosines * turn.y;
    cosines = turned;
  }
  let ones = vec4<f32>(1.0);
  let squares = dot(sine_squares, ones);
  let slope = dot(odd, ones);
  let cosine = dot(even, ones) / (f32(RECORD_TOKENS) - squares);
  // The slower the wave, the larger the factor of a slope, up to the largest that is kept.
  let sine = clamp(slope / max(squares, 1e-12), -BEYOND, BEYOND);
  let energy = cosine * dot(even, ones) + sine * (2.0 * slope - sine * squares);
  return WaveFit(cosine, sine, energy, dot(total, ones));
}

// Of steps around middle, spacing apart, the one whose wave has most energy, of several the least.
fn best_step(first: u32, middle: u32, spacing: u32, lane: u32) -> u32 {
  var most = -1.0;
  var best = 0u;
  for (var i = lane % WAVE_LANES; i < TRIES; i += WAVE_LANES) {
    let step = max(middle + i * spacing, TRIES / 2u * spacing) - TRIES / 2u * spacing;
    let energy = fit_wave(first, step).energy;
    best = select(best, step, energy > most);
    most = max(most, energy);
  }
  likenesses[lane] = most;
  nearest[lane] = best;
  workgroupBarrier();
  let own = lane / WAVE_LANES * WAVE_LANES;
  for (var other = own; other < own + WAVE_LANES; other += 1u) {
    let tie = likenesses[other] == most && nearest[other] < best;
    best = select(best, nearest[other], likenesses[other] > most || tie);
    most = max(most, likenesses[other]);
  }
  workgroupBarrier();
  return best;
}

const DROWNED: f32 = 16.0; // what is coded, in multiples of the noise, where keys drown in what could not be taken off

var<private> key_noise: f32; // energy of what changes from token to token, over the record; only lane 0 knows

// How well numbers follow from those before and behind them: in a wave of any frequency, and in a constant, the sum of two numbers
// is a multiple of the one between.
struct Steadiness {
  before: vec4<f32>,
  middle: vec4<f32>,
  sums: vec4<f32>, // squared sums of neighbours
  products: vec4<f32>, // of these sums and the numbers between
  squares: vec4<f32>, // of the numbers between
}

fn no_steadiness() -> Steadiness {
  return Steadiness(vec4<f32>(), vec4<f32>(), vec4<f32>(), vec4<f32>(), vec4<f32>());
}

fn with_next(found: Steadiness, next: vec4<f32>, token: u32) -> Steadiness {
  let around = select(vec4<f32>(), found.before + next, token >= 2u);
  let middle = select(vec4<f32>(), found.middle, token >= 2u);
  return Steadiness(
    found.middle,
    next,
    found.sums + around * around,
    found.products + around * middle,
    found.squares + middle * middle,
  );
}

// The energy of what does not follow from the neighbours.
fn noise_of(found: Steadiness) -> vec4<f32> {
  let factor = found.products / max(found.squares, vec4<f32>(1e-12));
  let rest = max(found.sums - factor * found.products, vec4<f32>());
  return rest / (2.0 + factor * factor) * (f32(RECORD_TOKENS) / f32(RECORD_TOKENS - 2u));
}

// What a model adds to single channels of all keys, such as a bias, turns with the position in keys as they are scored, so that no
// mean takes it off. Finds it in channels that are far louder than others, and writes it behind the mean.
fn find_waves(entry: Entry, head: u32, record: u32, record_first: u32, lane: u32) {
  if (lane < CHUNKS) {
    var energy = vec4<f32>();
    var steadiness = no_steadiness();
    for (var token = 0u; token < RECORD_TOKENS; token += 1u) {
      let numbers = limited_chunk(token_word(entry, head, record_first, token), lane);
      energy += numbers * numbers;
      steadiness = with_next(steadiness, numbers, token);
    }
    vectors[lane] = energy;
    likenesses[lane] = dot(noise_of(steadiness), vec4<f32>(1.0));
  }
  workgroupBarrier();
  let typical = typical_of(atomicLoad(&magnitude_bits));
  for (var channel = lane; channel < HEAD_DIM; channel += WORKGROUP) {
    let energy = vectors[channel / 4u][channel % 4u];
    if (energy > typical * typical * f32(RECORD_TOKENS)) {
      var rank = 0u;
      for (var other = 0u; other < HEAD_DIM; other += 1u) {
        let own = vectors[other / 4u][other % 4u];
        rank += select(0u, 1u, own > energy || (own == energy && other < channel));
      }
      if (rank < WAVES) {
        wave_channels[rank] = channel;
      }
      atomicAdd(&loud_channels, 1u);
    }
  }
  workgroupBarrier();
  if (lane == 0u) {
    for (var chunk = 0u; chunk < CHUNKS; chunk += 1u) {
      key_noise += likenesses[chunk];
    }
    wave_count = min(atomicLoad(&loud_channels), WAVES);
  }
  let count = workgroupUniformLoad(&wave_count);
  if (count > 0u) {
    for (var item = lane; item < WAVES * QUADS; item += WORKGROUP) {
      let channel = wave_channels[min(item / QUADS, count - 1u)];
      var numbers = vec4<f32>();
      for (var i = 0u; i < 4u; i += 1u) {
        let word = token_word(entry, head, record_first, item % QUADS * 4u + i);
        numbers[i] = limited_chunk(word, channel / 4u)[channel % 4u];
      }
      vectors[item] = numbers;
    }
    workgroupBarrier();
    let own = lane / WAVE_LANES;
    let first = own * QUADS;
    // All steps up to a quarter turn, then ever closer around the best. No rotary embedding turns by more than a radian.
    let coarse = best_step(first, (TRIES / 2u) << 16u, 1u << 16u, lane);
    let fine = best_step(first, coarse, 1u << 11u, lane);
    let step = best_step(first, fine, 1u << 6u, lane);
    let fit = fit_wave(first, step);
    let kept = own < count && fit.energy >= LEAST_SHARE * fit.total;
    nearest[own] = select(0u, 1u, kept);
    workgroupBarrier();
    var place = 0u;
    for (var other = 0u; other < count; other += 1u) {
      wave_total += nearest[other];
      place += select(0u, nearest[other], other < own);
    }
    if (kept && lane % WAVE_LANES == 0u) {
      let factors = clamp(vec2<f32>(fit.cosine, fit.sine), vec2<f32>(-BEYOND), vec2<f32>(BEYOND));
      waves[place] = vec2<u32>(wave_channels[own] | (step << 8u), pack2x16float(factors));
    }
    workgroupBarrier();
  }
  for (var word = lane; word < CHUNKS; word += WORKGROUP) {
    records[record + CHUNKS + word] = select(0u, waves[min(word / 2u, WAVES - 1u)][word % 2u], word < 2u * WAVES);
  }
}

// Chunk chunk of the exact vector at word word, of token token of the record, as it is coded.
fn kept_chunk(word: u32, token: u32, chunk: u32) -> vec4<f32> {
  return limited_chunk(word, chunk) - waves_of(token, chunk);
}

// The mean of the rotated vectors, which is the rotated mean.
fn begin_record(entry: Entry, head: u32, record: u32, record_first: u32, lane: u32) {
  find_limits(entry, head, record_first, lane);
  if (SIDE == 0u) {
    find_waves(entry, head, record, record_first, lane);
  }
  for (var chunk = lane; chunk < CHUNKS; chunk += WORKGROUP) {
    let value = record_mean(entry, head, record_first, chunk, wave_total > 0u);
    vectors[chunk] = hadamard4(value * channel_signs(chunk) * SPREAD);
  }
  transform_vectors(lane);
  for (var chunk = lane; chunk < CHUNKS; chunk += WORKGROUP) {
    hold_mean(chunk, vectors[chunk]);
  }
  write_means(record, SIDE == 0u, lane);
}

// Counts the record where its codes are spent on constants of the model that neither waves nor the mean took off.
fn end_record(energy: f32, lane: u32) {
  if (SIDE == 0u) {
    likenesses[lane] = energy;
    workgroupBarrier();
    if (lane == 0u) {
      var coded = 0.0;
      for (var other = 0u; other < min(TOKENS, WORKGROUP); other += 1u) {
        coded += likenesses[other];
      }
      if (coded > DROWNED * f32(HEAD_DIM) * SPREAD * SPREAD * key_noise) {
        atomicAdd(&counters[2], 1u);
      }
    }
  }
}

fn centred(value: vec4<f32>, chunk: u32) -> vec4<f32> {
  return value - mean[chunk];
}

// Writes the scales of the batch's tokens, four to a word: what is decoded is as long as what was coded.
fn write_scales(
  entry: Entry,
  record: u32,
  first: u32,
  batch: u32,
  encode_end: u32,
  lane: u32,
) {
  for (var token = lane; token < TOKENS; token += WORKGROUP) {
    var total = 0.0;
    for (var group = 0u; group < CODES; group += 1u) {
      total += 2.0 * half_squares[codes[token * CODES + group]];
    }
    let scale = deviations[token] / sqrt(total / f32(HEAD_DIM));
    // Binary16 without its sign and its lowest bits.
    let half = pack2x16float(vec2<f32>(min(scale, 65504.0), 0.0)) & 0x7fffu;
    deviations[token] = f32(min((half + 0x40u) >> 7u, 0xf7u));
  }
  workgroupBarrier();
  for (var word = lane; word < TOKENS / 4u; word += WORKGROUP) {
    records[record + METADATA_WORDS - RECORD_TOKENS / 4u + batch / 4u + word] = u32(deviations[4u * word]) |
      (u32(deviations[4u * word + 1u]) << 8u) | (u32(deviations[4u * word + 2u]) << 16u) |
      (u32(deviations[4u * word + 3u]) << 24u);
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
    let c_0_1 = row_part(centroids, 1u);
    half_squares[row * ROW_CENTROIDS + 0u] = 0.5 * (product(c_0_0, c_0_0) + product(c_0_1, c_0_1));
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
      let x_0_1 = vector_part(0u, group, 1u);
      var best_0 = -3.0e38;
      var code_0 = 0u;
      let deviation_1 = deviations[1u];
      let x_1_0 = vector_part(1u, group, 0u);
      let x_1_1 = vector_part(1u, group, 1u);
      var best_1 = -3.0e38;
      var code_1 = 0u;
      let deviation_2 = deviations[2u];
      let x_2_0 = vector_part(2u, group, 0u);
      let x_2_1 = vector_part(2u, group, 1u);
      var best_2 = -3.0e38;
      var code_2 = 0u;
      let deviation_3 = deviations[3u];
      let x_3_0 = vector_part(3u, group, 0u);
      let x_3_1 = vector_part(3u, group, 1u);
      var best_3 = -3.0e38;
      var code_3 = 0u;
      let deviation_4 = deviations[4u];
      let x_4_0 = vector_part(4u, group, 0u);
      let x_4_1 = vector_part(4u, group, 1u);
      var best_4 = -3.0e38;
      var code_4 = 0u;
      let deviation_5 = deviations[5u];
      let x_5_0 = vector_part(5u, group, 0u);
      let x_5_1 = vector_part(5u, group, 1u);
      var best_5 = -3.0e38;
      var code_5 = 0u;
      let deviation_6 = deviations[6u];
      let x_6_0 = vector_part(6u, group, 0u);
      let x_6_1 = vector_part(6u, group, 1u);
      var best_6 = -3.0e38;
      var code_6 = 0u;
      let deviation_7 = deviations[7u];
      let x_7_0 = vector_part(7u, group, 0u);
      let x_7_1 = vector_part(7u, group, 1u);
      var best_7 = -3.0e38;
      var code_7 = 0u;
      // |x / deviation - c|^2 is least where x.c - deviation |c|^2 / 2 is largest; no division, so that ties are exact.
      for (var row = lane % LANES; row < CENTROIDS / ROW_CENTROIDS; row += LANES) {
        let centroids = centroid_row(codebook, row);
        let code_of_0 = row * ROW_CENTROIDS + 0u;
        let c_0_0 = row_part(centroids, 0u);
        let c_0_1 = row_part(centroids, 1u);
        let half_square_0 = 0.5 * (product(c_0_0, c_0_0) + product(c_0_1, c_0_1));
        let likeness_0_0 = product(x_0_0, c_0_0) + product(x_0_1, c_0_1) - deviation_0 * half_square_0;
        code_0 = select(code_0, code_of_0, likeness_0_0 > best_0);
        best_0 = max(best_0, likeness_0_0);
        let likeness_0_1 = product(x_1_0, c_0_0) + product(x_1_1, c_0_1) - deviation_1 * half_square_0;
        code_1 = select(code_1, code_of_0, likeness_0_1 > best_1);
        best_1 = max(best_1, likeness_0_1);
        let likeness_0_2 = product(x_2_0, c_0_0) + product(x_2_1, c_0_1) - deviation_2 * half_square_0;
        code_2 = select(code_2, code_of_0, likeness_0_2 > best_2);
        best_2 = max(best_2, likeness_0_2);
        let likeness_0_3 = product(x_3_0, c_0_0) + product(x_3_1, c_0_1) - deviation_3 * half_square_0;
        code_3 = select(code_3, code_of_0, likeness_0_3 > best_3);
        best_3 = max(best_3, likeness_0_3);
        let likeness_0_4 = product(x_4_0, c_0_0) + product(x_4_1, c_0_1) - deviation_4 * half_square_0;
        code_4 = select(code_4, code_of_0, likeness_0_4 > best_4);
        best_4 = max(best_4, likeness_0_4);
        let likeness_0_5 = product(x_5_0, c_0_0) + product(x_5_1, c_0_1) - deviation_5 * half_square_0;
        code_5 = select(code_5, code_of_0, likeness_0_5 > best_5);
        best_5 = max(best_5, likeness_0_5);
        let likeness_0_6 = product(x_6_0, c_0_0) + product(x_6_1, c_0_1) - deviation_6 * half_square_0;
        code_6 = select(code_6, code_of_0, likeness_0_6 > best_6);
        best_6 = max(best_6, likeness_0_6);
        let likeness_0_7 = product(x_7_0, c_0_0) + product(x_7_1, c_0_1) - deviation_7 * half_square_0;
        code_7 = select(code_7, code_of_0, likeness_0_7 > best_7);
        best_7 = max(best_7, likeness_0_7);
      }
      likenesses[0u * WORKGROUP + lane] = best_0;
      nearest[0u * WORKGROUP + lane] = code_0;
      likenesses[1u * WORKGROUP + lane] = best_1;
      nearest[1u * WORKGROUP + lane] = code_1;
      likenesses[2u * WORKGROUP + lane] = best_2;
      nearest[2u * WORKGROUP + lane] = code_2;
      likenesses[3u * WORKGROUP + lane] = best_3;
      nearest[3u * WORKGROUP + lane] = code_3;
      likenesses[4u * WORKGROUP + lane] = best_4;
      nearest[4u * WORKGROUP + lane] = code_4;
      likenesses[5u * WORKGROUP + lane] = best_5;
      nearest[5u * WORKGROUP + lane] = code_5;
      likenesses[6u * WORKGROUP + lane] = best_6;
      nearest[6u * WORKGROUP + lane] = code_6;
      likenesses[7u * WORKGROUP + lane] = best_7;
      nearest[7u * WORKGROUP + lane] = code_7;
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
