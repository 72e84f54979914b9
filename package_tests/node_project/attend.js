// Attends with kernels of the package and codebooks that this process learned.
import { calibrate } from "@couplet/kv";
import { kernels } from "@couplet/kv/kernels/c8b8_d64";
import { compare, random } from "./compare.js";

const shape = { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: 64 };
const sample = Float32Array.from({ length: 300 * 2 * 64 }, random);
const side = { layer: 0, keyValueHeads: 2, headDim: 64, values: sample };
const codebooks = await calibrate({
  samples: [{ ...side, side: "keys" }, { ...side, side: "values" }],
  schemes: { keys: ["c8b8"], values: ["c8b8"] },
  keySpace: "as-scored",
  model: { name: "random", digest: "random" },
  seed: 1,
});
await compare({ shape, policy: { keys: "c8b8", values: "c8b8" }, kernels, codebooks });
