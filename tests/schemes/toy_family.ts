/**
 * A family of schemes that no list of the package knows, as a program of its own would bring it. `toy3` codes each channel
 * in 3 bits, of which the lower two lie in one plane and the highest in another, as multiples of a power of two of the
 * token's own, whose exponent is a byte.
 */
import type { Codec, OtherScheme, Scheme } from "../../mod.ts";
import { readBits, registerCodec, registerScheme, sectionedLayout, writeBits } from "../../mod.ts";
import {
  codecKernel,
  decodeRow,
  encoderBindings,
  encoderSizes,
  loadedChunks,
  plainMix,
  plainScore,
  recordSizes,
  registerKernels,
  type SchemeKernels,
} from "../../codegen/generate.ts";

const FAMILY = "tests/toy";

/** Tokens whose exponents fill a word. */
const TOKENS = 4;

const toy: OtherScheme = {
  id: "toy3",
  family: FAMILY,
  channels: 1,
  codeBits: 3,
  block: 1,
  bits: 3,
  centroids: 0,
  codebook: "none",
  positional: false,
  lossless: false,
  layout: (headDim) =>
    sectionedLayout(
      [{ name: "exponent", per: "token", count: 1, bits: 8 }],
      [
        { name: "codes", per: "token", count: headDim, bits: 2 },
        { name: "high", per: "token", count: headDim, bits: 1 },
      ],
      TOKENS,
    ),
  work: (headDim) => ({ levels: headDim }),
};

/** The exponent of a number as float32 has it, biased by 127; 0 for 0. */
function exponentOf(number: number): number {
  return number === 0 ? 0 : Math.floor(Math.log2(Math.fround(number))) + 127;
}

/** The distance of two levels, of eight that reach as far as the largest number. */
function stepOf(exponent: number): number {
  return exponent === 0 ? 0 : 2 ** (exponent - 128);
}

/** The codec of a scheme of the family. */
export function toyCodec({ layout }: Scheme): Codec {
  const places = (headDim: number, token: number) => {
    const [exponent, low, high] = layout(headDim).sections;
    return {
      exponent: exponent!.firstBit + token * 8,
      low: low!.firstBit + token * headDim * 2,
      high: high!.firstBit + token * headDim,
    };
  };
  return {
    encode([vector], record, token) {
      const numbers = Array.from(vector!);
      const at = places(numbers.length, token);
      const exponent = exponentOf(Math.max(...numbers.map(Math.abs)));
      const step = stepOf(exponent);
      writeBits(record, at.exponent, 8, exponent);
      numbers.forEach((number, channel) => {
        const level = step === 0 ? 4 : Math.floor(number / step) + 4;
        const code = Math.min(Math.max(level, 0), 7);
        writeBits(record, at.low + 2 * channel, 2, code & 3);
        writeBits(record, at.high + channel, 1, code >> 2);
      });
    },
    decode(record, token, headDim) {
      const at = places(headDim, token);
      const step = stepOf(readBits(record, at.exponent, 8));
      return Float64Array.from({ length: headDim }, (_, channel) => {
        const low = readBits(record, at.low + 2 * channel, 2);
        return step * (low + 4 * readBits(record, at.high + channel, 1) - 3.5);
      });
    },
  };
}

const CONSTANTS = `const {{upper}}_RECORD_TOKENS: u32 = {{recordTokens}}u;
const {{upper}}_RECORD_WORDS: u32 = {{recordWords}}u;
`;

const LOAD =
  `// Channels 4 chunk to 4 chunk + 3 of token token of the record at record: two bits of each, one bit, and the exponent.
fn {{side}}_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let exponent = ({{side}}_records[record] >> (8u * token)) & 255u;
  let step = select(0.0, bitcast<f32>((exponent - 1u) << 23u), exponent > 0u);
  let at = token * CHUNKS + chunk;
  let low = {{side}}_records[record + 1u + at / 4u] >> (at % 4u * 8u);
  let high = {{side}}_records[record + 1u + {{recordTokens}}u * CHUNKS / 4u + at / 8u] >> (at % 8u * 4u);
  let codes = ((vec4<u32>(low) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u)) +
    4u * ((vec4<u32>(high) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u));
  return step * (vec4<f32>(codes) - 3.5);
}
`;

const ENCODE = `const HEAD_DIM: u32 = {{headDim}}u;
const WORKGROUP: u32 = {{workgroupSize}}u;
const PAGE_TOKENS: u32 = {{pageTokens}}u;
const RECORD_TOKENS: u32 = {{recordTokens}}u;
const RECORD_WORDS: u32 = {{recordWords}}u;
const LOW_WORDS: u32 = HEAD_DIM / 16u; // of a token
const HIGH_WORDS: u32 = HEAD_DIM / 32u; // of a token

override SIDE: u32 = 0u; // 0 encodes keys, 1 values

{{> uniforms}}

{{> bindings}}

{{> tiers}}

{{> pages}}

fn number_of(word: u32, channel: u32) -> f32 {
  return unpack2x16float(exact[word + (channel >> 1u)])[channel & 1u];
}

fn code_of(number: f32, exponent: u32) -> u32 {
  if (exponent == 0u) {
    return 4u;
  }
  return u32(clamp(floor(number * bitcast<f32>((255u - exponent) << 23u)) + 4.0, 0.0, 7.0));
}

// A lane has a token of a record. Grid: (records, KV heads, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z];
  let head = workgroup.y;
  let encode_end = coded_visible(entry, entry.start + entry.count - 1u);
  let record_first = (entry.encode_from / RECORD_TOKENS + workgroup.x) * RECORD_TOKENS;
  if (record_first >= encode_end || entry.encode_from >= encode_end || lane > 0u) {
    return;
  }
  let record = page_word(entry.slot, head, record_first / PAGE_TOKENS, RECORD_TOKENS, RECORD_WORDS) +
    (record_first % PAGE_TOKENS) / RECORD_TOKENS * RECORD_WORDS;
  var exponents = records[record];
  for (var index = 0u; index < RECORD_TOKENS; index += 1u) {
    let token = record_first + index;
    if (token < entry.encode_from) {
      continue;
    }
    // Tokens that are yet to come are zeros.
    let is_there = token < encode_end;
    let word = exact_word(entry.slot, SIDE, layer.sinks + min(token, encode_end - 1u), head);
    var largest = 0.0;
    for (var channel = 0u; channel < HEAD_DIM; channel += 1u) {
      largest = max(largest, abs(number_of(word, channel)));
    }
    let exponent = (bitcast<u32>(largest) >> 23u) & 255u;
    let shift = 8u * index;
    exponents = (exponents & ~(255u << shift)) | (select(0u, exponent, is_there) << shift);
    for (var item = 0u; item < LOW_WORDS; item += 1u) {
      var low = 0u;
      for (var i = 0u; i < 16u; i += 1u) {
        low |= (code_of(number_of(word, item * 16u + i), exponent) & 3u) << (2u * i);
      }
      records[record + 1u + index * LOW_WORDS + item] = select(0u, low, is_there);
    }
    for (var item = 0u; item < HIGH_WORDS; item += 1u) {
      var high = 0u;
      for (var i = 0u; i < 32u; i += 1u) {
        high |= (code_of(number_of(word, item * 32u + i), exponent) >> 2u) << i;
      }
      records[record + 1u + RECORD_TOKENS * LOW_WORDS + index * HIGH_WORDS + item] = select(0u, high, is_there);
    }
  }
  records[record] = exponents;
}
`;

/** The kernels of a scheme of the family. */
export function toyKernels(scheme: Scheme, headDim: number): SchemeKernels {
  const record = (side: string) => ({
    ...recordSizes(side, scheme, headDim),
    constantsPartial: "toy_constants",
    loadPartial: "load_toy",
  });
  const reader = (side: string, numbers: number) => ({
    ...record(side),
    ...loadedChunks(numbers, {}),
  });
  return {
    codecs: (reason) => [
      codecKernel(
        "encode",
        scheme,
        headDim,
        "encode_toy",
        reason,
        encoderBindings(),
        encoderSizes(scheme, headDim),
      ),
      decodeRow(scheme, headDim, reason, [], record("coded")),
    ],
    keyVariants: ["rope", "plain"],
    keySpan: () => 4,
    keys: (numbers) => reader("key", numbers),
    values: (numbers) => reader("value", numbers),
    records: "records",
    codebook: "none",
    score: (variant) => plainScore(variant, 4, "coded_keys_loaded"),
    mix: plainMix("mix_plain"),
  };
}

/** Makes the family known. */
export function registerToy(): Scheme {
  const scheme = registerScheme(toy);
  registerCodec(FAMILY, toyCodec);
  registerKernels(FAMILY, toyKernels, {
    "partials/toy_constants.hbs": CONSTANTS,
    "partials/load_toy.hbs": LOAD,
    "encode_toy.wgsl.hbs": ENCODE,
  });
  return scheme;
}
