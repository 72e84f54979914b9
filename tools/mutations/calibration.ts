/**
 * Learning codebooks, and telling whether they still fit.
 *
 * @module
 */
import { inFile, type Mutation } from "./mutation.ts";

/** Mutations of calibration and drift. */
export const CALIBRATION: readonly Mutation[] = [
  ...inFile("start", "src/calibrate/kmeans_start.ts", ["calibrate/kmeans /startCentroids/"], [
    [
      "by-distance-alone",
      "chances[i] = importance[i]! * distance;",
      "chances[i] = distance;",
    ],
    [
      "by-weight-alone",
      "chances[i] = importance[i]! * distance;",
      "chances[i] = distance > 0 ? importance[i]! : 0;",
    ],
    [
      "by-last-centroid",
      "if (distance < distances[i]!) {",
      "if (true) {",
    ],
    [
      "weightless-points",
      "if (weights[point]! > 0) usable[count++] = point;",
      "usable[count++] = point;",
      { unnoticed: "they are drawn by a chance of zero" },
    ],
  ]),
  ...inFile("lloyd", "src/calibrate/lloyd.ts", ["calibrate/kmeans"], [
    [
      "settles-after-move",
      "const settled = moved === 0 && this.iterations > 0 &&",
      "const settled = this.iterations > 0 &&",
    ],
    [
      "settles-by-absolute-gain",
      "this.error - error <= this.#tolerance * this.error;",
      "this.error - error <= this.#tolerance;",
    ],
    [
      "one-iteration-more",
      "this.done = this.iterations >= this.#iterations ||",
      "this.done = this.iterations > this.#iterations ||",
    ],
  ]),
  ...inFile("kmeans", "src/calibrate/kmeans.ts", ["calibrate/kmeans"], [
    [
      "moves-ties-to-the-highest",
      "errors[b]! - errors[a]! || a - b);",
      "errors[b]! - errors[a]! || b - a);",
    ],
    [
      "moves-without-weights",
      "errors[i] = weights[i]! * distance;",
      "errors[i] = distance;",
    ],
    [
      "moves-twice-to-a-place",
      "if (!seen.has(place)) targets.push(point);",
      "targets.push(point);",
    ],
  ]),
  ...inFile("samples", "src/calibrate/samples.ts", ["calibrate/calibrate"], [
    [
      "weights-by-scale",
      "1 / (scale?.[i] ?? 1) ** 2);",
      "1 / (scale?.[i] ?? 1));",
    ],
    [
      "weights-of-first-group",
      "const first = Math.floor((group * channels) / shared);",
      "const first = 0;",
    ],
  ]),
  ...inFile("query-energy", "src/calibrate/query_energy.ts", ["calibrate/query_energy"], [
    [
      "keys-before-the-query",
      "energy[channel]! += (t + 1) * queries[start + t * stride + channel]! ** 2;",
      "energy[channel]! += t * queries[start + t * stride + channel]! ** 2;",
    ],
    [
      "sequences-from-the-first",
      "    first += length;\n  }\n  return relativeScale",
      "  }\n  return relativeScale",
    ],
  ]),
  ...inFile("rotation", "src/calibrate/value_rotation.ts", ["calibrate/value_rotation"], [
    [
      "covariance-about-zero",
      "centred[i] = values[at + i]! - mean[i]!;",
      "centred[i] = values[at + i]!;",
    ],
    [
      "widest-groups-last",
      ".map((width) => channels / width).reverse();",
      ".map((width) => channels / width);",
    ],
  ]),
  ...inFile("drift", "src/calibrate/drift.ts", ["calibrate/drift"], [
    [
      "exceptions-passed-over",
      "(policy.layers?.[layer] ?? policy)[side];",
      "policy[side];",
    ],
    [
      "negligible-falls",
      "ratio > threshold && error - calibrationError > NEGLIGIBLE",
      "ratio > threshold && Math.abs(error - calibrationError) > NEGLIGIBLE",
      { unnoticed: "where the ratio is above a threshold of 1 or more, the error has not fallen" },
    ],
    [
      "negligible-errors",
      "ratio > threshold && error - calibrationError > NEGLIGIBLE",
      "ratio > threshold && error > NEGLIGIBLE",
    ],
    [
      "at-threshold",
      "ratio > threshold && error - calibrationError > NEGLIGIBLE",
      "ratio >= threshold && error - calibrationError > NEGLIGIBLE",
      { unnoticed: "a ratio that is just the threshold is neither" },
    ],
  ]),
  ...inFile("grid", "src/codebooks/grid.ts", ["codebooks/grid"], [
    [
      "origin-above-lowest",
      "own[stage] = floorFloat16Bits(low);",
      "own[stage] = toFloat16Bits(low);",
    ],
    [
      "levels-round-down",
      "Math.min(left, Math.round((numbers[at]! - origin) / step));",
      "Math.min(left, Math.floor((numbers[at]! - origin) / step));",
    ],
    [
      "levels-wrap",
      "levels[at] = Math.min(left, Math.round((numbers[at]! - origin) / step));",
      "levels[at] = Math.round((numbers[at]! - origin) / step);",
    ],
    [
      "sums-exceed-a-byte",
      "left -= highest;",
      "left = HIGHEST;",
      { tests: ["calibrate/added_codebooks"] },
    ],
  ]),
  ...inFile("added", "src/schemes/additive_codec.ts", ["schemes/additive"], [
    [
      "sizes-of-what-was-to-be-coded",
      "sizeLevel(energy, square, normalisation.sizes)",
      "sizeLevel(energy, headDim, normalisation.sizes)",
    ],
    [
      "beam-of-one",
      "width: number = beamWidth(scheme)",
      "width: number = 1",
    ],
  ]),
  ...inFile("norm", "src/schemes/normalisation.ts", ["schemes/additive"], [
    [
      "mean-ties-down",
      "sum >= count * (offset + step * (above - NORM_LEVELS / 2))",
      "sum > count * (offset + step * (above - NORM_LEVELS / 2))",
    ],
  ]),
  ...inFile("beam", "src/schemes/best_sums.ts", ["cache/additive"], [
    [
      "keeps-later-of-equals",
      "place > 0 && gain > gains[place - 1]!",
      "place > 0 && gain >= gains[place - 1]!",
    ],
  ]),
  ...inFile("refine", "src/calibrate/refine.ts", ["calibrate/added_codebooks"], [
    ["no-ridge", "/ (total + ridge);", "/ total;"],
  ]),
  ...inFile("normalise", "src/calibrate/normalised_samples.ts", ["calibrate/added_codebooks"], [
    [
      "blocks-across-sequences",
      "positions[token] === positions[token - 1]! + 1",
      "positions[token] !== undefined",
    ],
  ]),
  ...inFile("fit", "src/codebooks/fit.ts", ["codebooks/fit"], [
    [
      "errors-of-vectors",
      "errors: Float32Array.from(squaredErrors, (sum) => sum / (tokens * headDim)),",
      "errors: Float32Array.from(squaredErrors, (sum) => sum / tokens),",
    ],
    [
      "variance-about-zero",
      "return Math.max(0, (sum / tokens - squaredMeans) / headDim);",
      "return Math.max(0, sum / tokens / headDim);",
    ],
    [
      "first-tokens-alone",
      "const place = Math.floor(block * all / blocks / members) * members;",
      "const place = block * members;",
    ],
    [
      "first-head-alone",
      "(_, i) => ((place + i) * keyValueHeads + head) * headDim,",
      "(_, i) => (place + i) * keyValueHeads * headDim,",
    ],
  ]),
  ...inFile("sensitivity", "src/policy/estimate_sensitivities.ts", ["codebooks/fit"], [
    [
      "without-the-half",
      "loss: sum / 2 / tokens",
      "loss: sum / tokens",
    ],
    [
      "weights-of-first-token",
      "sum += weights[at + i]! * (vector[i]! - decoded[i]!) ** 2;",
      "sum += weights[i]! * (vector[i]! - decoded[i]!) ** 2;",
    ],
    [
      "of-any-side",
      "codebook.layer === layer && codebook.side === side",
      "codebook.layer === layer",
    ],
  ]),
  ...inFile("sample-files", "src/calibrate/samples_file.ts", ["calibrate/samples_file"], [
    [
      "keys-behind-values",
      "a.layer - b.layer || (a.side < b.side ? -1 : 1)",
      "a.layer - b.layer || (a.side > b.side ? -1 : 1)",
    ],
    [
      "positions-of-any-length",
      "positions !== undefined && positions.length !== tokens",
      "positions !== undefined && positions.length < tokens",
    ],
    [
      "rotated-values",
      '...(rope && side === "keys" && { rope }),',
      "...(rope && { rope }),",
    ],
  ]),
  ...inFile("joined-samples", "src/calibrate/join_samples.ts", ["calibrate/join_samples"], [
    [
      "positions-of-some",
      "positions.every((own) => own !== undefined)",
      "positions.some((own) => own !== undefined)",
    ],
    [
      "weights-of-any-kind",
      "if (weightsPerToken(part) !== weightsPerToken(first)) {",
      "if (!weightsPerToken(part) !== !weightsPerToken(first)) {",
    ],
  ]),
  ...inFile("joined-samples", "src/base/join_bytes.ts", ["calibrate/join_samples"], [
    ["last-file-alone", "    end += part.length;\n", ""],
  ]),
  ...inFile("written-samples", "src/calibrate/write_samples.ts", ["calibrate/write_samples"], [
    [
      "whole-buffers",
      "data: new Uint8Array(buffer, byteOffset, byteLength) };",
      "data: new Uint8Array(buffer) };",
    ],
    [
      "positions-of-the-first",
      'if (others.length > 0) differ("positions");',
      "",
    ],
  ]),
  ...inFile("weight-files", "src/calibrate/weights_file.ts", ["calibrate/weights_file"], [
    [
      "tokens-unchecked",
      "shape !== undefined && (shape[0] !== tokensOf(one) || shape[1] !== keyValueHeads ||",
      "shape !== undefined && (shape[1] !== keyValueHeads ||",
    ],
    [
      "heads-unchecked",
      "shape !== undefined && (shape[0] !== tokensOf(one) || shape[1] !== keyValueHeads ||",
      "shape !== undefined && (shape[0] !== tokensOf(one) ||",
    ],
    [
      "scale-for-weights",
      "isScale === undefined ? { ...known, shape, weights: values } : { ...known, scale: values },",
      "{ ...known, shape, weights: values },",
    ],
  ]),
  ...inFile("search", "src/calibrate/kmeans_search_gpu.ts", ["calibrate/stage_search"], [
    [
      "later-stages-centred",
      "const mean = stage === 0 ? side.means[group * channels + j]! : 0;",
      "const mean = side.means[group * channels + j]!;",
    ],
    [
      "table-of-first-groups",
      "table: [(stage * groups + first) * centroids * rowLength * 4],",
      "table: [stage * groups * centroids * rowLength * 4],",
    ],
    ["one-sum-extended", "const kept = stage === 0 ? 1 : SEARCH_BEAM;", "const kept = 1;"],
    ["codes-of-first-stage", "sum >>> (stage * SEARCH_CODE_BITS)", "sum >>> 0"],
  ]),
  ...inFile("kmeans", "src/calibrate/kmeans_gpu.ts", [
    "calibrate/kmeans /agrees with kmeans|separated|empty/",
  ], [
    [
      "tables-of-first-groups",
      "table: [(first * groupRows + from) * rowLength * 4],",
      "table: [from * rowLength * 4],",
    ],
    [
      "means-not-added",
      "centroids[i] = value * side.unit + side.means[group * channels + (i % channels)]!;",
      "centroids[i] = value * side.unit;",
    ],
    [
      "error-in-units",
      "error: error * side.unit ** 2,",
      "error: error * side.unit,",
    ],
    [
      "moves-of-first-group",
      "await readBuffer(device, buffers.codes, padded * 4, group * padded * 4);",
      "await readBuffer(device, buffers.codes, padded * 4, 0);",
      { tests: ["calibrate/kmeans"] },
    ],
    [
      "bias-of-whole-square",
      "bias -= 0.5 * rows[row + j]! ** 2;",
      "bias -= rows[row + j]! ** 2;",
    ],
  ]),
  ...inFile("profile", "src/cache/profile.ts", ["cache/lifecycle /sumUp|Profile/"], [
    [
      "clocks-that-were-reset",
      "sum.nanoseconds += Math.max(0, Number(timestamps[2 * i + 1]! - timestamps[2 * i]!));",
      "sum.nanoseconds += Number(timestamps[2 * i + 1]! - timestamps[2 * i]!);",
    ],
    [
      "shortest-first",
      ".sort((a, b) => b.nanoseconds - a.nanoseconds);",
      ".sort((a, b) => a.nanoseconds - b.nanoseconds);",
    ],
    [
      "measured-twice",
      "    this.#kernels = [];\n    this.#missed = 0;\n",
      "",
    ],
  ]),
  ...inFile("added", "src/schemes/additive_codec.ts", ["schemes/additive"], [
    ["whole-square", "(size / 2) * squares[code]!", "size * squares[code]!"],
    ["sums-not-cleared", "    sums.fill(0);\n", ""],
  ]),
];
