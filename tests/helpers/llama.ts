import { readSafetensors, type SafetensorsTensor, writeSafetensors } from "@couplet/kv";
import { numbers } from "./reference.ts";

/** The fixture's folder. */
export const FIXTURE = "tests/fixtures/tiny-llama";

/** PyTorch's values for the fixture: first 128 tokens of a text. */
export interface Expected {
  readonly tokenIds: readonly number[];
  tensor(name: string): Float32Array<ArrayBuffer>;
}

/** Reads `expected.safetensors`. */
export function readExpected(): Expected {
  const { tensors } = readSafetensors(Deno.readFileSync(`${FIXTURE}/expected.safetensors`));
  return {
    tokenIds: [...new Int32Array(tensors.get("token_ids")!.data.slice().buffer)],
    tensor: (name) => new Float32Array(tensors.get(name)!.data.slice().buffer),
  };
}

/** `expected.json`. */
export interface ExpectedJson {
  readonly evaluation: { readonly mean_loss: number };
  readonly tokenizer: readonly { readonly text: string; readonly ids: readonly number[] }[];
  readonly greedy: {
    readonly prompt_ids: readonly number[];
    readonly continuation_ids: readonly number[];
  };
}

/** Reads `expected.json`. */
export function readExpectedJson(): ExpectedJson {
  return JSON.parse(Deno.readTextFileSync(`${FIXTURE}/expected.json`));
}

/** A `config.json`'s content. */
export type Json = Record<string, unknown>;

/** The smallest model every kernel has something to do in; sizes that no tile divides. */
export const TINY: Json = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  vocab_size: 300,
  hidden_size: 40,
  intermediate_size: 72,
  num_hidden_layers: 2,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  head_dim: 8,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: "silu",
  tie_word_embeddings: false,
};

/** A Llama checkpoint's tensors: names and shapes. */
export function tensorShapes(config: Json): Map<string, number[]> {
  const size = (key: string) => config[key] as number;
  const hidden = size("hidden_size");
  const inner = size("intermediate_size");
  const query = size("num_attention_heads") * size("head_dim");
  const key = size("num_key_value_heads") * size("head_dim");
  const type = config.model_type;
  const shapes = new Map<string, number[]>([
    ["model.embed_tokens.weight", [size("vocab_size"), hidden]],
    ["model.norm.weight", [hidden]],
  ]);
  if (config.tie_word_embeddings !== true) {
    shapes.set("lm_head.weight", [size("vocab_size"), hidden]);
  }
  for (let i = 0; i < size("num_hidden_layers"); i++) {
    const layer = `model.layers.${i}`;
    const projections: [string, number, number, boolean][] = [
      ["self_attn.q_proj", query, hidden, type === "qwen2" || config.attention_bias === true],
      ["self_attn.k_proj", key, hidden, type === "qwen2" || config.attention_bias === true],
      ["self_attn.v_proj", key, hidden, type === "qwen2" || config.attention_bias === true],
      ["self_attn.o_proj", hidden, query, type !== "qwen2" && config.attention_bias === true],
      ["mlp.gate_proj", inner, hidden, config.mlp_bias === true],
      ["mlp.up_proj", inner, hidden, config.mlp_bias === true],
      ["mlp.down_proj", hidden, inner, config.mlp_bias === true],
    ];
    for (const [name, outputs, inputs, bias] of projections) {
      shapes.set(`${layer}.${name}.weight`, [outputs, inputs]);
      if (bias) shapes.set(`${layer}.${name}.bias`, [outputs]);
    }
    shapes.set(`${layer}.input_layernorm.weight`, [hidden]);
    shapes.set(`${layer}.post_attention_layernorm.weight`, [hidden]);
    if (type === "qwen3") {
      shapes.set(`${layer}.self_attn.q_norm.weight`, [size("head_dim")]);
      shapes.set(`${layer}.self_attn.k_norm.weight`, [size("head_dim")]);
    }
  }
  return shapes;
}

/** Random weights for a model, exact in every element type: multiples of 1/128 below 1. */
export function randomTensors(
  config: Json,
  dtype: "F32" | "F16" | "BF16" = "F32",
): Map<string, SafetensorsTensor> {
  let seed = 1;
  return new Map([...tensorShapes(config)].map(([name, shape]) => {
    const count = shape.reduce((product, length) => product * length, 1);
    const values = numbers(seed++, count).map((x) => Math.round(x * 63) / 128);
    return [name, { dtype, shape, data: encodeElements(values, dtype) }];
  }));
}

/** Numbers as a tensor stores them. */
export function encodeElements(values: Float32Array<ArrayBuffer>, dtype: "F32" | "F16" | "BF16") {
  if (dtype === "F32") return new Uint8Array(values.buffer);
  if (dtype === "F16") return new Uint8Array(new Float16Array(values).buffer);
  const upper = Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16);
  return new Uint8Array(upper.buffer);
}

/** Files of a model folder to write. */
export interface ModelFiles {
  readonly config: Json;
  /** Tensors by file name. */
  readonly files: ReadonlyMap<string, ReadonlyMap<string, SafetensorsTensor>>;
  /** The weight map of an index, where there is one. */
  readonly index?: Json;
}

/** Writes a model folder with the fixture's tokenizer, and removes it after `use`. */
export async function withModel(
  { config, files, index }: ModelFiles,
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = Deno.makeTempDirSync({ prefix: "couplet-" });
  try {
    Deno.writeTextFileSync(`${folder}/config.json`, JSON.stringify(config));
    Deno.copyFileSync(`${FIXTURE}/tokenizer.json`, `${folder}/tokenizer.json`);
    for (const [file, tensors] of files) {
      Deno.writeFileSync(`${folder}/${file}`, writeSafetensors({ metadata: {}, tensors }));
    }
    if (index !== undefined) {
      Deno.writeTextFileSync(
        `${folder}/model.safetensors.index.json`,
        JSON.stringify({ weight_map: index }),
      );
    }
    await use(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** A model folder with one file of weights. */
export function singleFile(
  config: Json,
  tensors: ReadonlyMap<string, SafetensorsTensor>,
): ModelFiles {
  return { config, files: new Map([["model.safetensors", tensors]]) };
}

/** The largest difference of two equally long lists. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`${a.length} values, expected ${b.length}`);
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

/** A device that says that its buffers and bindings hold no more bytes than these. */
export function withBindings(device: GPUDevice, bytes: number): GPUDevice {
  return new Proxy(device, {
    get(target, property) {
      if (property === "limits") {
        return { maxStorageBufferBindingSize: bytes, maxBufferSize: bytes };
      }
      const value = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
