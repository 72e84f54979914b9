import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { roundToGrid } from "../../src/codebooks/grid.ts";
import type { Codebook, CodebookSet, ValueRotation } from "../../src/codebooks/codebook.ts";
import { decodeCodebooks, encodeCodebooks } from "../../src/codebooks/file.ts";
import { cacheCodebook, checkCodebookSet, findCodebook } from "../../src/codebooks/find.ts";
import { CoupletError, type CoupletErrorCode } from "../../src/base/errors.ts";
import {
  readSafetensors,
  type SafetensorsFile,
  writeSafetensors,
} from "../../src/base/safetensors.ts";
import { parseScheme } from "../../src/schemes/parse_scheme.ts";
import type { SchemeId } from "../../src/schemes/scheme.ts";
import type { Side } from "../../src/model/side.ts";
import { forgeCodebooks } from "../helpers/forged_files.ts";
import { addedCodebook } from "../helpers/grid_numbers.ts";
import { seededRandom } from "../../src/base/random.ts";

function codebook(layer: number, side: Side, scheme: SchemeId, scaled = false): Codebook {
  const size = 2 * 16 * parseScheme(scheme).centroids;
  const values = Float64Array.from({ length: size }, (_, i) => Math.sin(i + layer));
  return {
    layer,
    side,
    scheme,
    keyValueHeads: 2,
    headDim: 16,
    ...roundToGrid(values, scheme),
    ...(scaled ? { scale: new Float32Array(32).fill(1.5) } : {}),
    ...(layer === 0
      ? { fit: { errors: Float32Array.of(0.1, 0), variances: Float32Array.of(1, 2) } }
      : {}),
  };
}

const SET: CodebookSet = {
  model: { name: "tiny", digest: "sha256:0123" },
  keySpace: "pre-rope",
  provenance: { source: "a text", tokens: 4096, seed: 7, iterations: 30 },
  codebooks: [
    codebook(0, "keys", "c2b2"),
    codebook(0, "keys", "c4b4"),
    codebook(0, "values", "c4b4", true),
    codebook(1, "keys", "c4b4"),
  ],
};

const BYTES = encodeCodebooks(SET);

function isError(code: CoupletErrorCode, ...parts: string[]): (error: unknown) => boolean {
  return (error) =>
    error instanceof CoupletError && error.code === code &&
    parts.every((part) => error.message.includes(part));
}

/** The file with its content changed by `change`. */
function edited(
  change: (metadata: Record<string, string>, tensors: Map<string, object>) => void,
): Uint8Array {
  const file = readSafetensors(BYTES);
  const metadata = { ...file.metadata };
  const tensors = new Map(file.tensors);
  change(metadata, tensors);
  return writeSafetensors({ metadata, tensors });
}

Deno.test("decodeCodebooks gives back what encodeCodebooks wrote", () => {
  deepStrictEqual(decodeCodebooks(BYTES), SET);
});

Deno.test("encodeCodebooks is canonical: the order of the codebooks does not matter", () => {
  const reversed = { ...SET, codebooks: [...SET.codebooks].reverse() };
  deepStrictEqual(encodeCodebooks(reversed), BYTES);
});

Deno.test("decodeCodebooks accepts what it expects", () => {
  const set = decodeCodebooks(BYTES, {
    model: { name: "the same under another name", digest: "sha256:0123" },
    keySpace: "pre-rope",
    keyValueHeads: 2,
    headDim: 16,
  });
  strictEqual(set.codebooks.length, 4);
});

Deno.test("decodeCodebooks refuses codebooks of another model, space or shape", () => {
  const model = { name: "other", digest: "sha256:ffff" };
  throws(
    () => decodeCodebooks(BYTES, { model }),
    isError("codebook", "tiny", "other", "sha256:ffff"),
  );
  throws(() => decodeCodebooks(BYTES, { keySpace: "as-scored" }), isError("codebook", "pre-rope"));
  throws(() => decodeCodebooks(BYTES, { headDim: 64 }), isError("codebook", "16", "64"));
  throws(() => decodeCodebooks(BYTES, { keyValueHeads: 8 }), isError("codebook", "8"));
});

Deno.test("decodeCodebooks refuses another version, and names both", () => {
  const bytes = edited((metadata) => metadata["version"] = "1");
  throws(() => decodeCodebooks(bytes), isError("codebook", '"1"', "version 2", "Calibrate again"));
});

Deno.test("decodeCodebooks refuses a safetensors file that holds no codebooks", () => {
  const other: SafetensorsFile = { metadata: { format: "pt" }, tensors: new Map() };
  throws(() => decodeCodebooks(writeSafetensors(other)), isError("file", '"pt"'));
});

Deno.test("decodeCodebooks refuses metadata or tensors that were changed", () => {
  throws(
    () => decodeCodebooks(edited((metadata) => metadata["key_space"] = "as-scored")),
    isError("file", "checksum"),
  );
  throws(
    () => decodeCodebooks(edited((_, tensors) => tensors.delete("layers.0.keys.c2b2"))),
    isError("file", "checksum"),
  );
});

Deno.test("decodeCodebooks refuses a file cut at any length", () => {
  for (let length = 0; length < BYTES.length; length += length < 2000 ? 1 : 37) {
    throws(() => decodeCodebooks(BYTES.subarray(0, length)), isError("file"), `${length} bytes`);
  }
});

Deno.test("decodeCodebooks notices every change of a byte, and throws nothing but CoupletError", () => {
  fc.assert(
    fc.property(fc.nat(BYTES.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const corrupt = BYTES.slice();
      corrupt[at]! ^= change;
      let read: CodebookSet | undefined;
      try {
        read = decodeCodebooks(corrupt);
      } catch (error) {
        ok(error instanceof CoupletError, String(error));
      }
      // What is still read must say the same: a change within the JSON's white space.
      if (read !== undefined) deepStrictEqual(read, SET);
    }),
    { seed: 4, numRuns: 1500 },
  );
});

Deno.test("encodeCodebooks refuses codebooks that contradict themselves", () => {
  const good = SET.codebooks[0]!;
  const nan = good.grid.slice();
  nan[3] = 0x7e00;
  const infinite = good.grid.slice();
  infinite[0] = 0xfc00;
  const wrong: Codebook[][] = [
    [good, good],
    [{ ...good, centroids: good.centroids.slice(1) }],
    [{ ...good, grid: good.grid.slice(1) }],
    [{ ...good, grid: nan }],
    [{ ...good, grid: infinite }],
    [{ ...good, layer: -1 }],
    [{ ...good, scheme: "f16" }],
    [{ ...good, scale: new Float32Array(3).fill(1) }],
    [{ ...good, scale: new Float32Array(32) }],
    [{ ...good, fit: { ...good.fit!, errors: Float32Array.of(0.1) } }],
    [{ ...good, fit: { ...good.fit!, errors: Float32Array.of(0.1, -1) } }],
    [{ ...good, fit: { ...good.fit!, variances: Float32Array.of(NaN, 1) } }],
  ];
  for (const codebooks of wrong) {
    throws(() => encodeCodebooks({ ...SET, codebooks }), isError("codebook"));
  }
  throws(
    () => encodeCodebooks({ ...SET, codebooks: [{ ...good, headDim: 15 }] }),
    isError("shape"),
  );
});

Deno.test("findCodebook finds by layer, side and scheme, or names what there is", () => {
  strictEqual(findCodebook(SET, 0, "keys", "c4b4"), SET.codebooks[1]);
  throws(() => findCodebook(SET, 0, "keys", "c8b8"), isError("codebook", "c8b8", "c2b2, c4b4"));
  throws(() => findCodebook(SET, 1, "values", "c4b4"), isError("codebook", "layers 0, 1"));
  throws(
    () => findCodebook({ ...SET, codebooks: [] }, 0, "keys", "c4b4"),
    isError("codebook", "empty"),
  );
});

/** A turn of the first two channels by 0.3 in each head. */
function rotation(layer: number, change: (axes: Float32Array) => void = () => {}): ValueRotation {
  const axes = new Float32Array(2 * 16 * 16);
  for (let head = 0; head < 2; head++) {
    for (let i = 0; i < 16; i++) axes[(head * 16 + i) * 16 + i] = 1;
    axes.set([Math.cos(0.3), Math.sin(0.3)], head * 256);
    axes.set([-Math.sin(0.3), Math.cos(0.3)], head * 256 + 16);
  }
  change(axes);
  return { layer, keyValueHeads: 2, headDim: 16, axes };
}

Deno.test("decodeCodebooks gives rotations of values back, by layer", () => {
  const set = { ...SET, valueRotations: [rotation(1), rotation(0)] };
  deepStrictEqual(decodeCodebooks(encodeCodebooks(set)), {
    ...set,
    valueRotations: [rotation(0), rotation(1)],
  });
});

/** Axes of one head, with this many channels: Householder's reflections, whose every number counts. */
function householder(headDim: number, seed = 1): ValueRotation {
  const random = seededRandom(seed);
  const normal = Float64Array.from({ length: headDim }, () => random.next() - 0.5);
  const square = normal.reduce((sum, value) => sum + value * value, 0);
  const axes = Float32Array.from(
    { length: headDim * headDim },
    (_, at) => {
      const [i, j] = [Math.floor(at / headDim), at % headDim];
      return (i === j ? 1 : 0) - 2 * normal[i]! * normal[j]! / square;
    },
  );
  return { layer: 5, keyValueHeads: 1, headDim, axes };
}

/** Rotations that are none, and what of the error says so. */
const NO_ROTATIONS: Readonly<Record<string, readonly [ValueRotation[], string]>> = {
  "twice of a layer": [[rotation(1), rotation(1)], "two rotations"],
  "a longer axis": [[rotation(0, (axes) => axes[0]! *= 1.01)], "axis 0 of head 0"],
  "an axis a little longer": [
    [rotation(0, (axes) => axes[16 * 5 + 5]! *= 1.0001)],
    "axis 5 of head 0",
  ],
  "an axis that leans to another": [[rotation(0, (axes) => axes[256 + 3] = 0.005)], "of head 1"],
  "an axis twice": [
    [rotation(0, (axes) => axes.copyWithin(16 * 8, 16 * 9, 16 * 10))],
    "of head 0",
  ],
  "no axes": [[rotation(0, (axes) => axes.fill(0))], "axis 0 of head 0"],
  "no number": [[rotation(0, (axes) => axes[7] = NaN)], "NaN"],
  "an infinity": [[rotation(0, (axes) => axes[7] = Infinity)], "of head 0"],
  "too many values": [[{ ...rotation(0), headDim: 8 }], "512 values"],
  "a layer below the first": [[{ ...rotation(0), layer: -1 }], "layer -1"],
  "heads of other channels than its layer's": [
    [{ ...householder(8), layer: 0 }],
    "1 heads of 8 channels, and the c2b2 keys of layer 0 2 of 16",
  ],
  "other heads than its layer's": [[{ ...householder(16), layer: 1 }], "1 heads of 16 channels"],
  "one of 256 axes that leans to another": [
    [(() => {
      const found = householder(256);
      for (let i = 0; i < 256; i++) found.axes[i]! += 2e-4 * found.axes[200 * 256 + i]!;
      return found;
    })()],
    "of head 0",
  ],
};

for (const [name, [valueRotations, part]] of Object.entries(NO_ROTATIONS)) {
  Deno.test(`encodeCodebooks refuses rotations with ${name}`, () => {
    throws(() => encodeCodebooks({ ...SET, valueRotations }), isError("codebook", part));
  });
}

Deno.test("encodeCodebooks takes rotations of any number of channels, in time that their size decides", () => {
  // Products of all pairs of 1024 axes would take many times as long as all other tests here.
  for (const headDim of [1, 2, 64, 80, 256, 1024]) {
    const set = { ...SET, valueRotations: [householder(headDim)] };
    deepStrictEqual(decodeCodebooks(encodeCodebooks(set)), set);
  }
});

Deno.test("decodeCodebooks refuses rotations of other heads or channels than the model's", () => {
  const bytes = encodeCodebooks({ ...SET, codebooks: [], valueRotations: [householder(32)] });
  const of = { keyValueHeads: 1, headDim: 32 };
  strictEqual(decodeCodebooks(bytes, of).valueRotations!.length, 1);
  for (const other of [{ ...of, headDim: 64 }, { ...of, keyValueHeads: 2 }]) {
    throws(() => decodeCodebooks(bytes, other), isError("codebook", "rotation of the values"));
  }
});

Deno.test("codebooks of anchored keys say their anchors, and no others do", () => {
  const anchored: CodebookSet = { ...SET, keySpace: "anchored", anchors: [0, 8, 512] };
  deepStrictEqual(decodeCodebooks(encodeCodebooks(anchored)), anchored);
  const { anchors: _, ...without } = anchored;
  for (const set of [without, { ...SET, anchors: [0] }]) {
    throws(() => encodeCodebooks(set), isError("codebook", "anchors"));
  }
  const forged = [undefined, "[8]", '{"tokens":8}', '{"tokens":["8"]}'];
  for (const anchors of forged) {
    const bytes = forgeCodebooks({ key_space: "anchored", ...(anchors && { anchors }) });
    throws(() => decodeCodebooks(bytes), isError("file", "anchors"));
  }
});

Deno.test("checkCodebookSet refuses codebooks of rotated values where nobody says that values are", () => {
  const set = { ...SET, valueRotations: [rotation(0)] };
  const keys = { space: "pre-rope", rope: { layout: "half", theta: 10000 } } as const;
  const cache = { keys, layers: [{ keyOptions: keys, headDim: 64 }] };
  checkCodebookSet(set, cache, SET.model);
  checkCodebookSet(SET, cache, undefined);
  throws(() => checkCodebookSet(set, cache, undefined), isError("codebook", "rotated"));
});

Deno.test("codebooks that groups share have a transform, whose factors are powers of two or all 0", () => {
  const HALVES: Readonly<Record<string, number>> = { 1: 0x3c00, "-2": 0xc000, mean: 0x1234 };
  const headDim = 32;
  const good: Codebook = {
    layer: 0,
    side: "keys",
    scheme: "v4b8",
    keyValueHeads: 2,
    headDim,
    centroids: Uint8Array.from({ length: 2 * 256 * 4 }, (_, i) => i),
    grid: new Uint16Array(2 * 4 * 2),
    // Head 0 is rotated, head 1 is not.
    transform: Uint16Array.from(
      { length: 2 * headDim * 2 },
      (_, i) =>
        i % 2 === 1 ? HALVES["mean"]! : i >= 2 * headDim ? 0 : HALVES[i % 3 === 0 ? "1" : "-2"]!,
    ),
  };
  const set = (codebook: Codebook): CodebookSet => ({
    model: { name: "a", digest: "b" },
    keySpace: "as-scored",
    provenance: { source: "a", tokens: 1, seed: 1, iterations: 1 },
    codebooks: [codebook],
  });
  deepStrictEqual(decodeCodebooks(encodeCodebooks(set(good))).codebooks, [good]);
  const changed = (at: number, bits: number): Codebook => {
    const transform = good.transform!.slice();
    transform[at] = bits;
    return { ...good, transform };
  };
  const { transform: _, ...without } = good;
  const bad: Codebook[] = [
    without,
    { ...good, transform: good.transform!.slice(2) },
    { ...good, scheme: "c4b8" },
    changed(1, 0x7c00), // an infinite mean
    changed(2, 0x3c01), // no power of two
    changed(2, 0x0001), // 2^-24
    changed(2, 0), // 0 in a head that is rotated
    changed(66, 0x3c00), // not 0 in one that is not
    changed(64, 0x8000), // a negative zero
  ];
  for (const codebook of bad) {
    throws(() => encodeCodebooks(set(codebook)), { code: "codebook", message: /wrong transform/ });
  }
});

/** A codebook of two heads whose centroids are added, and a set that holds it alone. */
function added(scheme: SchemeId): Codebook {
  return { layer: 0, side: "keys", ...addedCodebook(scheme, 2, 32, seededRandom("added", scheme)) };
}

Deno.test("encodeCodebooks refuses added centroids whose grids, levels or normalisation cannot be", () => {
  const good = added("n8b8x2");
  const { normalisation } = good;
  const of = (codebook: Codebook): CodebookSet => ({ ...SET, codebooks: [codebook] });
  deepStrictEqual(decodeCodebooks(encodeCodebooks(of(good))).codebooks, [good]);

  const grid = (at: number, bits: number): Codebook => ({
    ...good,
    grid: good.grid.map((own, i) => i === at ? bits : own),
  });
  // Channel 0 of group 0: its highest levels of both stages.
  const levels = (first: number, second: number): Codebook => {
    const centroids = good.centroids.slice();
    [centroids[0], centroids[256 * 8]] = [first, second];
    return { ...good, centroids };
  };
  const normalised = (change: Partial<NonNullable<typeof normalisation>>): Codebook => ({
    ...good,
    normalisation: { ...normalisation!, ...change },
  });
  const replaced = <T extends Uint16Array | Float32Array>(all: T, at: number, value: number): T => {
    const changed = all.slice() as T;
    changed[at] = value;
    return changed;
  };
  const { normalisation: _, ...without } = good;
  const { offsets, meanSteps, sizes } = normalisation!;
  encodeCodebooks(of(levels(200, 55)));
  const cases: [Codebook, string][] = [
    [without, "the wrong normalisation"],
    [{ ...added("c8b8x2"), normalisation: normalisation! }, "the wrong normalisation"],
    [grid(2, 0), "a step at 2"],
    [grid(5, 0xbc00), "a step at 5"],
    [levels(200, 56), "levels of channel 0 that add up to 256"],
    [normalised({ offsets: replaced(offsets, 40, NaN) }), "an offset"],
    [normalised({ offsets: replaced(offsets, 0, Infinity) }), "an offset"],
    [normalised({ meanSteps: replaced(meanSteps, 63, 0x7c00) }), "a wrong step of its means"],
    [normalised({ meanSteps: replaced(meanSteps, 1, 0xbc00) }), "a wrong step of its means"],
    [normalised({ sizes: replaced(sizes, 31, 0x7c00) }), "sizes that are not"],
    [normalised({ sizes: replaced(sizes, 16, 0) }), "sizes that are not"],
    [normalised({ sizes: replaced(sizes, 20, sizes[18]!) }), "sizes that are not"],
  ];
  for (const [codebook, fault] of cases) {
    throws(() => encodeCodebooks(of(codebook)), isError("codebook", fault), fault);
  }
});

Deno.test("cacheCodebook() refuses codebooks of other heads or sizes, without what their scheme needs, or that share no centroids", () => {
  const sizes = { keyValueHeads: 2, headDim: 32 };
  const one = (codebook: Codebook, given: Parameters<typeof cacheCodebook>[1] = sizes) =>
    cacheCodebook({ ...SET, codebooks: [codebook] }, given, 0, "keys", codebook.scheme);
  const shared = (codebook: Codebook): Codebook => ({
    ...codebook,
    centroids: codebook.centroids.slice(0, codebook.centroids.length / 2),
  });
  const transformed: Codebook = {
    ...{ layer: 0, side: "keys", scheme: "v4b8", ...sizes },
    centroids: new Uint8Array(2 * 256 * 4),
    grid: new Uint16Array(2 * 4 * 2),
    transform: new Uint16Array(2 * 2 * 32),
  };
  const single = added("n4b8");
  const sums = added("n8b8x2");
  for (const codebook of [transformed, single, sums, shared(single), shared(sums)]) {
    strictEqual(one(codebook), codebook);
  }
  for (const codebook of [single, sums]) {
    const sharing = { ...sizes, shareHeads: true };
    strictEqual(one(shared(codebook), sharing)?.scheme, codebook.scheme);
    throws(() => one(codebook, sharing), isError("codebook", codebook.scheme, "shareHeads"));
  }
  const { transform, ...untransformed } = transformed;
  const { normalisation, ...plain } = sums;
  const { offsets } = normalisation!;
  const wrong: [Codebook, Parameters<typeof cacheCodebook>[1]?][] = [
    [sums, { ...sizes, keyValueHeads: 1 }],
    [sums, { ...sizes, headDim: 64 }],
    [{ ...sums, centroids: sums.centroids.slice(1) }],
    [{ ...sums, grid: sums.grid.slice(1) }],
    [untransformed],
    [{ ...transformed, transform: transform!.slice(2) }],
    [plain],
    [{ ...sums, normalisation: { ...normalisation!, offsets: offsets.slice(1) } }],
  ];
  for (const [codebook, given] of wrong) {
    throws(() => one(codebook, given), isError("codebook", `Cannot use ${codebook.scheme}`));
  }
});
