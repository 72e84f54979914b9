import assert from "node:assert/strict";
import fc from "fast-check";
import { CoupletError } from "../src/errors.ts";
import { recordLayout, recordWords } from "../src/record_layout.ts";
import { packRecords, readCode, unpackRecords, writeCode } from "../src/reference/pack.ts";

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
