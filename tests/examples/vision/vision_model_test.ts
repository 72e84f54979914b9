import assert from "node:assert/strict";
import { type CoupletErrorCode, type SafetensorsTensor, writeSafetensors } from "@couplet/kv";
import { loadVisionModel } from "../../../examples/vision/vision_model.ts";
import { readVideos } from "../../../examples/vision/videos.ts";
import { readTensors, VISION_FIXTURE } from "../../helpers/vision.ts";

interface Change {
  readonly config?: (json: { vision: Record<string, unknown> } & Record<string, unknown>) => void;
  readonly tensors?: (tensors: Map<string, SafetensorsTensor>) => void;
}

/** The fixture, changed, in a folder of its own. */
async function withChanged(
  { config, tensors }: Change,
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "couplet-" });
  try {
    for (const file of ["tokenizer.json", "model.safetensors"]) {
      await Deno.symlink(await Deno.realPath(`${VISION_FIXTURE}/${file}`), `${folder}/${file}`);
    }
    const json = JSON.parse(await Deno.readTextFile(`${VISION_FIXTURE}/config.json`));
    config?.(json);
    await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(json));
    const changed = new Map(readTensors(`${VISION_FIXTURE}/vision.safetensors`));
    tensors?.(changed);
    await Deno.writeFile(
      `${folder}/vision.safetensors`,
      writeSafetensors({ metadata: {}, tensors: changed }),
    );
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const WEIGHT = "vision_projector.linear_1.weight";

const REFUSED: readonly {
  readonly name: string;
  readonly change: Change;
  readonly code: CoupletErrorCode;
  readonly message: RegExp;
}[] = [
  {
    name: "a model of text alone",
    change: { config: (json) => delete (json as Record<string, unknown>).vision },
    code: "file",
    message: /vision/,
  },
  {
    name: "a missing image token",
    change: { config: ({ vision }) => delete vision.image_token_id },
    code: "file",
    message: /image_token_id/,
  },
  {
    name: "an image token beyond the vocabulary",
    change: { config: ({ vision }) => vision.image_token_id = 56 },
    code: "shape",
    message: /image_token_id 56 .* 56/,
  },
  {
    name: "a vision tower",
    change: { config: (json) => json.vision_config = { model_type: "clip_vision_model" } },
    code: "file",
    message: /encoder in front of the projector/,
  },
  {
    name: "patches that do not divide a frame",
    change: { config: ({ vision }) => vision.patch_size = 15 },
    code: "shape",
    message: /56 is no multiple of patch_size 15/,
  },
  {
    name: "coloured frames",
    change: { config: ({ vision }) => vision.channels = 3 },
    code: "file",
    message: /only grey/,
  },
  {
    name: "an activation it does not know",
    change: { config: ({ vision }) => vision.projector_hidden_act = "relu" },
    code: "file",
    message: /projector_hidden_act/,
  },
  {
    name: "a file outside the folder",
    change: { config: ({ vision }) => vision.file = "../vision.safetensors" },
    code: "file",
    message: /a file of the model's folder/,
  },
  {
    name: "a projector's file that is not there",
    change: { config: ({ vision }) => vision.file = "nowhere.safetensors" },
    code: "file",
    message: /nowhere\.safetensors/,
  },
  {
    name: "a language model of another family",
    change: { config: (json) => json.model_type = "gpt2" },
    code: "file",
    message: /gpt2/,
  },
  {
    name: "no projector",
    change: {
      tensors: (tensors) => {
        tensors.clear();
        tensors.set("vision_tower.weight", { dtype: "U8", shape: [1], data: Uint8Array.of(1) });
      },
    },
    code: "file",
    message: /no projector.*vision_projector\.\* or multi_modal_projector\.\*/s,
  },
  {
    name: "a projector without a bias",
    change: { tensors: (tensors) => tensors.delete("vision_projector.linear_2.bias") },
    code: "file",
    message: /lacks vision_projector\.linear_2\.bias/,
  },
  {
    name: "a projector with a part that would not be applied",
    change: {
      tensors: (tensors) =>
        tensors.set("vision_projector.norm.weight", {
          dtype: "F16",
          shape: [1],
          data: new Uint8Array(2),
        }),
    },
    code: "file",
    message: /a tensor vision_projector\.norm\.weight/,
  },
  {
    name: "weights of a type it cannot read",
    change: {
      tensors: (tensors) => {
        const { shape, data } = tensors.get(WEIGHT)!;
        tensors.set(WEIGHT, { dtype: "I16", shape, data });
      },
    },
    code: "file",
    message: /linear_1\.weight.*I16/s,
  },
  {
    name: "weights of another shape",
    change: {
      tensors: (tensors) => {
        const { dtype, data } = tensors.get(WEIGHT)!;
        tensors.set(WEIGHT, { dtype, shape: [196, 256], data });
      },
    },
    code: "shape",
    message: /\[196, 256\].*\[256, 196\]/s,
  },
];

for (const { name, change, code, message } of REFUSED) {
  Deno.test(`loadVisionModel refuses ${name}`, async () => {
    await withChanged(change, async (folder) => {
      await assert.rejects(loadVisionModel(folder), { name: "CoupletError", code, message });
    });
  });
}

Deno.test("loadVisionModel takes LLaVA's names, and tells models with other projectors apart", async () => {
  const fixture = await loadVisionModel(VISION_FIXTURE);
  const tensors = (all: Map<string, SafetensorsTensor>) => {
    for (const [name, tensor] of [...all]) {
      all.delete(name);
      if (name.includes("linear")) all.set(name.replace("vision", "multi_modal"), tensor);
    }
  };
  await withChanged({ tensors }, async (folder) => {
    const model = await loadVisionModel(folder);
    assert.deepEqual(model.projector.second.weight.data, fixture.projector.second.weight.data);
    assert.equal(model.projector.places, undefined);
    assert.notEqual(model.fingerprint.digest, fixture.fingerprint.digest);
  });
});

Deno.test("readVideos gives videos with their questions and refuses others", async () => {
  const model = await loadVisionModel(VISION_FIXTURE);
  const videos = await readVideos(`${VISION_FIXTURE}/calibration.safetensors`, model);
  assert.equal(videos.length, 20);
  for (const { pixels, questions } of videos) {
    assert.equal(pixels.length, 16 * 56 * 56);
    assert.equal(questions.length, 24);
    for (const { tokenIds, answer } of questions) {
      assert.match(
        model.text.tokenizer.decode([...tokenIds, answer]),
        /^(<look><f\d+><c\d+>\d|<count><f\d+>\d\d|<first><c\d+>\d<f\d+>)$/,
      );
    }
  }

  const bytes = (count: number) => new Uint8Array(count);
  const good = new Map<string, SafetensorsTensor>([
    ["pixels", { dtype: "U8", shape: [1, 2, 56, 56], data: bytes(2 * 56 * 56) }],
    ["questions", { dtype: "I32", shape: [1, 1, 4], data: bytes(16) }],
  ]);
  const refused: readonly [string, SafetensorsTensor | undefined, CoupletErrorCode, RegExp][] = [
    ["pixels", undefined, "file", /no tensor "pixels"/],
    ["questions", undefined, "file", /no tensor "questions"/],
    ["pixels", { dtype: "F32", shape: [1, 1, 1, 1], data: bytes(4) }, "file", /F32.*not U8/],
    ["pixels", { dtype: "U8", shape: [56, 56], data: bytes(56 * 56) }, "file", /4 dimensions/],
    [
      "pixels",
      { dtype: "U8", shape: [1, 1, 28, 28], data: bytes(28 * 28) },
      "shape",
      /28 x 28 .* 56 x 56/,
    ],
    [
      "pixels",
      { dtype: "U8", shape: [1, 17, 56, 56], data: bytes(17 * 56 * 56) },
      "shape",
      /17 frames/,
    ],
    ["questions", { dtype: "I32", shape: [2, 1, 4], data: bytes(32) }, "shape", /about 2/],
    [
      "questions",
      { dtype: "I32", shape: [1, 1, 4], data: bytes(16).fill(1) },
      "shape",
      /token 16843009/,
    ],
  ];
  const path = await Deno.makeTempFile({ suffix: ".safetensors" });
  try {
    for (const [name, tensor, code, message] of refused) {
      const tensors = new Map(good);
      if (tensor === undefined) tensors.delete(name);
      else tensors.set(name, tensor);
      await Deno.writeFile(path, writeSafetensors({ metadata: {}, tensors }));
      await assert.rejects(readVideos(path, model), { name: "CoupletError", code, message });
    }
    await Deno.writeFile(path, writeSafetensors({ metadata: {}, tensors: good }));
    assert.equal((await readVideos(path, model)).length, 1);
  } finally {
    await Deno.remove(path);
  }
});
