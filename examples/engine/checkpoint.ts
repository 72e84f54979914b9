import {
  CoupletError,
  type ModelFingerprint,
  readSafetensors,
  type SafetensorsTensor,
  type ValueRotation,
} from "@couplet/kv";
import { isFile, readBytes as readFileBytes } from "../../cli/files.ts";
import { modelDigest, modelFile, weightFiles } from "../../cli/model_folder.ts";
import { parseJson } from "../../src/base/parse_json.ts";
import { type ModelConfig, parseConfig } from "./config.ts";
import { parseTokenizer, type Tokenizer } from "./tokenizer.ts";
import { collectWeights, type ModelWeights } from "./weights.ts";

/** A model in memory, checked, nothing of it on a device yet. */
export interface Checkpoint {
  /** Shape and options. */
  readonly config: ModelConfig;
  /** Every weight, type and shape checked. */
  readonly weights: ModelWeights;
  /** Text to token ids and back. */
  readonly tokenizer: Tokenizer;
  /** Name of the folder and a digest of config.json and the weights' files. */
  readonly fingerprint: ModelFingerprint;
  /** What `foldRotations` has folded into the weights; the fingerprint is of the model with it. */
  readonly valueRotations?: readonly ValueRotation[];
}

/**
 * Reads the `config.json` of a Hugging Face folder alone, for what can be refused before its weights are read.
 *
 * @throws {CoupletError} `file` or `shape` where it is missing, damaged or of another family.
 */
export async function loadConfig(folder: string): Promise<ModelConfig> {
  return parseConfig(parseJsonFile("config.json", await readBytes(folder, "config.json")));
}

/**
 * Loads a Hugging Face folder: `config.json`, `tokenizer.json`, and `model.safetensors` or
 * `model.safetensors.index.json` with its shards.
 *
 * @throws {CoupletError} `file` or `shape` where anything is missing, damaged or of another family.
 */
export async function loadModel(folder: string): Promise<Checkpoint> {
  const configBytes = await readBytes(folder, "config.json");
  const config = parseConfig(parseJsonFile("config.json", configBytes));
  const tokenizer = parseTokenizer(
    objectOf("tokenizer.json", await readBytes(folder, "tokenizer.json")),
    await optionalObject(folder, "tokenizer_config.json"),
  );

  const digests = [await sha256(configBytes)];
  const tensors = new Map<string, SafetensorsTensor>();
  for (const shard of await weightFiles(folder)) {
    const bytes = await readBytes(folder, shard.file);
    for (const [name, tensor] of readShard(shard.file, bytes)) {
      if (tensors.has(name)) {
        throw broken(shard.file, `tensor "${name}" is in another file too`);
      }
      tensors.set(name, tensor);
    }
    for (const name of shard.tensors) {
      if (!tensors.has(name)) {
        throw broken(shard.file, `it lacks tensor "${name}", which the index says it holds`);
      }
    }
    digests.push(await sha256(bytes));
  }

  return {
    config,
    weights: collectWeights(config, tensors),
    tokenizer,
    fingerprint: {
      name: folder.replaceAll("\\", "/").replace(/\/+$/, "").split("/").at(-1) ?? folder,
      digest: modelDigest(digests),
    },
  };
}

function readShard(file: string, bytes: Uint8Array): ReadonlyMap<string, SafetensorsTensor> {
  try {
    return readSafetensors(bytes).tensors;
  } catch (cause) {
    if (!(cause instanceof CoupletError)) throw cause;
    throw new CoupletError(cause.code, {
      what: `The weights in ${file} cannot be read`,
      why: cause.parts.why,
      remedy: cause.parts.remedy,
    }, { cause });
  }
}

async function readBytes(folder: string, file: string): Promise<Uint8Array<ArrayBuffer>> {
  return await readFileBytes(`${folder}/${file}`, modelFile(folder, file));
}

async function optionalObject(folder: string, file: string): Promise<object> {
  return await isFile(`${folder}/${file}`) ? objectOf(file, await readBytes(folder, file)) : {};
}

function objectOf(file: string, bytes: Uint8Array): Record<string, unknown> {
  const json = parseJsonFile(file, bytes);
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw broken(file, "it is not a JSON object");
  }
  return json as Record<string, unknown>;
}

function parseJsonFile(file: string, bytes: Uint8Array): unknown {
  try {
    return parseJson(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new CoupletError("file", {
      what: `${file} cannot be used`,
      why: `it is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`,
      remedy: "The file may be cut short; download it again",
    }, { cause });
  }
}

function broken(file: string, why: string): CoupletError {
  return new CoupletError("file", {
    what: `${file} cannot be used`,
    why,
    remedy: "The file may be damaged or belong to another model; download it again",
  });
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
