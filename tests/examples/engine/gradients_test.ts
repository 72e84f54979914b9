import assert from "node:assert/strict";
import { type Checkpoint, loadModel } from "../../../examples/engine/mod.ts";
import { createGradientEngine, type Gradients } from "../../../examples/engine/gradients.ts";
import { gradientKernelSources } from "../../../examples/engine/gradient_operations.ts";
import { referenceForward } from "../../../examples/engine/reference.ts";
import { requestTestDevice } from "../../../tools/adapter.ts";
import { compileWithTint } from "../../../tools/tint.ts";
import {
  FIXTURE,
  type Json,
  randomTensors,
  readExpected,
  singleFile,
  TINY,
  withModel,
} from "../../helpers/llama.ts";

/** Float32 arithmetic against float64, relative to a tensor's root mean square. */
const EXACT = 1e-3;

const device = await requestTestDevice();
const fixture = await loadModel(FIXTURE);
const expected = readExpected();

/** Gradients of some windows, the engine destroyed. */
async function gradients(
  checkpoint: Checkpoint,
  windows: readonly (readonly number[])[],
  together = 2,
): Promise<Gradients> {
  const windowTokens = Math.max(...windows.map(({ length }) => length));
  const engine = await createGradientEngine({
    device,
    checkpoint,
    windowTokens,
    windows: together,
  });
  try {
    return await engine.run(windows);
  } finally {
    engine.destroy();
  }
}

/** The largest difference of two tensors, relative to the second's root mean square. */
function relativeError(found: ArrayLike<number>, wanted: ArrayLike<number>): number {
  assert.equal(found.length, wanted.length);
  let squares = 0;
  let largest = 0;
  for (let i = 0; i < wanted.length; i++) {
    squares += wanted[i]! ** 2;
    const difference = Math.abs(found[i]! - wanted[i]!);
    if (!(difference <= largest)) largest = difference;
  }
  return largest / Math.sqrt(squares / wanted.length);
}

function someTokens(count: number, vocabularySize: number, seed = 1): number[] {
  return Array.from(
    { length: count },
    (_, i) => (i * i * 31 + i * 17 + seed * 101) % vocabularySize,
  );
}

Deno.test("gradients of the fixture equal PyTorch's", async () => {
  const found = await gradients(fixture, [expected.tokenIds]);
  const perLayer = (name: string, layer: number) => {
    const all = expected.tensor(name);
    const size = all.length / fixture.config.layers;
    return all.subarray(layer * size, (layer + 1) * size);
  };
  const loss = expected.tensor("losses").reduce((sum, one) => sum + one, 0);
  assert.ok(Math.abs(found.loss - loss) < 1e-4 * loss, `the loss is ${found.loss}, not ${loss}`);
  found.layers.forEach((layer, index) => {
    const pairs = [
      ["queries_pre_rope", layer.queries],
      ["keys_pre_rope", layer.keys],
      ["values", layer.values],
      ["key_gradients", layer.keyGradients],
      ["value_gradients", layer.valueGradients],
    ] as const;
    for (const [name, values] of pairs) {
      const error = relativeError(values, perLayer(name, index));
      assert.ok(error < EXACT, `${name} of layer ${index} are off by ${error}`);
    }
  });
});

Deno.test("windows do not see each other, whatever their lengths and how many run together", async () => {
  const windows = [expected.tokenIds.slice(0, 70), expected.tokenIds.slice(70, 128), [
    ...expected.tokenIds.slice(30, 100),
  ]];
  const together = await gradients(fixture, windows, 3);
  let first = 0;
  for (const window of windows) {
    const alone = await gradients(fixture, [window], 1);
    together.layers.forEach((layer, index) => {
      for (const name of ["keys", "values", "keyGradients", "valueGradients"] as const) {
        const all = layer[name];
        const width = all.length / windows.flat().length;
        const part = all.subarray(first * width, (first + window.length) * width);
        const error = relativeError(part, alone.layers[index]![name]);
        assert.ok(error < EXACT, `${name} of layer ${index} are off by ${error}`);
      }
    });
    first += window.length;
  }
});

const MODELS: Record<string, Json> = {
  "llama with all biases": { ...TINY, attention_bias: true, mlp_bias: true },
  "qwen2 with biases": { ...TINY, model_type: "qwen2", tie_word_embeddings: true },
  "qwen3 with query and key norms": { ...TINY, model_type: "qwen3" },
};

for (const [name, config] of Object.entries(MODELS)) {
  Deno.test(`gradients of ${name} equal finite differences of the float64 reference`, async () => {
    await withModel(singleFile(config, randomTensors(config)), async (folder) => {
      const checkpoint = await loadModel(folder);
      const tokenIds = someTokens(20, checkpoint.config.vocabularySize);
      const found = await gradients(checkpoint, [tokenIds]);
      const { keyValueHeads, headDim, layers } = checkpoint.config;
      const width = keyValueHeads * headDim;
      for (let layer = 0; layer < layers; layer++) {
        for (const side of ["keys", "values"] as const) {
          const name = side === "keys" ? "keyGradients" : "valueGradients";
          const all = found.layers[layer]![name];
          const scale = Math.sqrt(all.reduce((sum, one) => sum + one * one, 0) / all.length);
          for (const at of [0, width + 3, 7 * width + 9, 13 * width + width - 1, 18 * width + 4]) {
            const wanted = slope(checkpoint, tokenIds, layer, side, at);
            const error = Math.abs(all[at]! - wanted) / scale;
            assert.ok(error < 2e-3, `${side} of layer ${layer}, element ${at}: off by ${error}`);
          }
        }
      }
    });
  });
}

/** Central difference of the summed loss over one element of a layer's keys or values. */
function slope(
  checkpoint: Checkpoint,
  tokenIds: readonly number[],
  layer: number,
  side: "keys" | "values",
  at: number,
): number {
  const step = 1e-4;
  const [high, low] = [step, -step].map((change) =>
    referenceForward(checkpoint, tokenIds, (index, kind, values) => {
      if (index === layer && kind === side) values[at]! += change;
    }).losses.reduce((sum, one) => sum + one, 0)
  );
  return (high! - low!) / (2 * step);
}

Deno.test("createGradientEngine() refuses windows longer than the model's positions", async () => {
  await assert.rejects(
    createGradientEngine({ device, checkpoint: fixture, windowTokens: 513 }),
    { code: "usage" },
  );
});

Deno.test("GradientEngine.run() refuses windows that are empty, too long or of unknown tokens", async () => {
  const engine = await createGradientEngine({ device, checkpoint: fixture, windowTokens: 8 });
  for (const windows of [[[]], [someTokens(9, 2048)], [[2048]], [[-1]], [[0.5]]]) {
    await assert.rejects(engine.run(windows), { code: "usage" });
  }
  engine.destroy();
});

Deno.test("createGradientEngine() names the buffer that exceeds the device's limits", async () => {
  await assert.rejects(
    createGradientEngine({ device, checkpoint: fixture, windowTokens: 512, windows: 1000 }),
    { code: "limits", message: /fewer windows/ },
  );
});

Deno.test("every gradient kernel compiles under Tint", async () => {
  const sources = [...gradientKernelSources()].map(([name, { code }]) => [name, code] as const);
  assert.deepEqual(await compileWithTint(new Map(sources)), new Map());
});
