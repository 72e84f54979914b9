import assert from "node:assert/strict";
import { CoupletError, parseScheme, sectionedLayout } from "../../mod.ts";
import { sizes } from "../../codegen/variants.ts";
import { PAGE_TOKENS } from "../../src/kernels/constants.ts";
import { channelsPerPromoted } from "../../src/schemes/promoted.ts";

/** Golden layouts: tokens that share a record, its words and its unused bits. */
const LAYOUTS: readonly [
  scheme: string,
  headDim: number,
  tokens: number,
  words: number,
  padding: number,
][] = [
  ["f16", 64, 1, 32, 0],
  ["c8b8", 64, 1, 2, 0],
  ["c8b8", 80, 2, 5, 0],
  ["c8b10", 64, 2, 5, 0],
  ["c8b10", 80, 8, 25, 0],
  ["c8b10", 96, 4, 15, 0],
  ["c8b10", 128, 1, 5, 0],
  ["c16b12", 64, 2, 3, 0],
  ["c16b12", 96, 4, 9, 0],
  ["c4b8", 128, 1, 8, 0],
  ["c2b8", 256, 1, 32, 0],
  ["u8b8", 64, 64, 177, 0],
  ["u8b8", 128, 64, 337, 0],
  ["u4b8", 64, 64, 305, 0],
  ["t1b1", 64, 2, 5, 0],
  ["t1b3", 64, 2, 13, 0],
  ["kc2", 64, 32, 192, 0],
  ["kc4", 128, 32, 640, 0],
  ["kt2", 64, 1, 6, 0],
  ["q4", 64, 1, 9, 0],
  ["q4", 96, 2, 27, 0],
  ["q8", 128, 1, 34, 0],
];

for (const [scheme, headDim, tokens, words, paddingBits] of LAYOUTS) {
  Deno.test(`recordLayout() of ${scheme} at d${headDim} is ${tokens} tokens in ${words} words`, () => {
    const layout = parseScheme(scheme).layout(headDim);
    assert.deepEqual(
      { tokens: layout.tokens, words: layout.words, paddingBits: layout.paddingBits },
      { tokens, words, paddingBits },
    );
  });
}

Deno.test("recordLayout() wastes under 3 % and fills pages with whole records, for every row", () => {
  for (const { schemes, headDims } of sizes) {
    for (const scheme of schemes) {
      for (const headDim of headDims) {
        const layout = parseScheme(scheme).layout(headDim);
        assert.ok(layout.paddingBits < 0.03 * layout.words * 32, `${scheme} at d${headDim}`);
        assert.equal(PAGE_TOKENS % layout.tokens, 0, `${scheme} at d${headDim}`);
        const bits = layout.sections.map(({ per, count, bits }) =>
          count * bits * (per === "token" ? layout.tokens : 1)
        );
        assert.equal(bits.reduce((a, b) => a + b) + layout.paddingBits, layout.words * 32);
      }
    }
  }
});

Deno.test("Scheme.bits are those of a token's codes, a channel, for every row", () => {
  for (const { schemes, headDims } of sizes) {
    for (const id of schemes) {
      const scheme = parseScheme(id);
      for (const headDim of headDims) {
        const codes = scheme.layout(headDim).sections.filter(({ name }) =>
          /^(codes|high)$/.test(name)
        );
        const bits = codes.map(({ count, bits }) => count * bits);
        assert.equal(bits.reduce((a, b) => a + b) / headDim, scheme.bits, `${id} at d${headDim}`);
      }
    }
  }
});

Deno.test("channelsPerPromoted() is one in as many channels as have upper codes", () => {
  for (const id of ["kc1p2", "kc1p4", "kc2p4", "kc2p8"] as const) {
    const scheme = parseScheme(id);
    const high = scheme.layout(64).sections.find(({ name }) => name === "high")!;
    assert.equal(64 / channelsPerPromoted(scheme), high.count, id);
  }
});

Deno.test("sectionedLayout() lays sections one after the other, planes from a word of their own on", () => {
  const layout = sectionedLayout(
    [
      { name: "range", per: "record", count: 3, bits: 16 },
      { name: "index", per: "token", count: 2, bits: 3 },
    ],
    [
      { name: "codes", per: "token", count: 32, bits: 2 },
      { name: "high", per: "token", count: 8, bits: 1 },
    ],
    8,
  );
  assert.deepEqual(
    layout.sections.map(({ name, firstBit }) => [name, firstBit]),
    [["range", 0], ["index", 48], ["codes", 96], ["high", 96 + 8 * 64]],
  );
  assert.deepEqual(
    [layout.tokens, layout.metadataWords, layout.words, layout.paddingBits],
    [8, 3, 3 + 16 + 2, 0],
  );
  assert.deepEqual(layout.metadata, { sharedBits: 48, tokenBits: 6 });
  assert.deepEqual([layout.codes, layout.codeBits], [32, 2]);
});

for (
  const id of [
    "",
    "f32",
    "c3b4",
    "c4b0",
    "c4b13",
    "C4B8",
    "c4b8 ",
    "c32b8",
    "u2b8",
    "u8b4",
    "t1b5",
    "t2b1",
  ]
) {
  Deno.test(`parseScheme() refuses "${id}"`, () => {
    assert.throws(
      () => parseScheme(id),
      (error) => error instanceof CoupletError && error.code === "scheme",
    );
  });
}

Deno.test("Scheme.layout() refuses a head dimension that does not divide", () => {
  for (const [scheme, headDim] of [["c16b12", 72], ["c8b8", 60], ["f16", 33]] as const) {
    assert.throws(
      () => parseScheme(scheme).layout(headDim),
      (error) => error instanceof CoupletError && error.code === "shape",
    );
  }
});
