import assert from "node:assert/strict";
import fc from "fast-check";
import { CoupletError } from "../../src/base/errors.ts";
import { recordLayout, recordWords, sectionedLayout } from "../../src/records/layout.ts";
import {
  firstRecords,
  packRecords,
  readCode,
  unpackRecords,
  writeCode,
} from "../../src/records/pack.ts";

/** A layout and the codes of some tokens in it. */
const packed = fc.tuple(
  fc.integer({ min: 1, max: 33 }),
  fc.integer({ min: 1, max: 16 }),
  fc.integer({ min: 0, max: 70 }),
).chain(([codes, codeBits, tokens]) =>
  fc.record({
    layout: fc.constant(recordLayout(codes, codeBits)),
    tokens: fc.constant(tokens),
    codes: fc.array(fc.nat(2 ** codeBits - 1), {
      minLength: codes * tokens,
      maxLength: codes * tokens,
    }),
  })
);

Deno.test("unpackRecords gives back what packRecords was given", () => {
  fc.assert(
    fc.property(packed, ({ layout, codes, tokens }) => {
      const words = packRecords(layout, codes, tokens);
      assert.equal(words.length, recordWords(layout, tokens));
      assert.deepEqual([...unpackRecords(layout, words, tokens)], codes);
    }),
    { seed: 1, numRuns: 200 },
  );
});

Deno.test("packRecords lays code j of token t at bit (t * codes + j) * codeBits of its record", () => {
  fc.assert(
    fc.property(packed, ({ layout, codes, tokens }) => {
      // The same by one big integer per record.
      const words = packRecords(layout, codes, tokens);
      for (let record = 0; record * layout.tokens < tokens; record++) {
        let expected = 0n;
        for (let t = 0; t < layout.tokens && record * layout.tokens + t < tokens; t++) {
          for (let j = 0; j < layout.codes; j++) {
            const code = codes[(record * layout.tokens + t) * layout.codes + j]!;
            expected += BigInt(code) << BigInt((t * layout.codes + j) * layout.codeBits);
          }
        }
        let found = 0n;
        for (let word = layout.words - 1; word >= 0; word--) {
          found = (found << 32n) + BigInt(words[record * layout.words + word]!);
        }
        assert.equal(found, expected, "bits past the last token are zero, too");
      }
    }),
    { seed: 2, numRuns: 200 },
  );
});

Deno.test("writeCode replaces one code and keeps its neighbours", () => {
  fc.assert(
    fc.property(
      packed.filter(({ tokens }) => tokens > 0),
      fc.nat(),
      fc.nat(),
      ({ layout, codes, tokens }, place, value) => {
        const words = packRecords(layout, codes, tokens);
        const at = place % codes.length;
        const code = value % 2 ** layout.codeBits;
        const token = Math.floor(at / layout.codes);
        writeCode(layout, words, token, at % layout.codes, code);
        assert.equal(readCode(layout, words, token, at % layout.codes), code);
        assert.deepEqual([...unpackRecords(layout, words, tokens)], codes.with(at, code));
      },
    ),
    { seed: 3, numRuns: 200 },
  );
});

Deno.test("packRecords and unpackRecords refuse what does not fit", () => {
  const layout = recordLayout(8, 10);
  const refused = [
    () => packRecords(layout, new Uint32Array(7), 1),
    () => packRecords(layout, new Uint32Array(8).fill(1024), 1),
    () => packRecords(layout, Array.from({ length: 8 }, () => 0.5), 1),
    () => unpackRecords(layout, new Uint32Array(layout.words), layout.tokens + 1),
  ];
  for (const call of refused) {
    assert.throws(call, (error) => error instanceof CoupletError && error.code === "shape");
  }
});

/** Sections of a record; the first plane of codes has at least one number. */
function section(name: string, least: number) {
  return fc.record({
    name: fc.constant(name),
    per: fc.constantFrom("record" as const, "token" as const),
    count: fc.integer({ min: least, max: 9 }),
    bits: fc.integer({ min: 1, max: 20 }),
  });
}

Deno.test("firstRecords clears what the last record's other tokens have for themselves, and nothing else", () => {
  const layouts = fc.tuple(
    fc.array(section("metadata", 0), { maxLength: 3 }),
    section("codes", 1),
    fc.array(section("plane", 0), { maxLength: 2 }),
  ).map(([metadata, codes, planes]) =>
    sectionedLayout(metadata, [{ ...codes, per: "token" }, ...planes])
  );
  fc.assert(
    fc.property(layouts, fc.integer({ min: 1, max: 70 }), (layout, tokens) => {
      const words = new Uint32Array(recordWords(layout, tokens) + 1).fill(0xffffffff);
      const kept = firstRecords(layout, words, tokens);
      assert.equal(kept.length, recordWords(layout, tokens));
      // Bit by bit: of how many tokens each bit of the last record is, where it is one token's.
      const tokenOf = new Array<number>(layout.words * 32).fill(-1);
      for (const { per, count, bits, firstBit } of layout.sections) {
        const size = count * bits;
        for (let bit = 0; bit < size * (per === "token" ? layout.tokens : 1); bit++) {
          assert.equal(tokenOf[firstBit + bit], -1, "sections overlap");
          tokenOf[firstBit + bit] = per === "token" ? Math.floor(bit / size) : 0;
        }
      }
      const held = (tokens - 1) % layout.tokens + 1;
      const last = kept.subarray(-layout.words);
      tokenOf.forEach((token, bit) => {
        const isSet = (last[bit >>> 5]! >>> (bit & 31) & 1) === 1;
        assert.equal(isSet, token < held, `bit ${bit}`);
      });
      assert.ok(kept.subarray(0, -layout.words).every((word) => word === 0xffffffff));
    }),
    { seed: 4, numRuns: 200 },
  );
});
