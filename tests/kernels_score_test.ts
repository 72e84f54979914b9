import { testKernels } from "./kernel_tests.ts";

await testKernels("score", ["store", "encode", "decode", "table", "score", "mix", "combine"]);
