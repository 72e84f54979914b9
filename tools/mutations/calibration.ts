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
      "means-of-tokens-kept",
      "writeMeans(record, normalisation, sums, vectors.length);\n    },",
      "},",
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
  ...inFile("shared-groups", "src/calibrate/shared_groups.ts", [
    "calibrate/shared_groups /shareGroups/",
  ], [
    ["turned-at-place-in-list", "turn(coded, token, direction)", "turn(coded, 0, direction)", {
      tests: ["calibrate/shared_groups"],
    }],
    [
      "scale-without-weights",
      "const weights = samples.weights === undefined && samples.scale === undefined",
      "const weights = samples.weights === undefined",
      { tests: ["calibrate/shared_groups"] },
    ],
    [
      "largest-error-chosen",
      "one.error < best.error ? one : best",
      "one.error > best.error ? one : best",
      { tests: ["calibrate/shared_groups"] },
    ],
    [
      "held-out-learned",
      "enough ? tokens.filter((token) => token % HELD_EVERY !== HELD_EVERY - 1) : tokens,",
      "tokens,",
    ],
    [
      "compared-on-learned",
      "compared: spread(held.length > 0 ? held : learned, COMPARED_TOKENS),",
      "compared: spread(learned, COMPARED_TOKENS),",
    ],
    ["first-tokens-alone", "tokens[Math.floor(i * tokens.length / count)]!", "tokens[i]!"],
    [
      "weights-unsmoothed",
      "weightAt(samples, channels, head, token, i) * factor * factor;",
      "weightAt(samples, channels, head, token, i);",
    ],
    [
      "weights-of-row",
      "pointWeight(samples, head, token, transform, group, channels);",
      "pointWeight(samples, head, row, transform, group, channels);",
    ],
    [
      "rotated-by-group",
      "const first = rotated ? 0 : group * channels;\n  const count = rotated ? samples.headDim : channels;",
      "const first = group * channels;\n  const count = channels;",
    ],
    [
      "error-unweighted",
      "error += weightAt(samples, scheme.channels, head, token, i) *\n            (vector",
      "error += (vector",
      { tests: ["calibrate/shared_groups /chooseTransforms/"] },
    ],
  ]),
  ...inFile("refine", "src/calibrate/refine.ts", ["calibrate/added_codebooks /updateStages/"], [
    [
      "products-of-first-stage",
      "for (let before = 0; before < rows.length; before++) gain -= rows[before]![code]!;",
      "for (let before = 0; before < Math.min(1, rows.length); before++) gain -= rows[before]![code]!;",
      { tests: ["calibrate/stage_search"] },
    ],
    [
      "cross-transposed",
      "stages.slice(0, stage).map((other) => crossProducts(other, own, channels))",
      "stages.slice(0, stage).map((other) => crossProducts(own, other, channels))",
      { tests: ["calibrate/stage_search"] },
    ],
    ["points-unweighted", "const weight = weights[point]!;", "const weight = 1;"],
    [
      "centroids-without-points-to-zero",
      "if (total === 0) return;",
      "if (total === 0) return own.fill(0, code * channels, (code + 1) * channels);",
    ],
    [
      "sweeps-not-repeated",
      "for (let sweep = 0; sweep < sweeps; sweep++) {",
      "for (let sweep = 0; sweep < 1; sweep++) {",
    ],
    ["points-moved", "const rest = points.slice();", "const rest = points;"],
    ["rest-not-taken-out-again", "      move(stage, -1);\n    });", "    });"],
    ["whole-squares", "return square / 2;", "return square;", {
      tests: ["calibrate/added_codebooks /searchStages/"],
    }],
    [
      "error-of-last-kept",
      "error += weights[point]! * (square - 2 * beam.gains[0]!);",
      "error += weights[point]! * (square - 2 * beam.gains[beam.kept - 1]!);",
      { tests: ["calibrate/added_codebooks /searchStages/"] },
    ],
  ]),
  ...inFile("drift", "src/calibrate/drift.ts", ["calibrate/drift"], [
    [
      "smallest-ratio-first",
      ".sort((a, b) => b.ratio - a.ratio);",
      ".sort((a, b) => a.ratio - b.ratio);",
    ],
    [
      "error-over-nothing",
      "return error === 0 ? 0 : error / variance;",
      "return error / variance;",
    ],
    ["few-tokens", "if (tokensOf(one) < FEWEST_TOKENS) {", "if (tokensOf(one) <= FEWEST_TOKENS) {"],
    [
      "unchanged-as-nan",
      "const ratio = error === calibrationError ? 1 : error / calibrationError;",
      "const ratio = error / calibrationError;",
    ],
    [
      "threshold-below-one",
      "if (!(threshold >= 1 && threshold < Infinity)) {",
      "if (!(threshold > 0 && threshold < Infinity)) {",
    ],
    [
      "any-few-tokens",
      "if (tokensOf(one) < FEWEST_TOKENS) {",
      "if (tokensOf(one) < FEWEST_TOKENS - 1) {",
    ],
    [
      "tokens-of-first",
      "tokens: Math.min(...samples.map(tokensOf)),",
      "tokens: tokensOf(samples[0]!),",
    ],
    [
      "heads-of-other-shape",
      "if (codebook.keyValueHeads !== keyValueHeads || codebook.headDim !== headDim) {",
      "if (codebook.headDim !== headDim) {",
    ],
    ["unturned", "turn: turnOf(one, codebook.scheme, set),", "turn: undefined,"],
    ["as-many-more-named", "const rest = drifted.length - NAMED;", "const rest = drifted.length;"],
    ["weights-checked", "checkSamples(vectors, []);", "checkSamples(one, []);"],
  ]),
  ...inFile("rotation", "src/calibrate/value_rotation.ts", ["calibrate/value_rotation"], [
    [
      "covariance-of-first-head",
      "const sums = new Float64Array(headDim * headDim);\n  const centred = new Float64Array(headDim);\n  for (let at = head * headDim;",
      "const sums = new Float64Array(headDim * headDim);\n  const centred = new Float64Array(headDim);\n  for (let at = 0;",
    ],
    ["keys-rotated", 'if (side !== "values") {', "if (false) {"],
    ["widths-to-eight", "const WIDTHS = [1, 2, 4, 8, 16];", "const WIDTHS = [1, 2, 4, 8];"],
    [
      "axes-in-order",
      "principal.subarray(rank * headDim, (rank + 1) * headDim),",
      "principal.subarray(row * headDim, (row + 1) * headDim),",
    ],
    [
      "scale-rotated",
      "if (samples.weights !== undefined || samples.scale !== undefined) {",
      "if (samples.weights !== undefined) {",
    ],
    ["as-many-tokens-as-channels", "if (tokens < headDim) {", "if (tokens <= headDim) {"],
  ]),
  ...inFile("rotation", "src/calibrate/principal_axes.ts", ["calibrate/value_rotation"], [
    ["one-sweep", "const MOST_SWEEPS = 60;", "const MOST_SWEEPS = 1;"],
    [
      "weakest-axes-first",
      "matrix[b * size + b]! - matrix[a * size + a]! || a - b",
      "matrix[a * size + a]! - matrix[b * size + b]! || a - b",
    ],
    ["matrix-changed", "const matrix = symmetric.slice();", "const matrix = symmetric;"],
    ["slope-unsigned", "(slope < 0 ? -1 : 1) / (Math.abs(slope)", "1 / (Math.abs(slope)"],
    [
      "any-sign-of-axes",
      "sorted[to * size + i] = largest < 0 ? -axis[i]! : axis[i]!;",
      "sorted[to * size + i] = axis[i]!;",
    ],
  ]),
  ...inFile("query-energy", "src/calibrate/query_energy.ts", ["calibrate/query_energy"], [
    [
      "heads-of-first",
      "const start = (first * queryHeads + head) * headDim;",
      "const start = first * queryHeads * headDim;",
    ],
    ["mixed-of-one-sign", "+ sine * sine * squaresA - mixed;", "+ sine * sine * squaresA + mixed;"],
    [
      "least-scale-left-out",
      "Math.max(LEAST_SCALE, Math.sqrt(one / mean))",
      "Math.sqrt(one / mean)",
    ],
    ["lengths-unsummed", "if (sum !== tokens) {", "if (sum > tokens) {"],
    [
      "shared-by-kv-heads",
      "const shared = queryHeads / keyValueHeads;",
      "const shared = keyValueHeads;",
    ],
    [
      "unrotated-without-keys",
      "energy[channel]! += (t + 1) * queries",
      "energy[channel]! += queries",
    ],
    ["interleaved-as-half", 'first: rope.layout === "half" ? pair : 2 * pair,', "first: pair,"],
    ["silent-heads-as-zero", "mean > 0 ? Math.max", "mean >= 0 ? Math.max"],
    ["infinite-queries", "if (!(value < Infinity)) {", "if (value === Infinity) {"],
  ]),
  ...inFile("sample-files", "src/calibrate/samples_file.ts", ["calibrate/samples_file"], [
    ["weights-of-other-heads", " || weights.shape[1] !== keyValueHeads ||", " ||"],
    ["weights-in-part-groups", "headDim % (weights.shape[2] ?? 1) !== 0", "false"],
    ["positions-beyond-most", "if (bad !== undefined) {", "if (bad !== undefined && bad < 0) {"],
    ["scales-left-out", "...(scale && { scale: floats(name + SCALE_SUFFIX, tensors) }),", ""],
    [
      "layers-as-text",
      "a.layer - b.layer ||",
      "(`${a.layer}` < `${b.layer}` ? -1 : Number(a.layer !== b.layer)) ||",
    ],
    ["weights-of-other-tokens", "weights.shape[0] !== tokens || ", ""],
    [
      "scale-of-any-shape",
      "if (scale !== undefined && `${scale.shape}` !== `${[keyValueHeads, headDim]}`) {",
      "if (false) {",
    ],
    [
      "positions-in-rows",
      'if (tensor.shape.length !== 1) throw badShape(POSITIONS, tensor.shape, "[tokens]");',
      "",
    ],
    [
      "empty-vectors",
      "shape.length !== 3 || tokens * keyValueHeads * headDim === 0",
      "shape.length !== 3",
    ],
    ["parts-without-vectors", "if (tensors.has(vectors)) return [];", "return [];"],
  ]),
  ...inFile("search", "src/calibrate/stage_search.ts", ["calibrate/stage_search"], [
    ["narrow-beam", "const width = own.length === 1 ? 1 : SEARCH_BEAM;", "const width = 1;"],
    [
      "points-not-copied",
      "const points = { ...given, values: given.values.slice() };",
      "const points = given;",
      { tests: ["calibrate/stage_search /keeps the points/"] },
    ],
    ["weights-left-out", "const weights = own.weights ?? new", "const weights = new", {
      tests: ["calibrate/stage_search /pointsOfGroup/"],
    }],
  ]),
  ...inFile("turned", "src/calibrate/turned_samples.ts", ["calibrate/anchored_samples"], [
    [
      "anchors-of-any-count",
      "anchors?.length === Math.ceil(pairs / BAND_PAIRS) && anchors.every(isAnchor)",
      "anchors?.every(isAnchor)",
    ],
    [
      "turned-by-place",
      "return (vector, token, direction) => turn(vector, positions[token]!, direction);",
      "return turn;",
    ],
    ["anchors-of-any-number", " && anchors.every(isAnchor)) return;", ") return;"],
    ["token-of-head", "Math.floor(at / (keyValueHeads * headDim))", "Math.floor(at / headDim)"],
    [
      "weights-unturned",
      "...(weights?.length === values.length\n",
      "...(weights?.length === -1\n",
      { tests: ["calibrate/anchored_samples /samplesAsCoded/"] },
    ],
    [
      "positions-fewer",
      "if (positions.length !== tokensOf(samples)) {",
      "if (positions.length < tokensOf(samples)) {",
      { tests: ["calibrate/anchored_samples /refuses/"] },
    ],
    [
      "values-turned",
      'if (side !== "keys" || !isTurned) return undefined;',
      "if (!isTurned) return undefined;",
      { tests: ["calibrate/anchored_samples /samplesAsCoded/"] },
    ],
  ]),
  ...inFile("normalise", "src/calibrate/normalised_samples.ts", ["calibrate/added_codebooks"], [
    ["means-by-block-size", "sum / members[block]!", "sum / 64"],
    [
      "sizes-by-rows",
      "const sorted = Float64Array.from(sizes).sort();",
      "const sorted = Float64Array.from(sizes);",
    ],
    ["blocks-one-longer", "token - first === block", "token - first > block"],
    ["steps-of-subnormals", "steps < LEAST_NORMAL_FLOAT16 ? 0 : steps", "steps", {
      tests: ["calibrate/added_codebooks /learnMeans/"],
    }],
    [
      "widest-range-alone",
      "if (error < least) [best, least] = [{ offset, step }, error];",
      "if (least === Infinity) [best, least] = [{ offset, step }, error];",
      { tests: ["calibrate/added_codebooks /learnMeans/"] },
    ],
    [
      "sizes-of-zero",
      "roundToFloat16(Math.max(LEAST_NORMAL_FLOAT16, size))",
      "roundToFloat16(size)",
      { tests: ["calibrate/added_codebooks /learnSizes/"] },
    ],
  ]),
  ...inFile("added-learning", "src/calibrate/added_codebooks.ts", [
    "calibrate/added_codebooks /learnAdded/",
  ], [
    ["heads-share-nothing", "keyValueHeads: shareHeads ? 1 : keyValueHeads,", "keyValueHeads,", {
      tests: ["calibrate/added_codebooks"],
    }],
    [
      "grid-of-scaled",
      "? Math.max(LEAST_NORMAL_FLOAT16, number / factor)\n        : number / factor,",
      "? Math.max(LEAST_NORMAL_FLOAT16, number)\n        : number,",
      { tests: ["calibrate/added_codebooks /scale/"] },
    ],
    ["iterations-of-one", "? Math.min(iterations, STAGE_ITERATIONS)", "? STAGE_ITERATIONS", {
      tests: ["calibrate/added_codebooks /stageIterations/"],
    }],
    ["searches-stay-open", "if (rest !== search) rest.close();", ""],
    ["search-stays-open", "  } finally {\n    search.close();", "  } finally {\n    search;"],
    [
      "weights-in-units-of-sizes",
      "(size / scale[i]!) ** 2;",
      "(1 / scale[i]!) ** 2;",
      { tests: ["calibrate/added_codebooks /large vectors/"] },
    ],
    [
      "rests-of-first-stage",
      "found.map((own) => own.slice(-1))",
      "found.map((own) => own.slice(0, 1))",
      { tests: ["calibrate/added_codebooks /four lose/"] },
    ],
  ]),
  ...inFile("pace", "src/calibrate/pace.ts", ["calibrate/pace"], [
    ["never-pauses", "if (performance.now() - this.#last > STRETCH) {", "if (false) {"],
  ]),
];
