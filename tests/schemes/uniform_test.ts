/** Schemes of evenly spaced levels: what their codes mean, and how far off they are. */
import assert from "node:assert/strict";
import { CoupletError, parseScheme, recordBits, schemeCodec, type SchemeId } from "../../mod.ts";
import { seededRandom } from "../../src/base/random.ts";
import { fromFloat16Bits, roundToFloat16, toFloat16Bits } from "../../src/base/float16.ts";
import { readBits, readCode } from "../../src/records/pack.ts";
import { roundTrip } from "../../src/schemes/round_trip.ts";
import { uniformLevels } from "../../src/schemes/uniform.ts";
import { encodeRecords, readOracle, rowsOf } from "../helpers/oracle_file.ts";

const SCHEMES: readonly SchemeId[] = ["kc2", "kc4", "kt2", "kt4", "kh2", "kh4", "q4", "q8"];
const NONE = { centroids: [] };

/** One group of 32 numbers coded in the first group of a record: 32 tokens of a channel, or 32 channels of a token. */
function codeGroup(id: SchemeId, numbers: readonly number[]) {
  const scheme = parseScheme(id);
  const layout = scheme.layout(32);
  const byToken = scheme.block === 32;
  const vectors = byToken
    ? numbers.map((number) => new Float64Array(32).fill(number))
    : [Float64Array.from(numbers)];
  const record = new Uint32Array(layout.words);
  schemeCodec(scheme).encode(vectors, record, 0, NONE);
  const place = (i: number): [token: number, channel: number] => byToken ? [i, 0] : [0, i];
  return {
    scale: fromFloat16Bits(readBits(record, 0, 16)),
    codes: numbers.map((_, i) => readCode(layout, record, ...place(i))),
    decoded: numbers.map((_, i) => {
      const [token, channel] = place(i);
      return schemeCodec(scheme).decode(record, token, 32, NONE)[channel]!;
    }),
  };
}

/** 32 numbers, the given ones first and then the first of them. */
function group(...numbers: number[]): number[] {
  return Array.from({ length: 32 }, (_, i) => numbers[i] ?? numbers[0]!);
}

/** Numbers, and the scale and codes worked out by hand. */
const WORKED: readonly [
  id: SchemeId,
  numbers: readonly number[],
  scale: number,
  codes: readonly number[],
][] = [
  // From the smallest to the largest in 3 steps; ties go up.
  ["kc2", group(-1, 5, 0, -0.5, 1, 3), 2, [0, 3, 1, 0, 1, 2]],
  ["kt2", group(7, 7), 0, [0, 0]],
  // In 15 steps.
  ["kt4", group(0, 30, 15, -0, 0.9, 29.1), 2, [0, 15, 8, 0, 0, 15]],
  ["kc4", group(-6, 9, 0.5), 1, [0, 15, 7]],
  // The largest magnitude is at -8 scales: a positive one makes the scale negative.
  ["q4", group(16, -16, 15, 0, -1, -3), 2, [15, 0, 15, 8, 8, 7]],
  ["q4", group(16, -15, 15, 0, 1, -1, 3), -2, [0, 15, 1, 8, 8, 9, 7]],
  ["q4", group(0, -0), 0, [8, 8]],
  // The largest magnitude is at 127 scales, on either side of code 128.
  ["q8", group(-127, 126, 0, 0.5, -0.5, -0.6), 1, [1, 254, 128, 129, 128, 127]],
  ["q8", group(0, -0), 0, [128, 128]],
  // Too small for a scale.
  ["q8", group(2 ** -24), 0, [128]],
];

for (const [id, numbers, scale, codes] of WORKED) {
  Deno.test(`${id} codes ${numbers.slice(0, codes.length).join(", ")} as ${codes.join(", ")}`, () => {
    const found = codeGroup(id, numbers);
    assert.equal(Math.abs(found.scale), Math.abs(scale));
    if (scale !== 0) assert.equal(Math.sign(found.scale), Math.sign(scale));
    assert.deepEqual(found.codes.slice(0, codes.length), codes);
  });
}

for (const id of SCHEMES) {
  Deno.test(`${id}: the scale is the nearest binary16 number, and no number is farther than half of it from its level`, () => {
    const { codeBits } = parseScheme(id);
    const levels = uniformLevels(parseScheme(id));
    const random = seededRandom(id);
    for (let round = 0; round < 200; round++) {
      const size = 2 ** Math.floor(random.next() * 12 - 6);
      const numbers = Array.from(
        { length: 32 },
        () => roundToFloat16((random.next() + random.next() - 0.7) * size),
      );
      const { scale, codes, decoded } = codeGroup(id, numbers);
      const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
      const extent = levels.span === "range" ? high - low : Math.max(-low, high);
      const wanted = extent / levels.steps;
      const magnitude = Math.abs(scale);
      const spacing = fromFloat16Bits(toFloat16Bits(magnitude) + 1) - magnitude;
      assert.ok(Math.abs(magnitude - wanted) <= spacing / 2, `${scale}, not ${wanted}`);
      numbers.forEach((number, i) => {
        const error = Math.abs(decoded[i]! - number);
        // Beyond the last levels there is no nearer one: there q4 leaves a scale out, and rounding the scale a little.
        const last = codes[i] === 0 || codes[i] === 2 ** codeBits - 1;
        const most = last && levels.span === "extreme" ? 1.01 : last ? 0.52 : 0.5;
        assert.ok(error <= most * magnitude * (1 + 1e-12), `${number} is decoded as ${decoded[i]}`);
      });
    }
  });

  Deno.test(`${id} refuses a head dimension that 32 does not divide`, () => {
    for (const headDim of [80, 16, 0]) {
      assert.throws(
        () => parseScheme(id).layout(headDim),
        (error) => error instanceof CoupletError && error.code === "shape",
      );
    }
  });
}

Deno.test("recordBits() counts scales and minima: KIVI-2 takes 3 bits, q4_0 4.5, q8_0 8.5", () => {
  const bits = ["kc2", "kc4", "kt2", "kt4", "q4", "q8"].map((id) =>
    [64, 96, 128].map((headDim) => recordBits(parseScheme(id).layout(headDim), headDim))
  );
  assert.deepEqual(bits, [3, 5, 3, 5, 4.5, 8.5].map((wanted) => [wanted, wanted, wanted]));
  const byHead = [64, 128].map((headDim) =>
    recordBits(parseScheme("kh2").layout(headDim), headDim)
  );
  assert.deepEqual(byHead, [2.5, 2.25]);
});

for (const [file, headDim] of [["kc2p8_kh2_d64", 64], ["kc2p4_kh2_d128", 128]] as const) {
  Deno.test(`kh2 at d${headDim} writes the records of an independent implementation`, async () => {
    const oracle = await readOracle(file);
    const records = encodeRecords(parseScheme("kh2"), rowsOf(oracle("values")));
    assert.deepEqual(records, oracle("value_records").numbers);
  });
}

Deno.test("kc2 costs channels of their own size and mean nothing, where kt2 does", () => {
  // Keys have such channels.
  const random = seededRandom("channels");
  const vectors = Array.from({ length: 32 }, () =>
    Float64Array.from(
      { length: 64 },
      (_, channel) => (random.next() - 0.5) * (1 + channel % 7) + (channel % 5 === 0 ? 20 : 0),
    ));
  const [byChannel, byToken] = ["kc2", "kt2"].map((id) =>
    roundTrip(parseScheme(id), vectors, NONE).reduce(
      (sum, vector, token) =>
        sum + vector.reduce((own, value, i) => own + (value - vectors[token]![i]!) ** 2, 0),
      0,
    )
  );
  assert.ok(byChannel! < byToken! / 20, `${byChannel} and ${byToken}`);
});
