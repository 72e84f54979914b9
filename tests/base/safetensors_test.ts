import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { CoupletError } from "../../src/base/errors.ts";
import {
  readSafetensors,
  type SafetensorsDtype,
  type SafetensorsFile,
  writeSafetensors,
} from "../../src/base/safetensors.ts";

const SMALL: SafetensorsFile = {
  metadata: { format: "test", note: "käse" },
  tensors: new Map([
    ["b", { dtype: "U8", shape: [3], data: Uint8Array.of(1, 2, 3) }],
    ["a", { dtype: "F32", shape: [2, 1], data: new Uint8Array(8).fill(7) }],
    ["empty", { dtype: "F64", shape: [0, 5], data: new Uint8Array(0) }],
    ["scalar", { dtype: "F16", shape: [], data: Uint8Array.of(0, 60) }],
  ]),
};

/** A file of any header text and any data. */
function fileOf(header: string, data = new Uint8Array(0)): Uint8Array {
  const json = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + json.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.length);
  return bytes;
}

function plain(file: SafetensorsFile): unknown {
  const tensors = [...file.tensors].map(([name, t]) =>
    [name, t.dtype, t.shape, [...t.data]] as const
  );
  return {
    metadata: { ...file.metadata },
    tensors: tensors.sort(([a], [b]) => (a < b ? -1 : 1)),
  };
}

Deno.test("readSafetensors gives back what writeSafetensors wrote", () => {
  deepStrictEqual(plain(readSafetensors(writeSafetensors(SMALL))), plain(SMALL));
});

Deno.test("readSafetensors reads the fixture that PyTorch wrote", () => {
  const url = new URL("../fixtures/tiny-llama/expected.safetensors", import.meta.url);
  const { tensors } = readSafetensors(Deno.readFileSync(url));
  deepStrictEqual(tensors.get("logits")?.shape, [128, 2048]);
  deepStrictEqual(tensors.get("keys_pre_rope")?.shape, [4, 128, 2, 64]);
});

Deno.test("readSafetensors takes empty tensors wherever a header lists them", () => {
  const entry = (begin: number, end: number) =>
    `{"dtype":"U8","shape":[${end - begin}],"data_offsets":[${begin},${end}]}`;
  // Each empty one begins where another does, which comes before it here and behind it there.
  const entries = [["a", 0, 4], ["b", 0, 0], ["c", 4, 4], ["d", 4, 6], ["e", 6, 6]] as const;
  for (const listed of [entries, entries.toReversed()]) {
    const header = listed.map(([name, begin, end]) => `"${name}":${entry(begin, end)}`);
    const { tensors } = readSafetensors(
      fileOf(`{${header.join()}}`, Uint8Array.of(0, 1, 2, 3, 4, 5)),
    );
    for (const [name, begin, end] of entries) {
      const data = [0, 1, 2, 3, 4, 5].slice(begin, end);
      deepStrictEqual([...tensors.get(name)!.data], data, name);
    }
  }
});

Deno.test("writeSafetensors is canonical: order of insertion does not matter", () => {
  const reversed: SafetensorsFile = {
    metadata: Object.fromEntries(Object.entries(SMALL.metadata).reverse()),
    tensors: new Map([...SMALL.tensors].reverse()),
  };
  deepStrictEqual(writeSafetensors(reversed), writeSafetensors(SMALL));
});

Deno.test("writeSafetensors aligns every tensor to its element size", () => {
  const bytes = writeSafetensors(SMALL);
  const { tensors } = readSafetensors(bytes);
  strictEqual(tensors.get("a")!.data.byteOffset % 8, 0);
  strictEqual(tensors.get("scalar")!.data.byteOffset % 2, 0);
});

Deno.test("writeSafetensors refuses data that do not match the shape, and reserved names", () => {
  const wrong: [string, SafetensorsDtype, number[], number][] = [
    ["a", "F32", [2], 4],
    ["a", "F32", [1.5], 6],
    ["a", "F32", [2 ** 40, 2 ** 40], 0],
    ["__metadata__", "U8", [1], 1],
    ["\ud800", "U8", [1], 1],
  ];
  for (const [name, dtype, shape, bytes] of wrong) {
    const tensors = new Map([[name, { dtype, shape, data: new Uint8Array(bytes) }]]);
    throws(() => writeSafetensors({ metadata: {}, tensors }), isError("usage"));
  }
  throws(
    () => writeSafetensors({ metadata: { a: "\udfff" }, tensors: new Map() }),
    isError("usage"),
  );
});

Deno.test("readSafetensors refuses a small file cut at any length", () => {
  const bytes = writeSafetensors(SMALL);
  for (let length = 0; length < bytes.length; length++) {
    throws(() => readSafetensors(bytes.subarray(0, length)), isError("file"), `${length} bytes`);
  }
});

Deno.test("readSafetensors refuses bytes past the last tensor", () => {
  const bytes = new Uint8Array([...writeSafetensors(SMALL), 0]);
  throws(() => readSafetensors(bytes), isError("file"));
});

const MALFORMED: Readonly<Record<string, Uint8Array>> = {
  "a header longer than the file": Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255, 123, 125),
  "a header that is not JSON": fileOf("{"),
  "a header with a byte order mark": fileOf("\ufeff{}"),
  "a header that is no object": fileOf("[]"),
  "a header nested deeply": fileOf(`{"a":${"[".repeat(100000)}${"]".repeat(100000)}}`),
  "a dtype nested deeply": fileOf(
    `{"a":{"dtype":${"[".repeat(100000)}${"]".repeat(100000)},"shape":[],"data_offsets":[0,0]}}`,
  ),
  "metadata that is not text": fileOf('{"__metadata__":{"a":1}}'),
  "an entry that is no object": fileOf('{"a":null}'),
  "an unknown dtype": fileOf('{"a":{"dtype":"F4","shape":[0],"data_offsets":[0,0]}}'),
  "a dtype of Object.prototype": fileOf(
    '{"a":{"dtype":"toString","shape":[0],"data_offsets":[0,0]}}',
  ),
  "a negative size": fileOf('{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}}'),
  "a fractional size": fileOf('{"a":{"dtype":"U16","shape":[0.5],"data_offsets":[0,1]}}'),
  "sizes whose product overflows": fileOf(
    '{"a":{"dtype":"U8","shape":[9007199254740991,9007199254740991],"data_offsets":[0,1]}}',
  ),
  "three offsets": fileOf('{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0,0]}}'),
  "offsets that fall": fileOf('{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}'),
  "offsets that do not match the shape": fileOf(
    '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,1]}}',
    new Uint8Array(1),
  ),
  "tensors that overlap": fileOf(
    '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}',
    new Uint8Array(3),
  ),
  "a gap between tensors": fileOf(
    '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}',
    new Uint8Array(3),
  ),
};

for (const [name, bytes] of Object.entries(MALFORMED)) {
  Deno.test(`readSafetensors refuses ${name}`, () => {
    throws(() => readSafetensors(bytes), isError("file"));
  });
}

Deno.test("readSafetensors either reads corrupt bytes or throws CoupletError, and reads in bounds", () => {
  const bytes = writeSafetensors(SMALL);
  const change = fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 0, max: 255 }));
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), (changes) => {
      const corrupt = bytes.slice();
      for (const [at, value] of changes) corrupt[at] = value;
      expectReadOrCoupletError(corrupt);
    }),
    { seed: 1, numRuns: 3000 },
  );
});

Deno.test("readSafetensors throws nothing but CoupletError for random headers", () => {
  fc.assert(
    fc.property(fc.json(), fc.uint8Array({ maxLength: 8 }), (json, data) => {
      expectReadOrCoupletError(fileOf(json, data));
    }),
    { seed: 2, numRuns: 500 },
  );
});

Deno.test("readSafetensors gives back any names, shapes and metadata", () => {
  const tensor = fc.record({
    dtype: fc.constantFrom<SafetensorsDtype>("U8", "F16", "F32", "I64"),
    shape: fc.array(fc.nat(3), { maxLength: 3 }),
  });
  const text = fc.string({ unit: "binary" });
  fc.assert(
    fc.property(
      fc.dictionary(text, text),
      fc.dictionary(text.filter((name) => name !== "__metadata__"), tensor),
      (metadata, shapes) => {
        const tensors = Object.entries(shapes).map(([name, { dtype, shape }]) => {
          const width = { U8: 1, F16: 2, F32: 4, I64: 8 }[dtype as "U8"];
          const data = new Uint8Array(shape.reduce((a, b) => a * b, width)).fill(name.length);
          return [name, { dtype, shape, data }] as const;
        });
        const file: SafetensorsFile = { metadata, tensors: new Map(tensors) };
        deepStrictEqual(plain(readSafetensors(writeSafetensors(file))), plain(file));
      },
    ),
    { seed: 3, numRuns: 300 },
  );
});

function expectReadOrCoupletError(bytes: Uint8Array): void {
  try {
    for (const { data } of readSafetensors(bytes).tensors.values()) {
      ok(data.byteOffset >= bytes.byteOffset);
      ok(data.byteOffset + data.length <= bytes.byteOffset + bytes.length);
    }
  } catch (error) {
    ok(isError("file")(error), String(error));
  }
}

function isError(code: string): (error: unknown) => boolean {
  return (error) => error instanceof CoupletError && error.code === code;
}
