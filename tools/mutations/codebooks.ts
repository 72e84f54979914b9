/**
 * Codebooks: what is wrong with them, where they lie, and what each KV head has.
 *
 * @module
 */
import { inFile, type Mutation } from "./mutation.ts";

/** Mutations of codebooks. */
export const CODEBOOKS: readonly Mutation[] = [
  ...inFile("codebooks", "src/codebooks/added.ts", ["codebooks/file"], [
    [
      "offsets-of-first-head",
      "offsets.subarray(head * headDim, (head + 1) * headDim),",
      "offsets.subarray(0, headDim),",
      { tests: ["cache/additive"] },
    ],
    ["centroids-of-first-head-for-all", "((head * headLevels) % centroids.length) / 4;", "0;", {
      tests: ["cache/additive"],
    }],
    [
      "sizes-ascend-across-heads",
      "(i % NORM_LEVELS === 0 || size >= sizes[i - 1]!)",
      "(i === 0 || size >= sizes[i - 1]!)",
      { tests: ["calibrate/added_codebooks"] },
    ],
    [
      "sizes-of-first-head",
      "halves.set(sizes.subarray(head * NORM_LEVELS, (head + 1) * NORM_LEVELS), 2 * end);",
      "halves.set(sizes.subarray(0, NORM_LEVELS), 2 * end);",
      { tests: ["cache/additive /n8b4x4 with channel/"] },
    ],
    [
      "steps-of-zero",
      "if (!(fromFloat16Bits(grid[at]!) > 0)) {",
      "if (!(fromFloat16Bits(grid[at]!) >= 0)) {",
    ],
    [
      "sums-of-first-stage",
      "for (let stage = 0; stage < stages; stage++) {\n      const first",
      "for (let stage = 0; stage < 1; stage++) {\n      const first",
    ],
    [
      "infinite-offsets",
      'if (!normalisation.offsets.every(Number.isFinite)) return "an offset that is not finite";',
      "",
    ],
    ["infinite-steps", "step >= 0 && step < Infinity", "step >= 0"],
    ["sizes-descend", "(i % NORM_LEVELS === 0 || size >= sizes[i - 1]!)", "true"],
    [
      "normalised-by-nothing",
      "if (normalisation === undefined === (codebookSpec!.normalised === true)) {",
      "if (normalisation !== undefined && codebookSpec!.normalised !== true) {",
    ],
  ]),
  ...inFile("codebooks", "src/codebooks/head_codebooks.ts", ["codebooks/head_codebooks"], [
    [
      "scales-of-first-head",
      "codebook?.scale?.subarray(head * headDim, (head + 1) * headDim);",
      "codebook?.scale?.subarray(0, headDim);",
      { tests: ["reference/reference_cache"] },
    ],
    ["steps-of-means-as-stored", "steps.map((step) => step / STORED_STEPS)", "steps", {
      tests: ["schemes/additive"],
    }],
    [
      "transforms-of-first-head",
      "codebook?.transform?.subarray(2 * head * headDim, 2 * (head + 1) * headDim);",
      "codebook?.transform?.subarray(0, 2 * headDim);",
      { tests: ["calibrate/shared_groups"] },
    ],
    [
      "sizes-of-first-head-decoded",
      "sizes.subarray(head * levels, (head + 1) * levels)",
      "sizes.subarray(0, levels)",
    ],
    [
      "mean-steps-of-first-head",
      "meanSteps.subarray(head * headDim, (head + 1) * headDim)",
      "meanSteps.subarray(0, headDim)",
    ],
    [
      "offsets-of-first-head-decoded",
      "offsets: offsets.subarray(head * headDim, (head + 1) * headDim),",
      "offsets: offsets.subarray(0, headDim),",
    ],
  ]),
  ...inFile("fit", "src/codebooks/fit.ts", ["codebooks/fit"], [
    ["error-of-vectors-alone", "sum / (tokens * headDim)", "sum / tokens"],
    ["scored-as-others", "        ...context,\n", ""],
    [
      "blocks-at-any-token",
      "Math.floor(block * all / blocks / members) * members",
      "Math.floor(block * all / blocks)",
    ],
    ["turned-at-first-place", "turn(coded, place + i, direction)", "turn(coded, i, direction)"],
  ]),
  ...inFile("codebooks", "src/codebooks/find.ts", ["codebooks/file"], [
    [
      "other-model-taken",
      "if (model.digest !== set.model.digest) {",
      "if (model.name !== set.model.name) {",
    ],
    [
      "transform-unchecked",
      "(groupsShare && found.transform?.length !== 2 * keyValueHeads * headDim) ||",
      "",
    ],
    [
      "normalisation-unchecked",
      "(normalised && found.normalisation?.offsets.length !== keyValueHeads * headDim)",
      "false",
    ],
    [
      "shared-heads-of-one-stage",
      "if (shareHeads && stages && heads > 1) {",
      "if (shareHeads && stages! > 1 && heads > 1) {",
    ],
  ]),
  ...inFile("buffers", "src/codebooks/device.ts", ["cache/spans /v4b8/"], [
    [
      "transform-behind-grid",
      "const parts = [transform, grid, centroids].flatMap((part) =>",
      "const parts = [grid, transform, centroids].flatMap((part) =>",
    ],
  ]),
];
