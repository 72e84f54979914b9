// Attends with kernels that couplet generate wrote and codebooks that couplet calibrate wrote.
import { decodeCodebooks } from "@couplet/kv";
import { readFile } from "node:fs/promises";
import { compare } from "./compare.js";
import { manifest } from "./my_kernels/manifest.js";

await compare({
  shape: { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: 48 },
  policy: { keys: "c4b6", values: "c2b3" },
  kernels: manifest,
  codebooks: decodeCodebooks(await readFile("codebooks"), { keySpace: "as-scored" }),
});
