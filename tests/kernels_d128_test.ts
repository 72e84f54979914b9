import { testKernels } from "./kernel_tests.ts";

await testKernels(128);
