/** What the public functions of records refuse, one number at a time. */
import assert from "node:assert/strict";
import {
  packRecords,
  readBits,
  recordLayout,
  recordWords,
  sectionedLayout,
  unpackRecords,
  writeBits,
} from "../../mod.ts";

const LAYOUT = recordLayout(4, 8);
const PLANE = { name: "codes", per: "token", count: 4, bits: 8 } as const;

const REFUSED: readonly [what: string, call: () => unknown, why: RegExp][] = [
  ["codes of 33 bits", () => recordLayout(1, 33), /codeBits is 33/],
  ["codes of no bits", () => recordLayout(1, 0), /codeBits is 0/],
  ["records without codes", () => recordLayout(0, 8), /codes is 0/],
  ["records of more than a page", () => recordLayout(4, 8, undefined, 65), /least is 65/],
  [
    "metadata of a part of a bit",
    () => recordLayout(4, 8, { sharedBits: 0.5, tokenBits: 0 }),
    /sharedBits is 0\.5/,
  ],
  ["no plane of codes", () => sectionedLayout([], [] as never), /planes is .*one at least/],
  ["a plane of no codes", () => sectionedLayout([], [{ ...PLANE, count: 0 }]), /one at least/],
  ["a section of 33 bits", () => sectionedLayout([{ ...PLANE, bits: 33 }], [PLANE]), /metadata/],
  ["words of what is no layout", () => recordWords({} as never, 1), /layout is/],
  ["packing fewer tokens than none", () => packRecords(LAYOUT, [], -1), /tokens is -1/],
  ["packing a part of a token", () => packRecords(LAYOUT, [1, 2], 0.5), /tokens is 0\.5/],
  [
    "unpacking a part of a token",
    () => unpackRecords(LAYOUT, new Uint32Array(2), 1.5),
    /tokens is 1\.5/,
  ],
  ["33 bits to write", () => writeBits(new Uint32Array(2), 0, 33, 1), /bits is 33/],
  ["33 bits to read", () => readBits(new Uint32Array(2), 0, 33), /bits is 33/],
  ["bits to write behind the words", () => writeBits(new Uint32Array(2), 57, 8, 1), /bit is 57/],
  ["bits to read behind the words", () => readBits(new Uint32Array(2), 57, 8), /bit is 57/],
  ["bits before the words", () => readBits(new Uint32Array(2), -1, 8), /bit is -1/],
  [
    "a text to write",
    () => writeBits(new Uint32Array(2), 0, 8, "1" as unknown as number),
    /value is "1"/,
  ],
];

for (const [what, call, why] of REFUSED) {
  Deno.test(`records: ${what} are refused`, () => {
    assert.throws(call, { name: "CoupletError", code: "shape", message: why });
  });
}

Deno.test("writeBits() and readBits() take the last bits of their words", () => {
  const words = new Uint32Array(2);
  writeBits(words, 56, 8, 0xa5);
  assert.equal(readBits(words, 56, 8), 0xa5);
  writeBits(words, 0, 32, 0xffffffff);
  assert.deepEqual([...words], [0xffffffff, 0xa5000000]);
});
