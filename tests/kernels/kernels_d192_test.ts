import { testKernels } from "../helpers/kernel_tests.ts";

await testKernels(192);
