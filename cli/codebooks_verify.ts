import type { Command } from "commander";
import { join } from "node:path";
import { CoupletError } from "../src/base/errors.ts";
import type { CodebookSet } from "../src/codebooks/codebook.ts";
import type { ModelShape } from "../src/model/model.ts";
import { type Side, sideDim, SIDES } from "../src/model/side.ts";
import { layerShape } from "../src/plan/options.ts";
import { usageError } from "./arguments.ts";
import { describeRuns, readCodebooks } from "./codebook_facts.ts";
import { type Answer, type Answering, createCommand } from "./command.ts";
import { AS, readModel } from "./read_model.ts";
import { folderDigest, rotatedDigest } from "./model_folder.ts";
import { Progress } from "./progress.ts";
import { formatBytes } from "./format_bytes.ts";
import { formatTable } from "./table.ts";

interface VerifyArguments {
  readonly model?: string;
  readonly as?: string;
}

/** `couplet codebooks verify`. */
export function command(answering: Answering): Command {
  return createCommand("codebooks verify", {
    details:
      "Every byte is under a checksum, and every number is checked. With --model, the digest of the\n" +
      "model's files and the shapes in its config.json are compared, too.",
    examples: [
      "codebooks verify codebooks.safetensors",
      "codebooks verify codebooks.safetensors --model ./Llama-3.2-1B",
    ],
  })
    .argument("<file>", "codebooks, as couplet calibrate and encodeCodebooks() write them")
    .option("--model <dir>", "the Hugging Face folder of the model they are to serve")
    .option(...AS)
    .action(answering(verifyCodebooks));
}

async function verifyCodebooks(path: string, { model, as }: VerifyArguments): Promise<Answer> {
  if (as !== undefined && model === undefined) {
    throw usageError("Cannot verify codebooks", "--as is for the config.json of --model");
  }
  const { set, bytes } = await readCodebooks(path);
  const content = [
    ["content", `${set.codebooks.length} codebooks in ${formatBytes(bytes)}, as they were written`],
  ];
  const data = { bytes, codebooks: set.codebooks.length, model: set.model };
  if (model === undefined) {
    return {
      data: { ...data, comparedWith: null },
      text: (width) =>
        formatTable([
          ...content,
          ["model", `${set.model.name} (${set.model.digest}), not compared: pass --model`],
        ], { width }),
    };
  }
  const what = `Cannot use the codebooks ${path} with the model ${model}`;
  const shape = await modelShape(model, as, what);
  checkShapes(set, shape, what);
  await checkDigest(set, model, what);
  const bare = Object.fromEntries(SIDES.map((side) => [side, layersWithout(set, shape, side)]));
  return {
    data: { ...data, comparedWith: model, layersWithout: bare },
    text: (width) =>
      formatTable([
        ...content,
        ["shapes", `${shape.layers} layers, as in ${join(model, "config.json")}`],
        ["digest", `${set.model.digest}, as of the files in ${model}`],
        ...SIDES.filter((side) => bare[side]!.length > 0).map((side) => [
          side,
          `there are no codebooks for layers ${describeRuns(bare[side]!)}`,
        ]),
      ], { width }),
  };
}

/** The model's shape, from its `config.json`. */
async function modelShape(
  folder: string,
  as: string | undefined,
  what: string,
): Promise<ModelShape> {
  try {
    return (await readModel(folder, { as })).shape;
  } catch (error) {
    if (!(error instanceof CoupletError)) throw error;
    const { why, remedy } = error.parts;
    throw new CoupletError(error.code, { what, why, remedy }, { cause: error });
  }
}

/** Checks that each layer with codebooks or rotations exists, and has their heads and channels. */
function checkShapes(set: CodebookSet, shape: ModelShape, what: string): void {
  const all = [
    ...set.codebooks.map((one) => ({ ...one, name: `${one.scheme} ${one.side}` })),
    ...(set.valueRotations ?? []).map((one) => (
      { ...one, side: "values" as const, name: "rotation of the values" }
    )),
  ];
  for (const { name, side, layer, keyValueHeads, headDim } of all) {
    const own = layer < shape.layers ? layerShape(shape, layer) : undefined;
    if (own?.keyValueHeads === keyValueHeads && sideDim(own, side) === headDim) continue;
    throw new CoupletError("shape", {
      what,
      why: own === undefined
        ? `there are ${name} of layer ${layer}, and the model has layers 0 to ${shape.layers - 1}`
        : `the ${name} of layer ${layer} are for ${keyValueHeads} heads of ${headDim} channels, and the model has ${own.keyValueHeads} of ${
          sideDim(own, side)
        }`,
      remedy: "Give the folder of the model they were learned on, or calibrate this one",
    });
  }
}

/** Checks that the codebooks are of the model in a folder, with their rotations folded in. */
async function checkDigest(
  { model, valueRotations = [] }: CodebookSet,
  folder: string,
  what: string,
): Promise<void> {
  const stage = new Progress(1).stage("digest of the model's files");
  const files = await folderDigest(folder, stage.update).finally(stage.done);
  const found = valueRotations.length === 0 ? files : rotatedDigest(files, valueRotations);
  if (found === model.digest) return;
  const own = /^sha256:[0-9a-f]{64}$/.test(model.digest);
  throw new CoupletError("codebook", {
    what,
    why:
      `they were learned on ${model.name} (${model.digest}), and the digest of the model's files${
        valueRotations.length === 0 ? "" : ", with the values rotated,"
      } is ${found}`,
    remedy: own
      ? "Calibrate this model, or give the folder of the one they were learned on"
      : "Their digest has a form of its own: compare it yourself, or calibrate with the digest that docs/formats.md defines",
  });
}

/** Layers that have no codebook of a side, as is right where their scheme needs none. */
function layersWithout(
  { codebooks }: CodebookSet,
  { layers }: ModelShape,
  side: Side,
): readonly number[] {
  const having = new Set(codebooks.filter((one) => one.side === side).map(({ layer }) => layer));
  return Array.from({ length: layers }, (_, layer) => layer).filter((layer) => !having.has(layer));
}
