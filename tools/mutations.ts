/**
 * The mutations that `deno task mutate` makes, by what they are made in.
 *
 * @module
 */
import type { Mutation } from "./mutation.ts";
import { CACHE } from "./mutations/cache.ts";
import { CALIBRATION } from "./mutations/calibration.ts";
import { FILES } from "./mutations/files.ts";
import { KERNELS } from "./mutations/kernels.ts";
import { LAYERS } from "./mutations/layers.ts";
import { PLANNING } from "./mutations/planning.ts";
import { REFERENCE } from "./mutations/reference.ts";
import { SIZES } from "./mutations/sizes.ts";

/** All of them. */
export const MUTATIONS: readonly Mutation[] = [
  ...CACHE,
  ...SIZES,
  ...PLANNING,
  ...LAYERS,
  ...REFERENCE,
  ...KERNELS,
  ...FILES,
  ...CALIBRATION,
];
