/**
 * The oracle, and the arithmetic of schemes.
 *
 * @module
 */
import { inFile, type Mutation } from "./mutation.ts";

/** Mutations of `src/reference/`, `src/schemes/` and what records look like. */
export const REFERENCE: readonly Mutation[] = [
  ...inFile("reference", "src/reference/positions.ts", [
    "cache/cache /codes alone|by layer/",
    "cache/blocks",
  ], [
    [
      "kept-one-short",
      "return window + waiting + appendTokens;",
      "return window + waiting + appendTokens - 1;",
      { tests: ["reference/reference_cache", "cache/lifecycle /rollback/"] },
    ],
    [
      "block-of-keys",
      "for (const id of [keys, values]) largest",
      "for (const id of [keys]) largest",
    ],
    [
      "policy-without-layers",
      "const { keys, values } = policy.layers?.[source] ?? policy;",
      "const { keys, values } = policy;",
    ],
  ]),
  ...inFile("reference", "src/reference/reference_cache.ts", [
    "reference/reference_cache",
    "cache/lifecycle",
  ], [
    [
      "encodes-before-window",
      "const aged = Math.max(0, state.length - tiers.sinks - tiers.window);",
      "const aged = Math.max(0, state.length - tiers.sinks - tiers.window + 1);",
    ],
    [
      "rollback-forgets-lost",
      "const known = Math.min(length, Math.max(state.exactFrom, stored - slots));",
      "const known = Math.min(length, Math.max(0, stored - slots));",
    ],
    [
      "coded-not-rolled-back",
      "layer.coded = Math.min(layer.coded, length, tiers.sinks + codedAt(length, exactFrom));",
      "",
    ],
    [
      "sinks-of-first-layer",
      "sinkLogits.subarray(firstLogit, firstLogit + queryHeads)",
      "sinkLogits.subarray(0, queryHeads)",
      { tests: ["cache/cache /learned sinks/"] },
    ],
  ]),
  ...inFile("reference", "src/reference/attention.ts", [
    "reference/attention",
    "reference/reference_cache",
  ], [
    [
      "window-one-more",
      "const aged = Math.max(0, query + 1 - tiers.sinks - tiers.window);",
      "const aged = Math.max(0, query - tiers.sinks - tiers.window);",
    ],
    [
      "block-ignored",
      "Math.max(aged - aged % block, lost)",
      "Math.max(aged, lost)",
      { tests: ["cache/blocks", "cache/hadamard"] },
    ],
    [
      "sliding-window-one-more",
      "const oldest = Math.max(0, position + 1 - (input.slidingWindow || Infinity));",
      "const oldest = Math.max(0, position - (input.slidingWindow || Infinity));",
      { tests: ["cache/cache /sliding/"] },
    ],
  ]),
  ...inFile("reference", "src/reference/side_store.ts", [
    "reference/reference_cache",
    "cache/lifecycle",
  ], [
    [
      "clone-shares-records",
      "this.#records.forEach((words, head) => (copy.#records[head] = words.slice()));",
      "this.#records.forEach((words, head) => (copy.#records[head] = words));",
    ],
    [
      "ring-counts-sinks",
      "offset: (token % this.#slots) * channels",
      "offset: ((token + tiers.sinks) % this.#slots) * channels",
      { unnoticed: "a place in a ring of its own: any numbering does" },
    ],
  ]),
  ...inFile("reference", "src/schemes/key_turn.ts", ["cache/hadamard"], [
    [
      "offset-in-codes",
      "const own = { ...rope, positionOffset: 0 };",
      "const own = rope;",
    ],
    [
      "anchors-of-all-schemes",
      'return codebook === "learned" && !positional;',
      "return !positional;",
      { tests: ["cache/anchored"] },
    ],
  ]),
  ...inFile("anchors", "src/model/anchors.ts", ["model/anchors"], [
    [
      "angle-of-whole-anchor",
      "while (tokens >= LEAST_ANCHOR && (tokens / 2) * fastest > radians) tokens /= 2;",
      "while (tokens >= LEAST_ANCHOR && tokens * fastest > radians) tokens /= 2;",
    ],
    [
      "bands-by-themselves",
      "frequencies.subarray((end - 1) * BAND_PAIRS)",
      "frequencies.subarray((end - 1) * BAND_PAIRS, end * BAND_PAIRS)",
    ],
    [
      "offset-from-the-start",
      "frequency * ((token % tokens) - tokens / 2)",
      "frequency * (token % tokens)",
      { tests: ["reference/anchored"] },
    ],
  ]),
  ...inFile("reference", "src/reference/binary16.ts", ["reference/binary16"], [
    ["ties-up", "below % 2 === 1", "true"],
    ["overflow-late", "const OVERFLOW = 65520;", "const OVERFLOW = 65536;"],
    ["subnormals-finer", "const LEAST_EXPONENT = -14;", "const LEAST_EXPONENT = -15;"],
  ]),
  ...inFile("reference", "src/model/rope.ts", ["model/rope", "reference/attention"], [
    [
      "frequencies-of-head",
      "(_, pair) => rope.theta ** ((-2 * pair) / rotaryDim),",
      "(_, pair) => rope.theta ** ((-2 * pair) / headDim),",
    ],
    [
      "pairs-half-a-head-apart",
      'return layout === "half" ? [pair, pair + pairs] : [2 * pair, 2 * pair + 1];',
      'return layout === "half" ? [pair, pair + 2 * pairs] : [2 * pair, 2 * pair + 1];',
    ],
  ]),
  ...inFile("reference", "src/records/pack.ts", ["records/pack", "snapshots/snapshot"], [
    [
      "metadata-of-others-kept",
      "of layout.sections) {",
      "of layout.sections.slice(-1)) {",
      { tests: ["records/pack", "cache/blocks", "cache/hadamard"] },
    ],
    [
      "codes-of-others-kept",
      "of layout.sections) {",
      "of layout.sections.slice(0, -1)) {",
    ],
    [
      "metadata-at-token-of-sequence",
      "(token % layout.tokens) * metadata.tokenBits;",
      "token * metadata.tokenBits;",
      {
        tests: ["records/pack", "cache/hadamard", "cache/blocks"],
        unnoticed: "schemes ask for the place of a token in its own record",
      },
    ],
  ]),
  ...inFile("records", "src/records/layout.ts", ["records/layout"], [
    ["padding-of-5-percent", "const MAX_PADDING = 0.03;", "const MAX_PADDING = 0.05;"],
    [
      "metadata-of-one-token",
      'count * bits * (per === "token" ? tokens : 1)',
      "count * bits",
    ],
  ]),
  ...inFile("schemes", "src/schemes/levels.ts", ["schemes/uniform"], [
    [
      "scale-halves-to-odd",
      "(dividend === middle() && bits % 2 === 1)",
      "(dividend === middle() && bits % 2 === 0)",
      { tests: ["cache/blocks /any binary16/"] },
    ],
    [
      "ties-to-the-lower",
      "const code = Math.floor(Math.fround(number - minimum) / scale + zero + 0.5);",
      "const code = Math.ceil(Math.fround(number - minimum) / scale + zero - 0.5);",
    ],
  ]),
  ...inFile("schemes", "src/schemes/promoted.ts", ["schemes/promoted", "schemes/ternary"], [
    [
      "ties-of-ranges-to-the-higher",
      "(other === range && i < channel)",
      "(other === range && i > channel)",
    ],
    ["one-round-of-means", "const ROUNDS = 3;", "const ROUNDS = 1;"],
    [
      "a-middle-below",
      "numbers.filter((number) => number < middle)",
      "numbers.filter((number) => number <= middle)",
    ],
  ]),
  ...inFile("schemes", "src/schemes/ternary.ts", ["schemes/ternary"], [
    [
      "ties-of-scales-to-more-numbers",
      "sum * sum * count > best * best * (i + 1)",
      "sum * sum * count >= best * best * (i + 1)",
    ],
  ]),
  ...inFile("schemes", "src/schemes/uniform.ts", ["schemes/uniform"], [
    [
      "extreme-to-the-positive",
      'scale: span === "extreme" && high > -low ? -magnitude : magnitude',
      'scale: span === "extreme" && high >= -low ? -magnitude : magnitude',
    ],
  ]),
  ...inFile("schemes", "src/schemes/hadamard_codes.ts", [
    "cache/hadamard /the cache agrees/",
    "schemes/schemes",
  ], [
    [
      "universal-not-in-quads",
      "words: () => 4 * Math.ceil((2 ** codeBits * channels) / 8),",
      "words: () => Math.ceil((2 ** codeBits * channels) / 2),",
      { tests: ["plan/sizes"] },
    ],
    [
      "ties-to-the-highest",
      "if (likeness > best) {",
      "if (likeness >= best) {",
    ],
  ]),
  ...inFile("schemes", "src/schemes/coupled.ts", ["schemes/schemes", "cache/cache /codes alone/"], [
    [
      "gathers-by-channel",
      "work: (headDim) => ({ gathers: layout(headDim).codes }),",
      "work: (headDim) => ({ gathers: headDim }),",
      { tests: ["plan/attention_cost", "plan/choose_attention"] },
    ],
    ["ties-of-centroids-to-the-highest", "if (distance < best) {", "if (distance <= best) {"],
    [
      "scale-not-in-distance",
      "(vector![channel]! - centroids[at + i]!) * (scale?.[channel] ?? 1);",
      "vector![channel]! - centroids[at + i]!;",
      { tests: ["schemes/schemes", "cache/cache /channel scales/"] },
    ],
  ]),
  ...inFile("schemes", "src/schemes/lattice.ts", [
    "schemes/schemes",
    "cache/hadamard /the cache agrees/",
  ], [
    [
      "scale-of-vector",
      "const scale = toFloat8E5M3(deviation / codedDeviation);",
      "const scale = toFloat8E5M3(deviation);",
    ],
    [
      "mean-not-taken-out",
      "const centred = mean.map((value, channel) => vector[channel]! - value);",
      "const centred = mean.map((_, channel) => vector[channel]!);",
    ],
  ]),
  ...inFile("schemes", "src/schemes/block_means.ts", ["schemes/block_means"], [
    [
      "steps-twice-as-large",
      "LEAST_EXPONENT) - (bits - 2));",
      "LEAST_EXPONENT) - (bits - 3));",
    ],
    [
      "means-rounded-down",
      "Math.min(roundToEven(Math.abs(mean) / step), largest)",
      "Math.min(Math.floor(Math.abs(mean) / step), largest)",
    ],
  ]),
  ...inFile("schemes", "src/schemes/waves.ts", ["schemes/key_bias"], [
    [
      "factors-without-bound",
      "const sine = Math.min(Math.max(slope, -MAX_FLOAT16), MAX_FLOAT16);",
      "const sine = slope;",
      { tests: ["schemes/key_bias /however little/"] },
    ],
  ]),
  ...inFile("schemes", "src/schemes/turbo_quant.ts", [
    "schemes/schemes",
    "cache/hadamard /the cache agrees/",
  ], [
    [
      "turned-back-twice",
      "return turn?.(decoded, token, -1) ?? decoded;",
      "return turn?.(decoded, token, 1) ?? decoded;",
    ],
  ]),
  ...inFile("schemes", "src/schemes/hadamard.ts", ["schemes/hadamard", "schemes/schemes"], [
    [
      "unsigned",
      "const signed = Float64Array.from(vector, (value, i) => value * channelSign(i));",
      "const signed = Float64Array.from(vector);",
    ],
    [
      "of-any-size",
      "if (headDim >= LEAST && Number.isInteger(Math.log2(headDim))) return;",
      "if (headDim >= LEAST) return;",
      { tests: ["schemes/hadamard", "schemes/schemes", "cache/hadamard /refuses/"] },
    ],
  ]),
  ...inFile("binary16", "src/base/float16.ts", ["base/float16", "codebooks/grid"], [
    [
      "ties-up",
      "const up = rest > 0.5 || (rest === 0.5 && (floor & 1) === 1);",
      "const up = rest >= 0.5;",
    ],
    [
      "overflow-late",
      "if (magnitude >= 0x477ff000) return sign | 0x7c00;",
      "if (magnitude >= 0x47800000) return sign | 0x7c00;",
    ],
    [
      "below-zero",
      "return bits === 0 ? 0x8001 : bits & 0x8000 ? bits + 1 : bits - 1;",
      "return bits & 0x8000 ? bits + 1 : bits - 1;",
    ],
    [
      "below-a-negative",
      "return bits === 0 ? 0x8001 : bits & 0x8000 ? bits + 1 : bits - 1;",
      "return bits === 0 ? 0x8001 : bits - 1;",
    ],
  ]),
];
