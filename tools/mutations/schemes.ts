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
  ]),
  ...inFile("schemes", "src/schemes/outliers.ts", ["schemes/bad_numbers /spoils no other/"], [
    [
      "reach-by-range-alone",
      "const reach = REACH * Math.max(Math.fround(secondHigh - secondLow), typical);",
      "const reach = REACH * Math.fround(secondHigh - secondLow);",
      { tests: ["schemes/promoted"] },
    ],
    [
      "typical-of-lows",
      "sum + toFloat16Bits(Math.max(Math.abs(secondLow), Math.abs(secondHigh))),",
      "sum + toFloat16Bits(Math.abs(secondLow)),",
      { tests: ["schemes/promoted"] },
    ],
    ["infinite-as-others", "if (Math.abs(number) >= MAX_FLOAT16) continue;", ""],
    [
      "high-outliers-stay",
      "high: Math.fround(high - secondHigh) > reach ? secondHigh : high,",
      "high,",
    ],
    ["low-outliers-stay", "low: Math.fround(secondLow - low) > reach ? secondLow : low,", "low,"],
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
  ]),
  ...inFile("schemes", "src/schemes/hadamard_codes.ts", ["schemes/schemes"], [
    [
      "coded-deviation-of-last",
      "energyOfBest = square;\n      }",
      "}\n      energyOfBest = square;",
    ],
    ["decoded-channels-of-first", "* channels + i % channels]!,", "* channels]!,"],
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
  ]),
];
