/** The parameters of kernels: what the runtime writes is what kernels read, field by field, by the names that WGSL gives them. */
import assert from "node:assert/strict";
import { readTemplates } from "../../codegen/render/templates.ts";
import { resolveOptions } from "../../src/plan/options.ts";
import { LAYER_BYTES, STEP_BYTES } from "../../src/plan/sizes.ts";
import { pageTableStart, ringSlots, sequencePages } from "../../src/plan/pages.ts";
import { STEP_ENTRIES } from "../../src/kernels/constants.ts";
import { layerParameters, stepParameters } from "../../src/cache/uniforms.ts";

/** A member of a struct: all are words, so that each lies a word behind the one before. */
interface Member {
  readonly name: string;
  readonly type: string;
}

const WGSL = [...readTemplates(new URL("../../templates/", import.meta.url))]
  .find(([path]) => path.endsWith("uniforms.hbs"))![1];

function membersOf(struct: string): Member[] {
  const [, body] = new RegExp(`struct ${struct} \\{\n([^}]*(?:\\{\\{.*?\\}\\}[^}]*)*)\n\\}`)
    .exec(WGSL)!;
  return body!.split("\n").map((line) => {
    const [, name, type] = /^ {2}(\w+): (.+?),(?: \/\/.*)?$/.exec(line)!;
    return { name: name!, type: type! };
  });
}

/** Words as the members that lie there, in order. */
function read(members: readonly Member[], words: Uint32Array<ArrayBuffer>, first = 0) {
  const floats = new Float32Array(words.buffer);
  return Object.fromEntries(members.map(({ name, type }, i) => {
    assert.match(type, /^[uf]32$/, name);
    return [name, type === "f32" ? floats[first + i]! : words[first + i]!];
  }));
}

Deno.test("stepParameters() writes what the WGSL struct Step reads", () => {
  const members = membersOf("Step");
  const entries = members.pop()!;
  assert.deepEqual(entries, { name: "entries", type: "array<Entry, {{stepEntries}}>" });
  const entry = membersOf("Entry");
  // An array in the uniform address space has elements of whole vec4s.
  assert.equal(entry.length % 4, 0);
  assert.equal(members.length % 4, 0);
  assert.equal(STEP_BYTES, 4 * (members.length + STEP_ENTRIES * entry.length));
  const words = stepParameters(
    [
      {
        slot: 1,
        start: 2,
        count: 3,
        first: 4,
        encodeFrom: 5,
        exactFrom: 6,
        firstPartial: 12,
        partials: 13,
      },
      { slot: 7, start: 8, count: 9 },
    ],
    { splits: 10, scoreStride: 11, partialStride: 14 },
  );
  assert.deepEqual(read(members, words), {
    entry_count: 2,
    max_count: 9,
    splits: 10,
    score_stride: 11,
    partial_stride: 14,
    reserved_0: 0,
    reserved_1: 0,
    reserved_2: 0,
  });
  assert.deepEqual(read(entry, words, members.length), {
    slot: 1,
    start: 2,
    count: 3,
    first: 4,
    encode_from: 5,
    exact_from: 6,
    first_partial: 12,
    partials: 13,
  });
  assert.deepEqual(read(entry, words, members.length + entry.length), {
    slot: 7,
    start: 8,
    count: 9,
    first: 0,
    encode_from: 0,
    exact_from: 0,
    first_partial: 0,
    partials: 10,
  });
});

for (const slidingWindow of [0, 77]) {
  Deno.test(`layerParameters() writes what the WGSL struct Layer reads, sliding window ${slidingWindow}`, () => {
    const options = resolveOptions({
      shape: {
        layers: 2,
        queryHeads: 12,
        keyValueHeads: 4,
        headDim: 64,
        valueHeadDim: [64, 48],
        slidingWindow: [5, slidingWindow],
      },
      policy: { keys: "c4b8", values: "u8b8", layers: { 1: { keys: "c4b8", values: "c8b8" } } },
      keys: { space: "as-scored" },
      tiers: { sinks: 3, window: 17 },
      capacity: { sequences: 2, tokens: 999, sequenceTokens: 500, stepTokens: 8, appendTokens: 6 },
      scale: 0.375,
      softcap: 30,
      io: {
        keys: { token: 301, head: 64 },
        values: { token: 302, head: 65 },
        queries: { token: 801, head: 66 },
        output: { token: 802, head: 67 },
      },
    });
    const words = layerParameters(options, options.layers[1]!, { first: 1, count: 2 }, {
      values: 1001,
      keyScale: 1002,
      valueScale: 1003,
    });
    const members = membersOf("Layer");
    assert.equal(LAYER_BYTES, 4 * members.length);
    assert.deepEqual(read(members, words), {
      first_head: 1,
      kv_heads: 2,
      query_heads: 12,
      group: 3,
      sinks: 3,
      window: 17,
      block: 64,
      ring: ringSlots(options),
      page_table: pageTableStart(options, 1),
      sequence_pages: sequencePages(options),
      scale: 0.375,
      softcap: 30,
      key_scale: 1002,
      value_scale: 1003,
      value_codebook: 1001,
      key_token_stride: 301,
      key_head_stride: 64,
      value_token_stride: 302,
      value_head_stride: 65,
      query_token_stride: 801,
      query_head_stride: 66,
      output_token_stride: 802,
      output_head_stride: 67,
      sliding_window: slidingWindow === 0 ? 0xffffffff : slidingWindow,
      slot_words: (3 + ringSlots(options)) * 2 * (64 + 48) / 2,
      recent: 1,
      remap: 0,
      side_words: (3 + ringSlots(options)) * 2 * 64 / 2,
    });
  });
}
