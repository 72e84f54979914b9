/**
 * A model's folder, as Hugging Face lays it out: its weights' files, and the digest that tells models
 * apart.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { z } from "zod";
import { CoupletError } from "../src/base/errors.ts";
import { groupBy } from "../src/base/group_by.ts";
import type { ValueRotation } from "../src/codebooks/codebook.ts";
import { digestFile, type FileSource, isFile } from "./files.ts";
import { readJson } from "./json.ts";
import { modelDigest } from "./model_digest.ts";
import type { WeightFile } from "./weight_file.ts";

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";

// A path would let a downloaded index read files outside the folder.
const fileName = z.string().refine((file) => file !== "" && !/[/\\]/.test(file), {
  error: ({ input }) => `${JSON.stringify(input)} is no file name`,
});
const index = z.object({ weight_map: z.record(z.string(), fileName) });

/** A file of a model's folder, as errors describe it. */
export function modelFile(folder: string, file: string): FileSource {
  return {
    what: `"${folder}/${file}"`,
    remedy: "Pass the folder of a Hugging Face model: config.json and safetensors, whole",
  };
}

/**
 * The files of a model's weights: `model.safetensors`, or the shards of its index in the order of
 * their names.
 *
 * @throws {CoupletError} `file` where there is none, or the index is damaged.
 */
export async function weightFiles(folder: string): Promise<readonly WeightFile[]> {
  if (await isFile(join(folder, SINGLE))) return [{ file: SINGLE, tensors: [] }];
  if (!await isFile(join(folder, INDEX))) {
    throw new CoupletError("file", {
      what: `The model folder "${folder}" has no weights`,
      why: `neither ${SINGLE} nor ${INDEX} is there`,
      remedy: "Download the safetensors files of the model",
    });
  }
  const { weight_map: map } = await readJson(join(folder, INDEX), modelFile(folder, INDEX), index);
  const byFile = groupBy(Object.keys(map), (tensor) => map[tensor]!);
  return [...byFile].sort(([a], [b]) => a < b ? -1 : 1)
    .map(([file, tensors]) => ({ file, tensors }));
}

/**
 * The digest of the model in a folder (docs/formats.md).
 *
 * @param onProgress Called with the share of the files that are read.
 * @throws {CoupletError} `file` where a file is missing or cannot be read.
 */
export async function folderDigest(
  folder: string,
  onProgress: (fraction: number) => void = () => {},
): Promise<string> {
  const digests: string[] = [];
  const files = ["config.json", ...(await weightFiles(folder)).map(({ file }) => file)];
  for (const file of files) {
    digests.push(await digestFile(join(folder, file), modelFile(folder, file)));
    onProgress(digests.length / files.length);
  }
  return await modelDigest(digests);
}

/** The digest of a model after rotations of its values were folded in. */
export function rotatedDigest(digest: string, rotations: readonly ValueRotation[]): string {
  const hash = createHash("sha256").update(`${digest}\n`);
  for (const { layer, axes } of rotations.toSorted((a, b) => a.layer - b.layer)) {
    hash.update(`values of layer ${layer}\n`).update(
      new Uint8Array(axes.buffer, axes.byteOffset, axes.byteLength),
    );
  }
  return `sha256:${hash.digest("hex")}`;
}
