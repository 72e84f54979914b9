import {
  CoupletError,
  type ModelFingerprint,
  readSafetensors,
  type SafetensorsTensor,
} from "@couplet/kv";
import { readFile } from "../../cli/files.ts";
import { type Checkpoint, loadModel, type Projection, type Weight } from "../engine/mod.ts";
import { checkWeight } from "../engine/weight.ts";
import { parseVisionConfig, type VisionConfig } from "./vision_config.ts";

/** From a patch's pixels to an embedding of the language model. */
export interface Projector {
  /** `[projectorSize][pixels of a patch]`. */
  readonly first: Required<Projection>;
  /** `[hiddenSize][projectorSize]`. */
  readonly second: Required<Projection>;
  /** `[frameTokens][hiddenSize]`, added by a patch's place, where the model has it. */
  readonly places?: Weight;
  /** `[maxFrames][hiddenSize]`, added by a frame's number, where the model has it. */
  readonly frames?: Weight;
}

/** A language model that sees: what it reads images with, and the model of the text. */
export interface VisionModel {
  readonly vision: VisionConfig;
  readonly projector: Projector;
  readonly text: Checkpoint;
  /** Of both sides. */
  readonly fingerprint: ModelFingerprint;
}

/** What projectors are called in checkpoints. */
const PREFIXES = ["vision_projector", "multi_modal_projector"] as const;

/** The two parts every projector has, as LLaVA's. */
const LAYERS = ["linear_1", "linear_2"] as const;

/**
 * Loads a folder with a language model as the engine reads it, an entry `vision` in `config.json`, and a
 * file with the projector's weights.
 *
 * @throws {CoupletError} `file` or `shape` where anything is missing, damaged or of another kind; what
 * `loadModel` throws.
 */
export async function loadVisionModel(folder: string): Promise<VisionModel> {
  const remedy = "Pass the folder of a vision-language model, as docs/vision.md describes it";
  const config = await readFile(
    `${folder}/config.json`,
    { what: `"${folder}/config.json"`, remedy },
    (bytes) => parseVisionConfig(new TextDecoder().decode(bytes)),
  );
  const text = await loadModel(folder);
  const { tensors, digest } = await readFile(
    `${folder}/${config.file}`,
    { what: `the projector "${folder}/${config.file}"`, remedy },
    async (bytes) => ({
      tensors: readSafetensors(bytes).tensors,
      digest: hex(await crypto.subtle.digest("SHA-256", bytes)),
    }),
  );
  const joined = new TextEncoder().encode(`${text.fingerprint.digest}\n${digest}`);
  return {
    vision: config,
    projector: collectProjector(config, text.config.hiddenSize, tensors),
    text,
    fingerprint: {
      name: text.fingerprint.name,
      digest: `sha256:${hex(await crypto.subtle.digest("SHA-256", joined))}`,
    },
  };
}

/**
 * The weights of a projector, checked.
 *
 * @throws {CoupletError} `file` where there is none, a part is missing or left over, or of a type that
 * cannot be read; `shape` where a shape differs from what config.json says.
 */
export function collectProjector(
  { patchSize, frameTokens, maxFrames, projectorSize }: VisionConfig,
  hiddenSize: number,
  tensors: ReadonlyMap<string, SafetensorsTensor>,
): Projector {
  const names = [...tensors.keys()];
  const prefix = PREFIXES.find((one) => names.some((name) => name.startsWith(`${one}.`)));
  if (prefix === undefined) {
    throw unfit(
      "The checkpoint has no projector",
      `no tensor is called ${PREFIXES.map((one) => `${one}.*`).join(" or ")}`,
    );
  }
  const used = new Set<string>();
  function find(name: string, ...shape: number[]): Weight | undefined {
    const full = `${prefix}.${name}`;
    const tensor = tensors.get(full);
    used.add(full);
    return tensor && checkWeight(full, tensor, shape);
  }
  function take(name: string, ...shape: number[]): Weight {
    const weight = find(name, ...shape);
    if (weight !== undefined) return weight;
    throw unfit("The projector is incomplete", `it lacks ${prefix}.${name}`);
  }
  const sizes = [patchSize ** 2, projectorSize, hiddenSize] as const;
  const [first, second] = LAYERS.map((layer, i) => ({
    weight: take(`${layer}.weight`, sizes[i + 1]!, sizes[i]!),
    bias: take(`${layer}.bias`, sizes[i + 1]!),
  })) as [Required<Projection>, Required<Projection>];
  const places = find("position_embedding.weight", frameTokens, hiddenSize);
  const frames = find("frame_embedding.weight", maxFrames, hiddenSize);
  // A part that were silently not applied would give plausible, wrong embeddings.
  const left = names.find((name) => !used.has(name));
  if (left !== undefined) {
    throw unfit("The projector has a part this host does not know", `there is a tensor ${left}`);
  }
  return { first, second, ...(places ? { places } : {}), ...(frames ? { frames } : {}) };
}

function unfit(what: string, why: string): CoupletError {
  return new CoupletError("file", {
    what,
    why,
    remedy: `A projector is ${LAYERS.join(" and ")}, weight and bias each, as LLaVA's`,
  });
}

function hex(digest: ArrayBuffer): string {
  return new Uint8Array(digest).toHex();
}
