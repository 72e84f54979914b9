/**
 * tools/python/couplet_samples.py: a file that it wrote, beside the example engine's numbers; and the tool itself, where
 * there is a Python with torch and safetensors: `python3`, or the one that the variable PYTHON names.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type CalibrationSamples, readSampleOrigin, readSamples } from "../../mod.ts";
import { loadModel } from "../../examples/engine/mod.ts";
import { weightedSamples } from "../../examples/engine/weighted_samples.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { withFolder } from "../helpers/cli.ts";
import { FIXTURE, readExpected } from "../helpers/llama.ts";

const TOOL = "tools/python/couplet_samples.py";
const GOLDEN = "tests/fixtures/python/samples.safetensors";
const TOKENS = "tests/fixtures/python/tokens.json";
const LAYERS = [0, 3];

/** Float32 arithmetic in another order, relative to the root mean square or the largest weight. */
const EXACT = 1e-3;

const PYTHON = Deno.env.get("PYTHON") ?? "python3";
const windows: readonly (readonly number[])[] = JSON.parse(await Deno.readTextFile(TOKENS));
const device = await requestTestDevice();
const checkpoint = await loadModel(FIXTURE);
const captured = await weightedSamples({ device, checkpoint, windows, weighting: "fisher" });
device.destroy();

/** Runs Python; undefined where there is none. */
async function python(args: readonly string[]) {
  try {
    const { code, stdout, stderr } = await new Deno.Command(PYTHON, { args: [...args] }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, output: text(stdout), errors: text(stderr) };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

const runnable = (await python(["-c", "import torch, safetensors.torch"]))?.code === 0;
if (!runnable) console.error(`${PYTHON} has no torch or safetensors: ${TOOL} is not run`);

/** Asserts that all numbers differ by less than a share of a size. */
function assertNear(found: Float32Array, wanted: Float32Array, size: number, what: string): void {
  assert.equal(found.length, wanted.length, what);
  const worst = found.findIndex((value, i) => !(Math.abs(value - wanted[i]!) < EXACT * size));
  assert.equal(worst, -1, `${what}: ${found[worst]} is not ${wanted[worst]}`);
}

function rootMeanSquare(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
}

/** Asserts that a file holds what the example engine captures of the same tokens. */
function assertCaptured(bytes: Uint8Array): void {
  const positions = windows.flatMap((window) => window.map((_, token) => token));
  const wanted = captured.filter(({ layer }) => LAYERS.includes(layer));
  const samples = readSamples(bytes);
  const about = ({ layer, side, keyValueHeads, headDim, rope }: CalibrationSamples) => ({
    ...{ layer, side, keyValueHeads, headDim },
    ...(rope && { layout: rope.layout, theta: rope.theta }),
  });
  assert.deepEqual(samples.map(about), wanted.map(about));
  samples.forEach((one, i) => {
    const { values, weights } = wanted[i]!;
    const what = `${one.side} of layer ${one.layer}`;
    assert.deepEqual(one.positions, positions);
    assertNear(one.values, values, rootMeanSquare(values), what);
    assertNear(one.weights!, weights!, Math.max(...weights!), `weights of the ${what}`);
    assert.ok(Math.max(...weights!) > 0);
  });
}

Deno.test("couplet_samples.py: its file tells the model, the space and the text", async () => {
  assert.deepEqual(readSampleOrigin(await Deno.readFile(GOLDEN)), {
    model: checkpoint.fingerprint,
    keySpace: "pre-rope",
    source: "tokens.json, 2 windows",
  });
});

Deno.test("couplet_samples.py: its file holds what the example engine captures", async () => {
  assertCaptured(await Deno.readFile(GOLDEN));
});

Deno.test("couplet_samples.py: its file holds what PyTorch computed in float64", async () => {
  const { tokenIds, tensor } = readExpected();
  const [first] = windows;
  assert.deepEqual(first, tokenIds.slice(0, first!.length));
  const names = { keys: "keys_pre_rope", values: "values" };
  for (const { layer, side, values } of readSamples(await Deno.readFile(GOLDEN))) {
    const all = tensor(names[side]);
    const from = layer * all.length / checkpoint.config.layers;
    const size = first!.length * 128;
    const wanted = all.slice(from, from + size);
    assertNear(values.slice(0, size), wanted, rootMeanSquare(wanted), `${side} of layer ${layer}`);
  }
});

/** Runs the tool on the fixture. */
async function capture(out: string, ...args: string[]) {
  return (await python([TOOL, FIXTURE, "--out", out, ...args]))!;
}

Deno.test({
  name: "couplet_samples.py writes such a file",
  ignore: !runnable,
  fn: () =>
    withFolder(async (folder) => {
      const out = join(folder, "samples.safetensors");
      const { code, errors } = await capture(out, "--ids", TOKENS, "--layers", "0,3");
      assert.equal(code, 0, errors);
      assertCaptured(await Deno.readFile(out));
    }),
});

Deno.test({
  name: "couplet_samples.py cuts one list of token ids into windows, and leaves weights out",
  ignore: !runnable,
  fn: () =>
    withFolder(async (folder) => {
      const [ids, out] = [join(folder, "ids.json"), join(folder, "samples.safetensors")];
      await Deno.writeTextFile(ids, JSON.stringify(Array.from({ length: 50 }, (_, i) => i)));
      const options = "--context 8 --tokens 20 --weights none --samples bf16 --layers 1".split(" ");
      const { code, errors } = await capture(out, "--ids", ids, ...options);
      assert.equal(code, 0, errors);
      const samples = readSamples(await Deno.readFile(out));
      assert.deepEqual(samples.map(({ layer, side }) => `${layer} ${side}`), [
        "1 keys",
        "1 values",
      ]);
      for (const { positions, weights } of samples) {
        assert.deepEqual(positions, Array.from({ length: 24 }, (_, i) => i % 8));
        assert.equal(weights, undefined);
      }
    }),
});

for (
  const [name, ids, args, says] of [
    ["unknown tokens", "[[1, 2048]]", [], /a token is 2048, and the vocabulary has 2048/],
    ["no token ids", '{"a": 1}', [], /anything but lists of token ids/],
    ["no JSON", "1,", [], /Cannot read .*ids\.json/],
    ["a short text", "[1, 2, 3]", [], /it has 3 tokens and one window takes 512/],
    ["windows longer than the model", `[${Array(513).fill(1)}]`, ["--context", "513"], /512/],
    ["a layer the model lacks", "[[1, 2]]", ["--layers", "2-4"], /no layer 4, only 0 to 3/],
    ["another part", "[[1, 2]]", ["--within", "vision"], /under "vision" has k_proj/],
  ] as const
) {
  Deno.test({
    name: `couplet_samples.py refuses ${name}, in one line`,
    ignore: !runnable,
    fn: () =>
      withFolder(async (folder) => {
        const path = join(folder, "ids.json");
        await Deno.writeTextFile(path, ids);
        const found = await capture(join(folder, "out"), "--ids", path, "--loader", "own", ...args);
        assert.equal(found.code, 1);
        assert.match(found.errors, says);
        assert.match(found.errors, /^error: .*\n$/m);
        assert.doesNotMatch(found.errors, /Traceback/);
      }),
  });
}
