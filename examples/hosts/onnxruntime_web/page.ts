/**
 * ONNX Runtime Web and a cache on one device: a prompt's keys and values leave the session as GPU
 * buffers, are compressed, stored in the browser, and come back as tensors the session goes on from.
 *
 * @module
 */
import * as ort from "onnxruntime-web/webgpu";
import {
  createCache,
  type ModelFingerprint,
  planCache,
  type PlanOptions,
  requiredLimits,
  restoreLongestPrefix,
  storePrefix,
} from "../../../mod.ts";
import { kernels } from "../../../generated/u4b8/u4b8_d64.ts";
import {
  appendOrtTensors,
  type OrtLayer,
  ortLayout,
  readOrtTensors,
} from "../../../src/hosts/ort.ts";
import { openOpfsStore } from "../../../src/snapshots/stores/opfs.ts";
import { QualityTally, referenceRow } from "../../demo/metrics.ts";
import type { Prompt } from "../prompt.ts";
import { report } from "../report.ts";

const LAYERS = 4;
const KEY_VALUE_HEADS = 2;
const HEAD_DIM = 64;
const STEP_TOKENS = 32;

const OPTIONS: PlanOptions = {
  shape: { layers: LAYERS, queryHeads: 4, keyValueHeads: KEY_VALUE_HEADS, headDim: HEAD_DIM },
  // A universal scheme needs no calibration.
  policy: { keys: "u4b8", values: "u4b8" },
  // The model's graph rotates keys before it gives them away.
  keys: { space: "as-scored" },
  tiers: { sinks: 4, window: 32 },
  capacity: {
    sequences: 1,
    tokens: 256,
    sequenceTokens: 256,
    stepTokens: STEP_TOKENS,
    appendTokens: STEP_TOKENS,
  },
  io: ortLayout(HEAD_DIM, STEP_TOKENS, "f32"),
  kernels,
};

await report(async (say) => {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw new Error("This browser offers no WebGPU adapter");
  const device = await adapter.requestDevice({ requiredLimits: { ...requiredLimits(OPTIONS) } });
  ort.env.wasm.wasmPaths = "/ort/";
  const session = await ort.InferenceSession.create("/model/onnx/model.onnx", {
    // The session computes on this device, so that buffers can go from one to the other.
    executionProviders: [{ name: "webgpu", device }],
    preferredOutputLocation: Object.fromEntries(
      layerNames("present").flat().map((name) => [name, "gpu-buffer"]),
    ),
  });
  const { tokenIds, continuation, model }: Prompt = await (await fetch("/prompt.json")).json();

  const first = await session.run(feeds(tokenIds, 0, emptyPast()));
  const present = layerNames("present").map(([keys, values]): OrtLayer<ort.Tensor> => ({
    keys: first[keys]!,
    values: first[values]!,
  }));
  const wanted = await session.run(feeds(continuation, tokenIds.length, present));
  disposeOf(wanted);
  const tensorBytes = present.reduce(
    (sum, { keys, values }) => sum + 4 * (keys.size + values.size),
    0,
  );
  say(`keys and values of ${tokenIds.length} tokens as tensors: ${tensorBytes} bytes on the GPU`);

  const stored = await park(device, model, tokenIds, present);
  disposeOf(first);
  say(`as a snapshot in the browser's own file system: ${stored} bytes`);

  const past = await unpark(device, model, tokenIds);
  const found = await session.run(feeds(continuation, tokenIds.length, past));
  for (const { keys, values } of past) [keys, values].forEach((tensor) => tensor.dispose());
  disposeOf(found);

  const quality = compare(wanted.logits!, found.logits!, continuation);
  say(
    `the next ${quality.tokens} tokens: KL divergence ${
      quality.divergence.toFixed(5)
    } nats from those of the ` +
      `tensors that were never compressed, the same likeliest token ${
        (100 * quality.agreement).toFixed(1)
      } %`,
  );
  return { tensorBytes, stored, ...quality };
});

/** Compresses and stores a prompt; nothing of it stays on the device. Gives the bytes stored. */
async function park(
  device: GPUDevice,
  model: ModelFingerprint,
  tokenIds: readonly number[],
  present: readonly OrtLayer[],
): Promise<number> {
  const cache = await createCache({ device, plan: planCache(OPTIONS), model });
  const sequence = cache.createSequence();
  await appendOrtTensors(device, cache, sequence, present);
  const store = await openOpfsStore();
  const key = await storePrefix(cache, store, sequence, tokenIds);
  cache.destroy();
  return (await store.get(key))!.length;
}

/** The prompt's tensors, out of what was stored. */
async function unpark(
  device: GPUDevice,
  model: ModelFingerprint,
  tokenIds: readonly number[],
): Promise<OrtLayer<ort.Tensor>[]> {
  const cache = await createCache({ device, plan: planCache(OPTIONS), model });
  const store = await openOpfsStore();
  const { sequence } = await restoreLongestPrefix(cache, store, tokenIds, tokenIds.length);
  const past = readOrtTensors(device, cache, sequence, ort.Tensor);
  cache.destroy();
  return past;
}

/** The names of every layer's keys and values. */
function layerNames(kind: "present" | "past_key_values"): [string, string][] {
  return Array.from({ length: LAYERS }, (_, layer) => [
    `${kind}.${layer}.key`,
    `${kind}.${layer}.value`,
  ]);
}

function emptyPast(): OrtLayer<ort.Tensor>[] {
  const none = () =>
    new ort.Tensor("float32", new Float32Array(0), [1, KEY_VALUE_HEADS, 0, HEAD_DIM]);
  return Array.from({ length: LAYERS }, () => ({ keys: none(), values: none() }));
}

/** What a run takes: tokens from a position on, and the past before it. */
function feeds(
  tokenIds: readonly number[],
  position: number,
  past: readonly OrtLayer<ort.Tensor>[],
): Record<string, ort.Tensor> {
  const integers = (values: readonly number[]) =>
    new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
  return {
    input_ids: integers(tokenIds),
    attention_mask: integers(new Array<number>(position + tokenIds.length).fill(1)),
    position_ids: integers(tokenIds.map((_, i) => position + i)),
    ...Object.fromEntries(
      layerNames("past_key_values").flatMap(([keys, values], layer) => [
        [keys, past[layer]!.keys],
        [values, past[layer]!.values],
      ]),
    ),
  };
}

/** Frees the tensors of a run that lie on the device. */
function disposeOf(outputs: Readonly<Record<string, ort.Tensor>>): void {
  for (const tensor of Object.values(outputs)) {
    if (tensor.location === "gpu-buffer") tensor.dispose();
  }
}

/** How far two runs are apart; the logits of each token are scored by the token that follows. */
function compare(wanted: ort.Tensor, found: ort.Tensor, tokenIds: readonly number[]) {
  const tally = new QualityTally();
  const vocabulary = wanted.dims[2]!;
  const row = ({ data }: ort.Tensor, token: number) =>
    (data as Float32Array).subarray(token * vocabulary, (token + 1) * vocabulary);
  for (let token = 0; token + 1 < tokenIds.length; token++) {
    tally.add(referenceRow(row(wanted, token)), row(found, token), tokenIds[token + 1]!);
  }
  return tally.quality();
}
