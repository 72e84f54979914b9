/**
 * Sizes of buffers, pools and steps.
 *
 * @module
 */
import { inFile, type Mutation } from "./mutation.ts";

/** Mutations of what counts tokens, pages and bytes. */
export const SIZES: readonly Mutation[] = [
  ...inFile("sizes", "src/plan/pages.ts", ["cache/host"], [
    [
      "ring-one-short",
      "return tiers.window + block - 1 + capacity.appendTokens;",
      "return tiers.window + block - 2 + capacity.appendTokens;",
    ],
    [
      "ring-without-block",
      "return tiers.window + block - 1 + capacity.appendTokens;",
      "return tiers.window + capacity.appendTokens;",
    ],
    [
      "ring-one-long",
      "return tiers.window + block - 1 + capacity.appendTokens;",
      "return tiers.window + block + capacity.appendTokens;",
    ],
    [
      "kept-without-block",
      "Math.max(pageTables[pageTable]!.slidingWindow, tiers.window + block) - 1",
      "Math.max(pageTables[pageTable]!.slidingWindow, tiers.window) - 1",
    ],
    [
      "kept-one-fewer",
      "Math.max(pageTables[pageTable]!.slidingWindow, tiers.window + block) - 1",
      "Math.max(pageTables[pageTable]!.slidingWindow, tiers.window + block) - 2",
    ],
    [
      "kept-without-exact-window",
      "Math.max(pageTables[pageTable]!.slidingWindow, tiers.window + block) - 1",
      "pageTables[pageTable]!.slidingWindow - 1",
    ],
    [
      "first-page-without-rollback",
      "length - tiers.sinks - capacity.appendTokens - keptBehind(options, pageTable)",
      "length - tiers.sinks - keptBehind(options, pageTable)",
    ],
    [
      "first-page-counts-sinks",
      "length - tiers.sinks - capacity.appendTokens - keptBehind(options, pageTable)",
      "length - capacity.appendTokens - keptBehind(options, pageTable)",
    ],
    [
      "first-page-by-page",
      "return Math.floor(Math.max(0, passed) / NEAR_TOKENS) * (NEAR_TOKENS / PAGE_TOKENS);",
      "return Math.floor(Math.max(0, passed) / PAGE_TOKENS);",
    ],
    [
      "pool-one-tile-short",
      "const tiles = Math.ceil(kept / NEAR_TOKENS) + 1;",
      "const tiles = Math.ceil(kept / NEAR_TOKENS);",
    ],
    [
      "pool-one-tile-more",
      "const tiles = Math.ceil(kept / NEAR_TOKENS) + 1;",
      "const tiles = Math.ceil(kept / NEAR_TOKENS) + 2;",
    ],
    [
      "pool-without-new-tokens",
      "const kept = keptBehind(options, pageTable) + 2 * capacity.appendTokens;",
      "const kept = keptBehind(options, pageTable) + capacity.appendTokens;",
    ],
    [
      "pool-of-one-sequence",
      "const all = Math.ceil(capacity.tokens / PAGE_TOKENS) + capacity.sequences - 1;",
      "const all = Math.ceil(capacity.tokens / PAGE_TOKENS);",
    ],
    [
      "page-table-rounds-down",
      "return Math.ceil(capacity.sequenceTokens / PAGE_TOKENS);",
      "return Math.floor(capacity.sequenceTokens / PAGE_TOKENS);",
    ],
    [
      "page-tables-overlap",
      "return pageTable * options.capacity.sequences * sequencePages(options);",
      "return pageTable * sequencePages(options);",
      { tests: ["cache/cache /sliding and full/"] },
    ],
  ]),
  ...inFile("sizes", "src/codebooks/device.ts", ["cache/host"], [
    [
      "learned-side-shared",
      '[keys, values].every((scheme) => parseScheme(scheme).codebookSpec?.sharedBy !== "head")',
      '[keys, values].some((scheme) => parseScheme(scheme).codebookSpec?.sharedBy !== "head")',
      { tests: ["cache/cache /learned side/"] },
    ],
  ]),
  ...inFile("sizes", "src/plan/sizes.ts", ["cache/host"], [
    [
      "shared-centroids-for-each-head",
      "layer.keyValueHeads * (bytes - once) + once;",
      "layer.keyValueHeads * bytes;",
      { tests: ["plan/sizes"] },
    ],
    [
      "rope-table-one-row-short",
      "return NEAR_TOKENS + Math.ceil(farthest / NEAR_TOKENS) + 1 + (positions && 1);",
      "return NEAR_TOKENS + Math.ceil(farthest / NEAR_TOKENS) - 1 + (positions && 1);",
      { tests: ["plan/sizes", "cache/cache /tiles of|codes alone/"] },
    ],
    [
      "partials-of-first-target",
      "const rows = Math.max(...targets.map((target) => rowSplits(options, target)));",
      "const rows = rowSplits(options, targets[0]!);",
      { tests: ["plan/steps"] },
    ],
    [
      "table-of-whole-blocks",
      "const blocks = Math.floor((tokens * queryHeads) / keyValueHeads / BLOCK_ROWS) + entries;",
      "const blocks = Math.floor((tokens * queryHeads) / keyValueHeads / BLOCK_ROWS);",
      { tests: ["plan/sizes", "plan/choose_attention"] },
    ],
    [
      "step-without-header",
      "return Math.ceil((STEP_HEADER + 32 * stepEntries(options)) / 256) * 256;",
      "return Math.ceil((32 * stepEntries(options)) / 256) * 256;",
      { tests: ["plan/sizes", "cache/lifecycle"] },
    ],
    [
      "steps-of-one-set",
      "return stepStride(options) * (BUFFERED_STEPS * sets - 1) + STEP_BYTES;",
      "return stepStride(options) * (BUFFERED_STEPS - 1) + STEP_BYTES;",
      { tests: ["plan/steps"] },
    ],
    [
      "exact-of-one-side",
      "return SIDES.reduce((sum, side) => sum + exactSideBytes(options, layer, side, heads), 0);",
      'return exactSideBytes(options, layer, "keys", heads);',
      { tests: ["cache/lifecycle /encodeFork/"] },
    ],
  ]),
  ...inFile("sizes", "src/plan/steps.ts", ["cache/host"], [
    [
      "scores-without-sinks",
      "exactTiles(options.tiers.sinks) + exactTiles(ringSlots(options));",
      "exactTiles(ringSlots(options));",
      { tests: ["plan/sizes", "cache/cache /sinks beyond|sinks and window beyond/", "plan/steps"] },
    ],
    [
      "scores-without-ring",
      "exactTiles(options.tiers.sinks) + exactTiles(ringSlots(options));",
      "exactTiles(options.tiers.sinks);",
      {
        tests: [
          "plan/sizes",
          "cache/cache /a window without|sinks and window beyond/",
          "plan/steps",
        ],
      },
    ],
    [
      "partials-of-one-row",
      "Math.min(workgroups * BLOCK_ROWS, rowTiles(options, span) * rows)",
      "Math.min(workgroups, rowTiles(options, span) * rows)",
      { tests: ["plan/steps"] },
    ],
    [
      "splits-without-exact-tiles",
      "const tiles = Math.ceil(context / (span * PAGE_TOKENS)) + 2;",
      "const tiles = Math.ceil(context / (span * PAGE_TOKENS));",
      { tests: ["plan/steps"] },
    ],
    [
      "splits-beyond-partials",
      "Math.min(Math.ceil(workgroups / blocks), tiles, kept)",
      "Math.min(Math.ceil(workgroups / blocks), tiles)",
      { tests: ["cache/host /splits/"] },
    ],
    [
      "splits-round-down",
      "Math.min(Math.ceil(workgroups / blocks), tiles, kept)",
      "Math.min(Math.floor(workgroups / blocks), tiles, kept)",
      { tests: ["cache/host /splits/"] },
    ],
    [
      "head-blocks-round-down",
      "return Math.ceil(rows / keyValueHeads / BLOCK_ROWS);",
      "return Math.max(1, Math.floor(rows / keyValueHeads / BLOCK_ROWS));",
      { tests: ["cache/cache /three query heads|twelve query heads/"] },
    ],
  ]),
  ...inFile("parts", "src/plan/divide_heads.ts", [
    "cache/cache /several buffers/",
    "cache/lifecycle /several/",
  ], [
    [
      "most-heads-rounded-up",
      "const most = Math.floor(bindingBytes(limits) / perHead);",
      "const most = Math.ceil(bindingBytes(limits) / perHead);",
      { tests: ["plan/sizes", "plan/plan", "cache/read"] },
    ],
    [
      "count-rounded-down",
      "const count = Math.ceil(heads / Math.min(most, heads));",
      "const count = Math.floor(heads / Math.min(most, heads));",
      { tests: ["plan/sizes", "cache/lifecycle /several buffers/"] },
    ],
    [
      "largest-of-first-part",
      "largest: perHead * Math.max(...parts.map(({ count }) => count))",
      "largest: perHead * parts[0]!.count",
      { tests: ["plan/sizes", "plan/plan"] },
    ],
    [
      "exact-tier-unchecked",
      "bytes: exactBytes(options, layer, 1),",
      "bytes: 0,",
      { tests: ["plan/sizes", "plan/plan"] },
    ],
    [
      "values-by-keys-scheme",
      "bytes: poolBytes(options, layer, side, 1),",
      'bytes: poolBytes(options, layer, "keys", 1),',
      { tests: ["plan/sizes", "plan/plan"] },
    ],
    [
      "codebooks-of-keys-alone",
      'bytes: centroidBytes(options, layer, "keys") + centroidBytes(options, layer, "values"),',
      'bytes: centroidBytes(options, layer, "keys"),',
      { tests: ["plan/sizes", "plan/plan"] },
    ],
  ]),
  ...inFile("parts", "src/plan/divide_heads.ts", ["plan/sizes"], [
    [
      "groups-of-first-layer",
      "const heads = Math.max(...layers.map((layer) => layer.keyValueHeads));",
      "const heads = layers[0]!.keyValueHeads;",
    ],
    [
      "groups-to-the-last",
      "if (capacity.stepTokens * heads > groups) {",
      "if (capacity.stepTokens * heads >= groups) {",
    ],
    [
      "buffers-of-any-size",
      "return Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);",
      "return limits.maxStorageBufferBindingSize;",
    ],
    [
      "tables-unchecked",
      'buffer("q.centroid tables", scratch.tables),',
      'buffer("q.centroid tables", 0 * scratch.tables),',
    ],
    [
      "scores-unchecked",
      'buffer("scores", scratch.scores),',
      'buffer("scores", 0 * scratch.scores),',
    ],
  ]),
  ...inFile("sizes", "src/plan/sizes.ts", ["plan/sizes"], [
    [
      "codebooks-twice",
      '(side === "values" && alike) ? 0 : bytes',
      "false ? 0 : bytes",
    ],
    ["codebooks-of-sharers", "  if (layers[layer.source] !== layer) return 0;\n", ""],
    ["sink-buffer-of-one-head", "return Math.max(16, queryHeads * 4);", "return queryHeads * 4;"],
    [
      "channels-of-sharers",
      "return layers.filter(isOwn)\n    .reduce",
      "return layers\n    .reduce",
    ],
    [
      "rope-of-first-table",
      "const pairs = options.ropeTables.reduce(\n",
      "const pairs = options.ropeTables.slice(0, 1).reduce(\n",
    ],
    ["anchors-beyond-table", 'keys.space === "anchored" ? LARGEST_ANCHOR : 0,', "0,"],
    [
      "head-of-first-layer",
      "const channels = Math.max(...options.layers.map((layer) => layer.valueHeadDim));",
      "const channels = options.layers[0]!.valueHeadDim;",
    ],
    [
      "query-heads-of-first",
      "const queryHeads = Math.max(...options.layers.map((layer) => layer.queryHeads));",
      "const queryHeads = options.layers[0]!.queryHeads;",
    ],
    [
      "sharers-coded",
      "const heads = options.layers[layer.source] === layer ? layer.keyValueHeads : 0;",
      "const heads = layer.keyValueHeads;",
    ],
  ]),
  ...inFile("spans", "src/plan/plan_spans.ts", ["plan/sizes"], [
    [
      "remap-of-one-bit",
      "if (remap !== undefined && bits > 2) {",
      "if (remap !== undefined && bits >= 2) {",
    ],
    [
      "exact-to-the-token",
      "appendTokens: Math.ceil(tokens / PAGE_TOKENS) * PAGE_TOKENS,",
      "appendTokens: tokens,",
    ],
    [
      "exceptions-ignored",
      "const { keys, values } = policy.layers?.[index] ?? policy;",
      "const { keys, values } = policy;",
    ],
    [
      "scratch-of-one-span",
      "(sum, { options }, i) => sum + options.capacity.sequences * steps[i]!.partials,",
      "(sum, _, i) => sum + steps[i]!.partials,",
    ],
    [
      "levels-of-one-side",
      "return fitted ? capacity.sequences * 2 *",
      "return fitted ? capacity.sequences *",
    ],
    [
      "levels-of-any-scheme",
      "const fitted = [keys, values].some((id)",
      "const fitted = [keys, values].every((id)",
    ],
    ["bytes-of-keys", "return sum + sides[0]! + sides[1]! +", "return sum + sides[0]! +"],
    [
      "scratch-of-last-kind",
      "spans: most(kinds.map(({ options }) => spanScratch(options))),",
      "spans: spanScratch(kinds.at(-1)!.options),",
    ],
    ["tables-of-none", "tables: most(steps.map(({ tables }) => tables)),", "tables: 0,"],
    ["policy-layers-unchecked", "    checkPolicyLayers(policy, options.shape);\n", ""],
    [
      "tokens-of-first-kind",
      "tokens: kinds.reduce((sum, { options }) => sum + options.capacity.tokens, 0),",
      "tokens: kinds[0]?.options.capacity.tokens ?? 0,",
    ],
    [
      "records-unchecked",
      "bytes: poolBytes(options, layer, side, layer.keyValueHeads),\n        remedy",
      "bytes: 0,\n        remedy",
    ],
  ]),
];
