/**
 * transformers.js: the cache of a prompt is compressed while it waits, and restored for the request that continues it.
 *
 * While the model runs, its keys and values are whole tensors: its attention is an operator inside the ONNX session
 * and cannot be replaced.
 *
 * @module
 */
import {
  AutoModelForCausalLM,
  AutoTokenizer,
  DynamicCache,
  env,
  Tensor,
} from "@huggingface/transformers";
import { Tensor as OrtTensor } from "onnxruntime-web/webgpu";
import {
  createCache,
  planCache,
  type PlanOptions,
  requiredLimits,
  restoreSequence,
  snapshotSequence,
} from "../../../mod.ts";
import { kernels } from "../../../generated/u4b8/u4b8_d64.ts";
import { ortLayout } from "../../../src/hosts/ort.ts";
import { appendPastKeyValues, readPastKeyValues } from "../../../src/hosts/transformers.ts";
import type { Prompt } from "../prompt.ts";
import { report } from "../report.ts";

const HEAD_DIM = 64;
const STEP_TOKENS = 32;

const OPTIONS: PlanOptions = {
  shape: { layers: 4, queryHeads: 4, keyValueHeads: 2, headDim: HEAD_DIM },
  policy: { keys: "u4b8", values: "u4b8" },
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
  env.allowLocalModels = true;
  env.allowRemoteModels = false;
  env.localModelPath = "/";
  env.backends.onnx.wasm!.wasmPaths = "/ort/";
  const tokenizer = await AutoTokenizer.from_pretrained("model");
  const model = await AutoModelForCausalLM.from_pretrained("model", {
    device: "webgpu",
    dtype: "fp32",
    // The model computes on this device, so that its cache can be read here.
    session_options: { executionProviders: [{ name: "webgpu", device }] },
  });
  const { text, model: fingerprint }: Prompt = await (await fetch("/prompt.json")).json();

  // A prompt's cache comes with the first token after it.
  const prompt = tokenizer(text);
  const { past_key_values: past } = await model.generate({
    ...prompt,
    max_new_tokens: 1,
    return_dict_in_generate: true,
  }) as { past_key_values: DynamicCache };
  const tensors = Object.values(past) as Tensor[];
  const tensorBytes = tensors.reduce((sum, { size }) => sum + 4 * size, 0);
  say(`cache of ${past.get_seq_length()} tokens: ${tensorBytes} bytes on the GPU`);

  // Compress it; one cache serves any number of prompts, one after the other.
  const cache = await createCache({ device, plan: planCache(OPTIONS), model: fingerprint });
  const sequence = cache.createSequence();
  await appendPastKeyValues(device, cache, sequence, past);
  const parked = await snapshotSequence(cache, sequence);
  cache.freeSequence(sequence);
  say(`parked: ${parked.length} bytes, and none on the GPU`);

  const request = tokenizer(`${text} and`);
  async function answer(past: DynamicCache): Promise<string> {
    const output = await model.generate({ ...request, past_key_values: past, max_new_tokens: 16 });
    const [ids] = (output as Tensor).tolist() as bigint[][];
    await past.dispose();
    return tokenizer.decode(ids!.slice(request.input_ids.dims[1]));
  }
  const wanted = await answer(past);
  say(`continued from what it was: ${wanted}`);

  const restored = await restoreSequence(cache, parked);
  const entries = readPastKeyValues(device, cache, restored, OrtTensor, Tensor);
  cache.freeSequence(restored);
  const found = await answer(new DynamicCache(entries));
  say(`continued from what was parked: ${found}`);
  return { tensorBytes, parked: parked.length, wanted, found };
});
