import assert from "node:assert/strict";
import { join } from "node:path";
import {
  calibrate,
  type CodebookSet,
  decodeCodebooks,
  encodeCodebooks,
  readSamples,
  type ValueRotation,
  writeSamples,
} from "../../mod.ts";
import { folderDigest, rotatedDigest } from "../../cli/model_folder.ts";
import { foldRotations } from "../../examples/engine/rotate_values.ts";
import { loadModel } from "../../examples/engine/mod.ts";
import { couplet, coupletJson, withFolder } from "../helpers/cli.ts";
import { randomTensors, TINY, withModel } from "../helpers/llama.ts";

const FIXTURE = new URL("../fixtures/tiny-llama", import.meta.url).pathname;
const SAMPLES = new URL("../fixtures/python/samples.safetensors", import.meta.url).pathname;

const { fingerprint } = await loadModel(FIXTURE);

/** Codebooks of layers 0 and 3 of the fixture. */
const set = await calibrate({
  samples: readSamples(await Deno.readFile(SAMPLES)),
  schemes: { keys: ["c1b1", "v4b8"], values: ["c2b2"] },
  keySpace: "pre-rope",
  model: fingerprint,
  seed: 1,
  source: "a text",
});

const axes = Float32Array.from({ length: 2 * 64 * 64 }, (_, i) => Number(i % 4096 % 65 === 0));
const rotation: ValueRotation = { layer: 3, keyValueHeads: 2, headDim: 64, axes };

/** Runs a command on a file of codebooks. */
async function onFile(
  codebooks: CodebookSet | Uint8Array,
  command: string,
  ...args: string[]
): Promise<Awaited<ReturnType<typeof couplet>>> {
  return await withFolder(async (folder) => {
    const path = join(folder, "codebooks");
    const bytes = codebooks instanceof Uint8Array ? codebooks : encodeCodebooks(codebooks);
    await Deno.writeFile(path, bytes);
    return await couplet(["codebooks", command, path, ...args]);
  });
}

/** As {@linkcode onFile}, for programs. */
async function jsonOf(...args: Parameters<typeof onFile>) {
  const { output } = await onFile(...args, "--json");
  return JSON.parse(output);
}

Deno.test("couplet codebooks info says what a file holds", async () => {
  const bytes = encodeCodebooks({ ...set, valueRotations: [rotation] }).length;
  const found = await jsonOf({ ...set, valueRotations: [rotation] }, "info");
  const { codebooks, ...about } = found;
  const { model, keySpace, provenance } = set;
  assert.deepEqual(about, {
    model,
    keySpace,
    provenance,
    bytes,
    valueRotations: [{ layer: 3, keyValueHeads: 2, headDim: 64, bytes: 32768 }],
  });
  assert.equal(codebooks.length, 6);
  const { lostVariance, ...shared } = codebooks[1];
  assert.deepEqual(shared, {
    layer: 0,
    side: "keys",
    scheme: "v4b8",
    keyValueHeads: 2,
    headDim: 64,
    bytes: 2 * 256 * 4 + 2 * 4 * 4 + 2 * 64 * 4 + 2 * 8,
    parts: { centroids: 2 * 256 * 4, grid: 2 * 4 * 4, transform: 2 * 64 * 4, fit: 2 * 8 },
  });
  assert.ok(lostVariance > 0 && lostVariance < 1);

  const { output } = await onFile(set, "info");
  assert.match(output, /^model +tiny-llama \(sha256:[0-9a-f]{64}\)$/m);
  assert.match(output, /^keys +pre-rope$/m);
  assert.match(output, /^learned on +a text: 24 tokens, seed 1/m);
  assert.match(output, /^rotations +none$/m);
  assert.match(output, /6 codebooks of c1b1, c2b2, v4b8$/m);
  assert.match(output, /^ +3 +values +c2b2 +2 x 64 +.* KiB +0\.\d{4} +centroids, grid, fit$/m);
});

Deno.test("couplet codebooks info shows codebooks without a fit or anything else", async () => {
  const bare = set.codebooks.slice(0, 1).map(({ fit: _, ...one }) => one);
  const { codebooks: [one] } = await jsonOf({ ...set, codebooks: bare }, "info");
  assert.ok(!("lostVariance" in one));
  assert.deepEqual(Object.keys(one.parts), ["centroids", "grid"]);
  const { output, exitCode } = await onFile({ ...set, codebooks: [] }, "info");
  assert.equal(exitCode, 0);
  assert.match(output, /0 codebooks$/m);
});

Deno.test("couplet codebooks verify checks the content alone without a model", async () => {
  assert.deepEqual(await jsonOf(set, "verify"), {
    bytes: encodeCodebooks(set).length,
    codebooks: 6,
    model: fingerprint,
    comparedWith: null,
  });
  const { output } = await onFile(set, "verify");
  assert.match(output, /^model .*not compared: pass --model$/m);
});

Deno.test("couplet codebooks verify compares a model's digest and shapes", async () => {
  const found = await jsonOf(set, "verify", "--model", FIXTURE);
  assert.equal(found.comparedWith, FIXTURE);
  assert.deepEqual(found.layersWithout, { keys: [1, 2], values: [1, 2] });
  const { output } = await onFile(set, "verify", "--model", FIXTURE);
  assert.match(output, /^shapes +4 layers/m);
  assert.match(output, /^keys +there are no codebooks for layers 1 to 2$/m);
});

Deno.test("couplet codebooks verify knows the digest of a model with rotated values", async () => {
  const checkpoint = foldRotations(await loadModel(FIXTURE), [rotation]);
  const rotated = { ...set, model: checkpoint.fingerprint, valueRotations: [rotation] };
  assert.equal((await onFile(rotated, "verify", "--model", FIXTURE)).exitCode, 0);
  const { errors, exitCode } = await onFile(
    { ...rotated, model: fingerprint },
    "verify",
    "--model",
    FIXTURE,
  );
  assert.equal(exitCode, 1);
  assert.match(errors, /with the values rotated/);
});

/** Every byte of the file but one. */
function damaged(): Uint8Array {
  const bytes = encodeCodebooks(set);
  bytes[bytes.length - 1]! ^= 1;
  return bytes;
}

/** Codebooks whose first is changed. */
function changed(change: object): CodebookSet {
  const [first, ...others] = set.codebooks;
  return { ...set, codebooks: [{ ...first!, ...change }, ...others] };
}

const half = set.codebooks[0]!;

for (
  const [name, codebooks, code, says] of [
    ["a damaged byte", damaged(), "file", /checksum/],
    [
      "another model's digest",
      { ...set, model: { name: "m", digest: `sha256:${"0".repeat(64)}` } },
      "codebook",
      /learned on m \(sha256:0+\).*Calibrate this model/,
    ],
    [
      "a digest of another form",
      { ...set, model: { name: "m", digest: "v1" } },
      "codebook",
      /compare it yourself/,
    ],
    ["a layer the model lacks", changed({ layer: 4 }), "shape", /layers 0 to 3/],
    [
      "other heads",
      changed({
        keyValueHeads: 1,
        centroids: half.centroids.subarray(0, half.centroids.length / 2),
        grid: half.grid.subarray(0, half.grid.length / 2),
        fit: undefined,
      }),
      "shape",
      /c1b1 keys of layer 0 are for 1 heads of 64 channels, and the model has 2 of 64/,
    ],
    [
      "a rotation of another layer",
      { ...set, valueRotations: [{ ...rotation, layer: 9 }] },
      "shape",
      /rotation of the values of layer 9/,
    ],
  ] as const
) {
  Deno.test(`couplet codebooks verify refuses ${name}`, async () => {
    const plain = await onFile(codebooks, "verify", "--model", FIXTURE);
    assert.equal(plain.exitCode, 1);
    assert.match(plain.errors, says);
    const { error } = await jsonOf(codebooks, "verify", "--model", FIXTURE);
    assert.equal(error.code, code);
    for (const part of ["what", "why", "remedy"]) assert.ok(error[part].length > 5, part);
  });
}

Deno.test("couplet codebooks verify refuses folders without a whole model", async () => {
  const tensors = randomTensors(TINY);
  const config = { ...TINY, model_type: "unheard-of" };
  await withModel({ config, files: new Map([["model.safetensors", tensors]]) }, async (folder) => {
    const unknown = await onFile(set, "verify", "--model", folder);
    assert.match(unknown.errors, /unheard-of.*--as/);
    const shapes = await onFile(set, "verify", "--model", folder, "--as", "llama");
    assert.match(shapes.errors, /heads of 64 channels, and the model has 2 of 8/);
  });
  await withModel({ config: TINY, files: new Map() }, async (folder) => {
    await Deno.copyFile(join(FIXTURE, "config.json"), join(folder, "config.json"));
    const { errors, exitCode } = await onFile(set, "verify", "--model", folder);
    assert.equal(exitCode, 1);
    assert.match(errors, /no weights/);
  });
});

Deno.test("folderDigest is the digest that loadModel gives, of one file and of shards", async () => {
  assert.equal(await folderDigest(FIXTURE), fingerprint.digest);
  const all = [...randomTensors(TINY)];
  const shard = (i: number) => `model-0000${i + 1}-of-00002.safetensors`;
  const files = new Map([1, 0].map((i) => [shard(i), new Map(all.filter((_, n) => n % 2 === i))]));
  const index = Object.fromEntries(all.map(([name], n) => [name, shard(n % 2)]));
  await withModel({ config: TINY, files, index }, async (folder) => {
    const done: number[] = [];
    const digest = await folderDigest(folder, (fraction) => done.push(fraction));
    assert.equal(digest, (await loadModel(folder)).fingerprint.digest);
    assert.deepEqual(done, [1 / 3, 2 / 3, 1]);
  });
});

Deno.test("rotatedDigest depends on the rotations, and not on their order", () => {
  const other = { ...rotation, layer: 0 };
  const both = rotatedDigest("d", [rotation, other]);
  assert.equal(rotatedDigest("d", [other, rotation]), both);
  assert.notEqual(rotatedDigest("d", [rotation]), both);
});

/** Arguments that files with metadata need no more than. */
const CALIBRATE = ["calibrate", "samples", "--cpu", "--scheme", "c1b1", "--out"];

Deno.test("couplet calibrate samples takes model, space and source from the samples", async () => {
  await withFolder(async (folder) => {
    const out = join(folder, "out");
    await coupletJson([...CALIBRATE, out, SAMPLES, SAMPLES, "--model", "renamed"]);
    const { model, keySpace, provenance } = decodeCodebooks(await Deno.readFile(out));
    assert.deepEqual(model, { name: "renamed", digest: fingerprint.digest });
    assert.equal(keySpace, "pre-rope");
    assert.equal(provenance.source, "tokens.json, 2 windows");
    assert.equal(provenance.tokens, 48);
  });
});

Deno.test("couplet calibrate samples codes keys with the rotary embedding of the samples", async () => {
  await withFolder(async (folder) => {
    const [out, bare] = [join(folder, "out"), join(folder, "bare")];
    const samples = readSamples(await Deno.readFile(SAMPLES));
    const args = ["calibrate", "samples", "--cpu", "--keys", "v4b8", "--values", "f16"];
    await coupletJson([...args, "--out", out, SAMPLES]);
    const expected = await calibrate({
      samples,
      schemes: { keys: ["v4b8"], values: [] },
      keySpace: "pre-rope",
      model: fingerprint,
      seed: 1,
      source: "tokens.json, 2 windows",
    });
    assert.deepEqual(decodeCodebooks(await Deno.readFile(out)), expected);

    const origin = { model: fingerprint, keySpace: "pre-rope" } as const;
    const without = samples.map(({ positions: _, ...one }) => one);
    await Deno.writeFile(bare, writeSamples(without, origin));
    const { exitCode, errors } = await couplet([...args, "--out", out, bare]);
    assert.equal(exitCode, 1);
    assert.match(errors, /the samples have no positions/);
  });
});

Deno.test("couplet calibrate samples learns anchored keys from samples before their rotary embedding", async () => {
  await withFolder(async (folder) => {
    const out = join(folder, "out");
    const args = [...CALIBRATE, out, SAMPLES, "--space", "anchored"];
    await coupletJson(args);
    const expected = await calibrate({
      samples: readSamples(await Deno.readFile(SAMPLES)),
      schemes: { keys: ["c1b1"], values: ["c1b1"] },
      keySpace: "anchored",
      model: fingerprint,
      seed: 1,
      source: "tokens.json, 2 windows",
    });
    assert.deepEqual(decodeCodebooks(await Deno.readFile(out)), expected);
    const { output } = await couplet(["codebooks", "info", out]);
    assert.match(output, /keys +anchored, by eight pairs: \d+/);
  });
});

for (
  const [name, args, exitCode, says] of [
    ["a space the files contradict", ["--space", "as-scored"], 1, /as-scored and pre-rope/],
    ["a digest the files contradict", ["--digest", "d"], 1, /digest is d and sha256:/],
    ["a space that nothing tells", ["BARE", "--model", "m", "--digest", "d"], 2, /--space/],
    ["a digest that nothing tells", ["BARE", "--model", "m", "--space", "pre-rope"], 2, /--digest/],
    ["a model that nothing tells", ["BARE", "--digest", "d", "--space", "pre-rope"], 2, /--model/],
  ] as const
) {
  Deno.test(`couplet calibrate samples refuses ${name}`, async () => {
    await withFolder(async (folder) => {
      const bare = join(folder, "bare");
      await Deno.writeFile(bare, writeSamples(readSamples(await Deno.readFile(SAMPLES))));
      const files = (args as readonly string[]).includes("BARE") ? [] : [SAMPLES];
      const argv = [...CALIBRATE, join(folder, "out"), ...files, ...args];
      const found = await couplet(argv.map((word) => word === "BARE" ? bare : word));
      assert.equal(found.exitCode, exitCode, found.errors);
      assert.match(found.errors, says);
    });
  });
}
