import { testKernels } from "./kernel_tests.ts";

await testKernels("score", [
  "store",
  "load",
  "encode",
  "decode",
  "table",
  "score",
  "mix",
  "combine",
]);
