import {
  CoupletError,
  type ModelFingerprint,
  readSafetensors,
  type SafetensorsTensor,
  type ValueRotation,
} from "@couplet/kv";
import { modelDigest } from "../../cli/model_digest.ts";
import type { WeightFile } from "../../cli/weight_file.ts";
import { parseJson } from "../../src/base/parse_json.ts";
import { sha256 } from "../../src/base/sha256.ts";
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

/** A model's files, in a folder or on a server. */
export interface ModelFiles {
  /** The model's name. */
  readonly name: string;
  /** The files with its weights. */
  weightFiles(): Promise<readonly WeightFile[]>;
  /** Whether there is a file of that name. */
  has(file: string): Promise<boolean>;
  /** A file's bytes. */
  read(file: string): Promise<Uint8Array<ArrayBuffer>>;
}

/**
 * What a `config.json` says.
 *
 * @throws {CoupletError} `file` or `shape` where it is damaged or of another family.
 */
export function readConfig(bytes: Uint8Array<ArrayBuffer>): ModelConfig {
  return parseConfig(parseJsonFile("config.json", bytes));
}

/**
 * Reads a Hugging Face model: `config.json`, `tokenizer.json`, `tokenizer_config.json` where there is
 * one, and the weights.
 *
 * @throws {CoupletError} `file` or `shape` where anything is damaged or of another family; what
 * `files` throws.
 */
export async function readCheckpoint(files: ModelFiles): Promise<Checkpoint> {
  const configBytes = await files.read("config.json");
  const config = readConfig(configBytes);
  const tokenizer = parseTokenizer(
    objectOf("tokenizer.json", await files.read("tokenizer.json")),
    await optionalObject(files, "tokenizer_config.json"),
  );

  const digests = [await sha256(configBytes)];
  const tensors = new Map<string, SafetensorsTensor>();
  for (const shard of await files.weightFiles()) {
    const bytes = await files.read(shard.file);
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
    fingerprint: { name: files.name, digest: await modelDigest(digests) },
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

async function optionalObject(files: ModelFiles, file: string): Promise<object> {
  return await files.has(file) ? objectOf(file, await files.read(file)) : {};
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
