/**
 * The mutations that `deno task mutate` makes, by what they are made in.
 *
 * @module
 */
import type { Mutation } from "./mutation.ts";
import { CACHE } from "./cache.ts";
import { CALIBRATION } from "./calibration.ts";
import { CODEBOOKS } from "./codebooks.ts";
import { FILES } from "./files.ts";
import { KERNELS } from "./kernels.ts";
import { LAYERS } from "./layers.ts";
import { PLANNING } from "./planning.ts";
import { REFERENCE } from "./reference.ts";
import { SCHEMES } from "./schemes.ts";
import { SIZES } from "./sizes.ts";
import { STORES } from "./stores.ts";

/** All of them. */
export const MUTATIONS: readonly Mutation[] = [
  ...CACHE,
  ...SIZES,
  ...PLANNING,
  ...LAYERS,
  ...REFERENCE,
  ...KERNELS,
  ...CODEBOOKS,
  ...SCHEMES,
  ...STORES,
  ...FILES,
  ...CALIBRATION,
];
