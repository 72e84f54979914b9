/**
 * Schemes: layouts, and the arithmetic in float64 that kernels are checked against.
 *
 * @module
 */
import { inFile, type Mutation } from "./mutation.ts";

/** Mutations of schemes. */
export const SCHEMES: readonly Mutation[] = [
  ...inFile("schemes", "src/schemes/promoted.ts", ["schemes/promoted"], [
    ["high-codes-not-counted", "if (isPromoted[channel]) upper++;", ""],
    [
      "high-codes-of-first-promoted",
      "code += readBits(record, at.high + upper++ * codeBits, codeBits) << codeBits;",
      "code += readBits(record, at.high + upper * codeBits, codeBits) << codeBits;",
    ],
    [
      "high-stride-of-all-channels",
      "high: high!.firstBit + token * high!.count * codeBits,",
      "high: high!.firstBit + token * headDim * codeBits,",
    ],
    [
      "numbers-beyond-limits-in-pairs",
      "pairLevels(numbers.map((number) => Math.min(Math.max(number, low), high)))",
      "pairLevels(numbers)",
    ],
    [
      "empty-side-as-zero",
      "low = below.length === 0 ? high : meanOf(below);",
      "low = below.length === 0 ? 0 : meanOf(below);",
    ],
    [
      "scale-unbounded",
      "roundToFloat16(Math.min(high - low, MAX_FLOAT16))",
      "roundToFloat16(high - low)",
    ],
    [
      "one-in-as-many-bits",
      "return codeBits / (bits - codeBits);",
      "return bits / (bits - codeBits);",
      { tests: ["records/layout"] },
    ],
  ]),
  ...inFile("schemes", "src/schemes/outliers.ts", ["schemes/outliers"], [
    [
      "reach-by-range-alone",
      "const reach = REACH * Math.max(Math.fround(secondHigh - secondLow), typical);",
      "const reach = REACH * Math.fround(secondHigh - secondLow);",
    ],
    [
      "typical-of-lows",
      "sum + toFloat16Bits(Math.max(Math.abs(secondLow), Math.abs(secondHigh))),",
      "sum + toFloat16Bits(Math.abs(secondLow)),",
    ],
    ["infinite-as-others", "if (Math.abs(number) >= MAX_FLOAT16) continue;", ""],
    [
      "high-outliers-stay",
      "high: Math.fround(high - secondHigh) > reach ? secondHigh : high,",
      "high,",
    ],
    ["low-outliers-stay", "low: Math.fround(secondLow - low) > reach ? secondLow : low,", "low,"],
    [
      "reach-by-typical-alone",
      "const reach = REACH * Math.max(Math.fround(secondHigh - secondLow), typical);",
      "const reach = REACH * typical;",
    ],
    [
      "outliers-at-reach",
      "high: Math.fround(high - secondHigh) > reach ? secondHigh : high,",
      "high: Math.fround(high - secondHigh) >= reach ? secondHigh : high,",
    ],
    ["two-left-are-extremes", "if (secondLow <= secondHigh) return", "if (low <= high) return"],
  ]),
  ...inFile("schemes", "src/schemes/vecinfer_codec.ts", ["schemes/vecinfer"], [
    ["values-smoothed", 'side === "values" || most === 0 ? 0', "most === 0 ? 0"],
    ["smoothed-by-largest", "Math.round(Math.log2(most) / 2)", "Math.round(Math.log2(most))"],
    [
      "means-of-plain-vectors",
      "transformed(vector, plain).forEach((value, i) => {",
      "Float64Array.from(vector).forEach((value, i) => {",
    ],
    ["centred-shares-plain", "const centred = plain.slice();", "const centred = plain;"],
    [
      "restored-by-quotient",
      ".map((value, i) => value * transform[2 * i]!);",
      ".map((value, i) => value / transform[2 * i]!);",
    ],
    ["signs-left-out", "return channelSign(i) * 2 **", "return 2 **"],
    [
      "exponent-unbounded",
      "2 ** Math.max(-MOST_EXPONENT, Math.min(MOST_EXPONENT, exponent))",
      "2 ** exponent",
    ],
    [
      "unrotated-means-stay",
      "if (transform[0] === 0) return rotated;",
      "if (transform[0] === 0) return coded;",
    ],
    [
      "means-not-stored-as-rounded",
      "for (let i = 1; i < centred.length; i += 2) centred[i] = roundToFloat16(centred[i]!);",
      "",
    ],
    ["ties-to-the-last", "if (likeness > best) {", "if (likeness >= best) {"],
  ]),
  ...inFile("added", "src/schemes/additive_codec.ts", ["cache/additive"], [
    [
      "scale-of-first-group",
      "const first = Math.floor(at / (perChannel * channels)) * channels;",
      "const first = 0;",
    ],
    [
      "size-in-square-alone",
      "(product - (size / 2) * squares[code]!)",
      "(product - squares[code]! / 2)",
    ],
    [
      "rests-unscaled",
      "(vector[channel]! - value) * (scale?.[channel] ?? 1)",
      "(vector[channel]! - value)",
    ],
    [
      "gain-of-parent-lost",
      "const gain = beam.gains[parent]! + size * (product",
      "const gain = size * (product",
      { tests: ["schemes/additive"] },
    ],
    [
      "codes-of-place-as-parent",
      "codes[parent * stages + before]!;",
      "codes[place * stages + before]!;",
      { tests: ["schemes/additive"] },
    ],
  ]),
  ...inFile("beam", "src/schemes/best_sums.ts", ["schemes/additive"], [
    [
      "last-place-lost",
      "if (this.kept === width && gain <= gains[width - 1]!) return;",
      "if (this.kept === width && gain <= gains[width - 2]!) return;",
    ],
    ["codes-stay", "codes[place] = codes[place - 1]!;", ""],
    ["parents-stay", "parents[place] = parents[place - 1]!;", "", { tests: ["cache/additive"] }],
  ]),
  ...inFile("norm", "src/schemes/normalisation.ts", ["schemes/additive"], [
    [
      "sizes-by-sum",
      "energy >= square * sizes[above - 1]! * sizes[above]!",
      "energy >= square * ((sizes[above - 1]! + sizes[above]!) / 2) ** 2",
    ],
    [
      "highest-level-unused",
      "while (level + 1 < NORM_LEVELS && holds(level + 1)) level++;",
      "while (level + 2 < NORM_LEVELS && holds(level + 1)) level++;",
    ],
    [
      "grid-words-without-mean",
      "return Math.ceil((stages + 2) / 2);",
      "return Math.ceil((stages + 1) / 2);",
      { tests: ["cache/additive"] },
    ],
    [
      "middle-of-levels",
      "const MIDDLE = (NORM_LEVELS - 1) / 2;",
      "const MIDDLE = NORM_LEVELS / 2;",
    ],
  ]),
  ...inFile("schemes", "src/schemes/additive.ts", ["plan/sizes"], [
    [
      "words-of-one-stage",
      "words: (headDim) => headWords(headDim) + (headDim * stages * centroids) / 4,",
      "words: (headDim) => headWords(headDim) + (headDim * centroids) / 4,",
    ],
    ["added-in-blocks", "block: normalised ? BLOCK : 1,", "block: BLOCK,", {
      tests: ["schemes/additive"],
    }],
    [
      "stages-not-counted-in-bits",
      "bits: (codeBits * stages) / channels,",
      "bits: codeBits / channels,",
      { tests: ["records/layout"] },
    ],
  ]),
  ...inFile("schemes", "src/schemes/hadamard_codes.ts", ["schemes/schemes"], [
    [
      "coded-deviation-of-last",
      "energyOfBest = square;\n      }",
      "}\n      energyOfBest = square;",
    ],
    ["decoded-channels-of-first", "* channels + i % channels]!,", "* channels]!,"],
    [
      "deviation-unbounded",
      "roundToFloat16(Math.min(Math.sqrt(energy / vector.length), MAX_FLOAT16))",
      "roundToFloat16(Math.sqrt(energy / vector.length))",
      { tests: ["schemes/hadamard"] },
    ],
  ]),
  ...inFile("schemes", "src/schemes/hadamard.ts", ["schemes/hadamard"], [
    [
      "factor-rounded-up",
      "return 2 ** -Math.floor(Math.log2(headDim) / 2);",
      "return 2 ** -Math.ceil(Math.log2(headDim) / 2);",
    ],
    ["least-not-asked", "if (headDim >= LEAST && Number", "if (Number", {
      tests: ["schemes/schemes"],
    }],
    [
      "inverse-by-same-factor",
      "return 1 / (headDim * hadamardFactor(headDim));",
      "return hadamardFactor(headDim);",
    ],
    [
      "inverse-signs-first",
      "const plain = walshHadamard(Float64Array.from(rotated), hadamardInverseFactor(rotated.length));\n  return plain.map((value, i) => value * channelSign(i));",
      "return walshHadamard(\n    Float64Array.from(rotated, (value, i) => value * channelSign(i)),\n    hadamardInverseFactor(rotated.length),\n  );",
    ],
  ]),
  ...inFile("schemes", "src/schemes/key_turn.ts", ["cache/hadamard"], [
    [
      "sinks-not-counted",
      "rotate(vector, direction * (sinks + token), own, frequencies);",
      "rotate(vector, direction * token, own, frequencies);",
    ],
    [
      "positional-anchored",
      'return codebook === "learned" && !positional;',
      'return codebook === "learned";',
      { tests: ["cache/anchored /planCache/"] },
    ],
  ]),
  ...inFile("schemes", "src/schemes/lloyd_max.ts", ["schemes/schemes"], [
    [
      "density-of-dimension-less",
      "power < dimension / 2 - 2; power++",
      "power < dimension / 2 - 1; power++",
    ],
    [
      "levels-unscaled",
      "levels.map((level) => level * Math.sqrt(dimension));",
      "levels.map((level) => level * dimension);",
    ],
  ]),
  ...inFile("schemes", "src/schemes/ternary.ts", ["schemes/ternary"], [
    [
      "trits-rounded-down",
      "return Math.ceil((number * 2 ** CODE_BITS) / NUMBERS);",
      "return Math.floor((number * 2 ** CODE_BITS) / NUMBERS);",
    ],
    [
      "scale-as-fitted",
      "const stored = fromFloat8E5M3(scale);",
      "const stored = fromFloat8E5M3(scale) * 1.1;",
    ],
    [
      "mean-unsigned",
      "return toFloat8E4M3(256 * part * (sum < 0 ? -1 : 1));",
      "return toFloat8E4M3(256 * part);",
    ],
    [
      "outliers-spoil-blocks",
      "const kept = vectors.map((vector) => limited(vector, channels));",
      "const kept = vectors;",
    ],
  ]),
  ...inFile("schemes", "src/schemes/span.ts", ["schemes/span"], [
    [
      "span-levels-of-first-bit",
      "if (bits > 1) return rangeLevels",
      "if (bits > 2) return rangeLevels",
    ],
    [
      "span-codes-at-first-token",
      "writeCode(own, record, token + i, channel, code);",
      "writeCode(own, record, i, channel, code);",
    ],
    ["span-shares-swapped", "{ keys: 1 / 2, values: 5 / 16 }", "{ keys: 5 / 16, values: 1 / 2 }"],
    [
      "span-minimum-about-zero",
      "const minimum = Math.fround((1 + share) * low + (1 - share) * high) / 2;",
      "const minimum = Math.fround((1 + share) * low) / 2;",
    ],
  ]),
  ...inFile("schemes", "src/schemes/lattice.ts", ["schemes/schemes"], [
    [
      "waves-of-all-keys",
      "const waves = scored ? findWaves(kept, limits.typical) : [];",
      "const waves = findWaves(kept, limits.typical);",
    ],
    [
      "scale-by-least-squares",
      "toFloat8E5M3(deviation / codedDeviation)",
      "toFloat8E5M3(deviation)",
    ],
    ["waves-of-blocks-before", "waveWords(record, headDim).fill(0);", "", {
      tests: ["schemes/schemes /held before/"],
    }],
    [
      "waves-before-outliers",
      "findWaves(kept, limits.typical)",
      "findWaves(vectors.map((vector) => Float64Array.from(vector)), limits.typical)",
      { tests: ["schemes/bad_numbers /spoils no other/"] },
    ],
    [
      "means-as-computed",
      "const mean = readMeans(record, headDim, meanBits(scored));\n      spread",
      "const mean = means;\n      spread",
      { tests: ["schemes/schemes /loses in a byte/"] },
    ],
  ]),
  ...inFile("schemes", "src/schemes/turned_codec.ts", ["schemes/turned_codec"], [
    ["turned-forth-again", "context.turn(vector, token, -1);", "context.turn(vector, token, 1);"],
    [
      "block-turned-as-one-token",
      "vectors.map((vector, i) => turn(vector, token + i, 1));",
      "vectors.map((vector) => turn(vector, token, 1));",
      { tests: ["cache/anchored /n16b8x2 keys, n16b8x2 values at d64, half/"] },
    ],
    [
      "fit-left-out",
      "...(codec.fit === undefined ? {} : { fit: (vectors, side) => codec.fit!(vectors, side) }),",
      "",
      { tests: ["schemes/span"] },
    ],
    ["learning-left-out", "...(learning === undefined ? {} : { learning }),", ""],
  ]),
];
