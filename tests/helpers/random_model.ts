/** Small random models whose logits tools/python/model_logits.py computes. */
import { readSafetensors, type SafetensorsTensor } from "@couplet/kv";
import { type Checkpoint, loadModel } from "../../examples/engine/mod.ts";
import { encodeElements, type Json, singleFile, withModel } from "./llama.ts";

const FOLDER = "tests/fixtures/model_logits";

/** Numbers of a tensor: multiples of a step, or whole numbers of a range. */
type TensorFacts =
  & { readonly shape: readonly number[] }
  & (
    | { readonly dtype: "F32" | "F16" | "BF16"; readonly step: number }
    | { readonly dtype: "U8"; readonly low: number; readonly high: number }
  );

/** A model, and what it makes of some tokens. */
export interface RandomModel {
  readonly name: string;
  /** `config.json`. */
  readonly config: Json;
  readonly tokens: readonly number[];
  /** By name, with a star for every layer's number. */
  readonly tensors: Readonly<Record<string, TensorFacts>>;
  /** `[tokens][vocabulary]`, computed in float64. */
  readonly logits: Float32Array;
}

/** All models of a folder that the script wrote. */
export function randomModels(folder = FOLDER): RandomModel[] {
  const cases = JSON.parse(Deno.readTextFileSync(`${folder}/cases.json`)) as RandomModel[];
  const { tensors } = readSafetensors(Deno.readFileSync(`${folder}/logits.safetensors`));
  return cases.map((one) => ({
    ...one,
    logits: new Float32Array(tensors.get(one.name)!.data.slice().buffer),
  }));
}

/** Writes a model as it would be published, and loads it. */
export async function loadRandomModel({ config, tensors }: RandomModel): Promise<Checkpoint> {
  const layers = config.num_hidden_layers as number;
  const all = new Map<string, SafetensorsTensor>();
  for (const [pattern, facts] of Object.entries(tensors)) {
    for (let layer = 0; layer < (pattern.includes("*") ? layers : 1); layer++) {
      const name = pattern.replace("*", `${layer}`);
      all.set(name, randomTensor(name, facts));
    }
  }
  let checkpoint: Checkpoint | undefined;
  await withModel(singleFile(config, all), async (folder) => {
    checkpoint = await loadModel(folder);
  });
  return checkpoint!;
}

function randomTensor(name: string, facts: TensorFacts): SafetensorsTensor {
  const { dtype, shape } = facts;
  const words = hashes(name, shape.reduce((product, length) => product * length, 1));
  if (dtype === "U8") {
    const { low, high } = facts;
    return { dtype, shape, data: Uint8Array.from(words, (word) => low + word % (high - low + 1)) };
  }
  const values = Float32Array.from(words, (word) => ((word >>> 25) - 64) * facts.step);
  return { dtype, shape, data: encodeElements(values, dtype) };
}

/** `count` words that follow from a name: FNV-1a of it, then a finaliser by Chris Wellons. */
function hashes(name: string, count: number): Uint32Array {
  let seed = 2166136261;
  for (const byte of new TextEncoder().encode(name)) seed = Math.imul(seed ^ byte, 16777619);
  return Uint32Array.from({ length: count }, (_, i) => {
    let x = (Math.imul(i, 0x9e3779b9) + seed) >>> 0;
    x = Math.imul(x ^ x >>> 16, 0x7feb352d) >>> 0;
    x = Math.imul(x ^ x >>> 15, 0x846ca68b) >>> 0;
    return (x ^ x >>> 16) >>> 0;
  });
}
