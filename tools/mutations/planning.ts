/**
 * Which kernels a plan takes, how it cuts their work, and what it says.
 *
 * @module
 */
import { inFile, type Mutation } from "./mutation.ts";

const CHOICE = ["plan/choose_attention", "plan/plan", "plan/sizes"] as const;

/** Mutations of planning, of tuning, and of the choice of a policy. */
export const PLANNING: readonly Mutation[] = [
  ...inFile("plan", "src/plan/step_scratch.ts", ["plan/sizes", "plan/plan"], [
    [
      "prefill-tables-of-decoding",
      "prefill.table ? bytes(largestStep(cache)) : 0",
      "prefill.table ? bytes(decodeStep(cache)) : 0",
    ],
    [
      "decoding-tables-of-prefill",
      "decode.table ? bytes(decodeStep(cache)) : 0",
      "decode.table ? bytes(largestStep(cache)) : 0",
      { tests: ["plan/sizes", "plan/plan", "plan/choose_attention"] },
    ],
    [
      "tables-of-first-layer",
      "tableBytes(own.layers[index]!, step)",
      "tableBytes(own.layers[0]!, step)",
      { tests: ["plan/sizes", "plan/plan", "plan/steps"] },
    ],
  ]),
  ...inFile("plan", "src/plan/plan_cache.ts", ["plan/sizes", "plan/plan"], [
    [
      "kinds-by-schemes-alone",
      'const id = Object.values(layerKind(layer)).join("/");',
      "const id = `${layer.keys}/${layer.values}`;",
      { tests: ["tuning/tune /uses a record's choice/", "plan/plan"] },
    ],
    [
      "scratch-in-bits",
      "effectiveBits: (8 * residentBytes(bytes)) /",
      "effectiveBits: (8 * bytes.total) /",
    ],
    [
      "largest-of-layers-alone",
      "largestBinding: Math.max(largestBinding, ...buffers.map((buffer) => buffer.bytes)),",
      "largestBinding,",
    ],
    [
      "last-of-a-name",
      "names.size < names.add(kernel.name).size &&",
      "names.add(kernel.name).size > 0 &&",
      { tests: ["plan/plan", "tuning/tune", "codegen/kernel_sets", "plan/choose_attention"] },
    ],
    [
      "features-unasked",
      "kernelFeatures(parts).every((feature) => features?.has(feature))",
      "kernelFeatures(parts).every((feature) => features?.has(feature) ?? true)",
      { tests: ["plan/choose_attention"] },
    ],
    [
      "nominal-of-keys",
      "SIDES.map((side) => recordBits(sideLayout(layer, side), sideDim(layer, side)))",
      'SIDES.map(() => recordBits(sideLayout(layer, "keys"), sideDim(layer, "keys")))',
    ],
  ]),
  ...inFile("plan", "src/plan/steps.ts", ["plan/sizes", "plan/plan"], [
    [
      "prefill-from-three",
      "return capacity.appendTokens > 1;",
      "return capacity.appendTokens > 2;",
      { tests: ["plan/plan", "tuning/tune"] },
    ],
    [
      "decoding-beyond-step",
      "const entries = Math.min(stepEntries(options), options.capacity.stepTokens);",
      "const entries = stepEntries(options);",
      { tests: ["plan/sizes", "plan/plan", "plan/choose_attention"] },
    ],
  ]),
  ...inFile("plan", "src/plan/requirements.ts", ["plan/sizes", "plan/plan"], [
    [
      "required-of-nothing",
      "maxBufferSize: Math.max(BASE_LIMITS.maxBufferSize, largestBinding),",
      "maxBufferSize: BASE_LIMITS.maxBufferSize,",
      { tests: ["plan/plan", "cli/plan"] },
    ],
  ]),
  ...inFile("options", "src/plan/options.ts", ["plan/plan", "cache/cache"], [
    [
      "append-beyond-step",
      "appendTokens: Math.min(capacity.appendTokens, capacity.stepTokens, capacity.sequenceTokens),",
      "appendTokens: Math.min(capacity.appendTokens, capacity.sequenceTokens),",
      { tests: ["plan/sizes", "plan/plan"] },
    ],
    [
      "append-beyond-sequence",
      "appendTokens: Math.min(capacity.appendTokens, capacity.stepTokens, capacity.sequenceTokens),",
      "appendTokens: Math.min(capacity.appendTokens, capacity.stepTokens),",
      { tests: ["plan/sizes", "plan/plan"] },
    ],
    [
      "scale-by-head-dim",
      "scale ?? dims.map((headDim) => headDim ** -0.5)",
      "scale ?? dims.map((headDim) => headDim ** -1)",
      { tests: ["cache/cache /codes alone/"] },
    ],
    [
      "block-of-keys",
      "[keys, values].map((id) => parseScheme(id).block)",
      "[keys, keys].map((id) => parseScheme(id).block)",
      { tests: ["plan/sizes", "cache/blocks"] },
    ],
    [
      "block-of-first-layer",
      "...layers.flatMap(({ keys, values }) => [keys, values].map((id) => parseScheme(id).block)),",
      "...layers.slice(0, 1).flatMap(({ keys, values }) => [keys, values].map((id) => parseScheme(id).block)),",
      { tests: ["plan/sizes", "cache/blocks"] },
    ],
    [
      "window-of-first-layer",
      "const slidingWindow = windows[layer]!;",
      "const slidingWindow = windows[0]!;",
      { tests: ["cache/cache /sliding and full/"] },
    ],
    [
      "values-in-default-strides",
      'values: values ?? stridesOf("values"),',
      'values: io.values ?? stridesOf("values"),',
      { tests: ["cache/cache /head-major/", "cache/read"] },
    ],
    [
      "output-in-default-strides",
      'output: output ?? stridesOf("output"),',
      'output: io.output ?? stridesOf("output"),',
      { tests: ["cache/cache /head-major/"] },
    ],
    [
      "overlap-by-one-token",
      "const headMajor = head >= (stepTokens - 1) * token + channels;",
      "const headMajor = head >= (stepTokens - 1) * token;",
    ],
    [
      "odd-head-strides",
      'if (io.dtype === "f16" && (token % 2 !== 0 || head % 2 !== 0)) {',
      'if (io.dtype === "f16" && token % 2 !== 0) {',
    ],
    [
      "policy-beyond-layers",
      "!(+layer < shape.layers)",
      "!(+layer <= shape.layers)",
    ],
    [
      "entries-unbounded",
      "return Math.min(STEP_ENTRIES, capacity.sequences);",
      "return capacity.sequences;",
      { tests: ["plan/sizes", "plan/plan", "cache/host"] },
    ],
  ]),
  ...inFile("choice", "src/plan/plan_spans.ts", CHOICE, [
    [
      "spans-without-integers",
      'features.find((feature) => feature === "int16" || feature === "int8")',
      "features.find(() => false)",
    ],
    [
      "span-prefill-as-decode",
      "prefill: integersOf(layers.map(({ prefill }) => prefill)),",
      "prefill: integersOf(layers.map(({ decode }) => decode)),",
      { tests: ["plan/choose_attention"] },
    ],
  ]),
  ...inFile("choice", "src/plan/choose_attention.ts", CHOICE, [
    [
      "spans-below-most",
      "return SPANS.filter((span) => span <= most);",
      "return SPANS.filter((span) => span < most);",
    ],
    [
      "tables-of-an-eighth",
      "const TABLE_SHARE = 1 / 16;",
      "const TABLE_SHARE = 1 / 8;",
    ],
    [
      "mix-not-checked",
      "const obstacles = Object.values(group).map((kernel) => obstacle(kernel, limits));",
      "const obstacles = [group.attend ?? group.score!].map((kernel) => obstacle(kernel, limits));",
      { unnoticed: "a scheme has one mix kernel a size; it differs for rows of a user's own" },
    ],
    [
      "most-cost-first",
      "return [...candidates].sort((a, b) => a.cost - b.cost);",
      "return [...candidates].sort((a, b) => b.cost - a.cost);",
    ],
    [
      "tuned-span-ignored",
      "one.span === span && candidateNames(one.kernels).join() === names",
      "candidateNames(one.kernels).join() === names",
      { tests: ["tuning/tune", "plan/steps"] },
    ],
    [
      "tuned-workgroups-unchecked",
      "if (measured === undefined || !TUNED_WORKGROUPS.includes(workgroups)) {",
      "if (measured === undefined) {",
      { tests: ["tuning/tune", "plan/steps"] },
    ],
    [
      "splits-of-default-span",
      "splits: { workgroups, span, queryHeads, keyValueHeads },",
      "splits: { workgroups, span: largestSpan(options), queryHeads, keyValueHeads },",
      { tests: ["tuning/tune", "plan/steps", "cache/cache /tiles of four/"] },
    ],
    [
      "table-kernel-left-out",
      "return [table, attend, score, mix].flatMap((kernel) => (kernel === undefined ? [] : kernel.name));",
      "return [attend, score, mix].flatMap((kernel) => (kernel === undefined ? [] : kernel.name));",
      { tests: ["tuning/tune", "plan/choose_attention", "cli/plan"] },
    ],
  ]),
  ...inFile(
    "cost",
    "src/plan/attention_cost.ts",
    ["plan/attention_cost", "plan/choose_attention"],
    [
      [
        "queries-loaded-by-page",
        "queryLoads: headDim / 4 / span,",
        "queryLoads: headDim / 4,",
      ],
      [
        "rotations-by-channel",
        'rotations: variant === "plain" ? 0 : headDim / 2,',
        'rotations: variant === "plain" ? 0 : headDim,',
      ],
      [
        "windows-unseen",
        "return slidingWindow === 0 ? context : Math.min(slidingWindow, context);",
        "return context;",
      ],
      [
        "last-tile-for-free",
        "const tiles = Math.ceil(seen / (span * PAGE_TOKENS));",
        "const tiles = Math.max(1, Math.floor(seen / (span * PAGE_TOKENS)));",
      ],
      [
        "lut-filled-once",
        "Math.max(work.workgroups, TARGET_WORKGROUPS) * workCost(work.workgroup) +",
        "workCost(work.workgroup) +",
      ],
      [
        "tables-filled-once",
        "tableProducts: blocks * fill,",
        "tableProducts: fill,",
      ],
      [
        "idle-workgroups-for-free",
        "return Math.max(work.tiles, work.share * TARGET_WORKGROUPS) * workCost(work.tile) +",
        "return work.tiles * workCost(work.tile) +",
      ],
      [
        "subgroups-cost",
        "subgroups: 0.95,",
        "subgroups: 1.05,",
      ],
      [
        "f16-gains",
        "f16: 1.1,",
        "f16: 0.9,",
      ],
      ["int8-by-estimate", "int8: 2,", "int8: 0.5,"],
      [
        "scores-carried-for-free",
        "...(mix === undefined ? {} : { scores: 1 }),",
        "",
      ],
      [
        "values-for-free",
        "const token = sum(keyWork(variant, keys, headDim, span), parseScheme(values).work(valueHeadDim), {",
        "const token = sum(keyWork(variant, keys, headDim, span), {",
      ],
      [
        "dispatches-for-free",
        "dispatches: TARGET_WORKGROUPS * 5_000_000,",
        "dispatches: 0,",
      ],
      [
        "products-of-keys",
        "products: valueHeadDim,",
        "products: headDim,",
        { tests: ["plan/attention_cost"] },
      ],
    ],
  ),
  ...inFile("kinds", "src/plan/steps.ts", ["plan/steps"], [
    [
      "sets-of-decoding",
      '    splitKinds(layers, "prefill").targets.length,\n',
      "",
    ],
    [
      "by-workgroups-alone",
      "workgroups === own.workgroups && span === own.span && queryHeads === own.queryHeads &&",
      "workgroups === own.workgroups &&",
    ],
  ]),
  ...inFile("select", "src/kernels/select.ts", ["plan/plan", "plan/choose_attention"], [
    [
      "workgroup-memory-to-the-byte",
      "if (kernel.workgroupBytes > limits.maxComputeWorkgroupStorageSize) {",
      "if (kernel.workgroupBytes >= limits.maxComputeWorkgroupStorageSize) {",
    ],
    [
      "storage-buffers-to-the-last",
      "if (bound > limits.maxStorageBuffersPerShaderStage) {",
      "if (bound >= limits.maxStorageBuffersPerShaderStage) {",
    ],
    [
      "uniforms-as-storage",
      'kernel.bindings.filter((name) => bindingSpace(name) !== "uniform").length',
      "kernel.bindings.length",
    ],
    [
      "variants-unasked",
      ": query.variants?.includes(parts.variant) === true);",
      ": query.variants?.includes(parts.variant) !== false);",
    ],
  ]),
  ...inFile("tuning", "src/plan/tuning_record.ts", ["tuning/tune"], [
    [
      "last-candidate",
      "found.candidates.find(({ kernels }) =>",
      "found.candidates.findLast(({ kernels }) =>",
    ],
    [
      "adapter-unchecked",
      "const other = differences(record.adapter, adapterIdentity(device));",
      "const other = differences(record.adapter, record.adapter);",
    ],
    [
      "missing-properties-alike",
      "return [...new Set([...Object.keys(a), ...Object.keys(b)])]",
      "return [...new Set(Object.keys(a))]",
      { tests: ["plan/tuning_record"] },
    ],
    [
      "softcap-unseen",
      "softcap: softcap > 0 };",
      "softcap: false };",
      { tests: ["plan/tuning_record"] },
    ],
  ]),
  ...inFile("tune", "src/tuning/tune.ts", ["tuning/tune"], [
    [
      "all-layers-measured",
      "resolved.layers.map((layer) => [JSON.stringify(layerKind(layer)), layer]),",
      "resolved.layers.map((layer, i) => [`${i}`, layer]),",
    ],
    [
      "context-beyond-plan",
      "const context = tokens ?? Math.min(sequenceTokens, CONTEXT);",
      "const context = tokens ?? sequenceTokens;",
    ],
    [
      "prefill-of-all-sequences",
      "return { sequences: 1, context, tokens: Math.min(capacity.appendTokens, context) };",
      "return { sequences: 1, context, tokens: capacity.appendTokens };",
    ],
  ]),
  ...inFile("timing", "src/tuning/compare.ts", ["tuning/compare"], [
    [
      "repeats-not-divided",
      "milliseconds: median(samples) / repeats,",
      "milliseconds: median(samples),",
    ],
    [
      "upper-median",
      "return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;",
      "return sorted[sorted.length >> 1]!;",
    ],
    [
      "samples-kept-for-finalists",
      "for (const contender of hopeful) contender.samples = [];",
      "",
    ],
    [
      "runs-not-destroyed",
      "for (const { run } of all) run.destroy();",
      "for (const { run } of all.slice(1)) run.destroy();",
    ],
  ]),
  ...inFile("policy", "src/policy/choose_policy.ts", ["policy/choose_policy"], [
    [
      "worse-named-as-better",
      ".filter(({ cost, loss }) => cost > chosen.cost && loss < chosen.loss)",
      ".filter(({ cost }) => cost > chosen.cost)",
    ],
    [
      "smallest-named-as-next",
      ".toSorted((a, b) => b.cost - a.cost || a.loss - b.loss)[0];",
      ".toSorted((a, b) => a.cost - b.cost || a.loss - b.loss)[0];",
    ],
    [
      "tie-by-more-loss",
      ".toSorted((a, b) => a.cost - b.cost || a.loss - b.loss)[0];",
      ".toSorted((a, b) => a.cost - b.cost || b.loss - a.loss)[0];",
    ],
    [
      "rarest-pair-as-policy",
      "counts.get(pairId(b[1]))! > counts.get(pairId(a[1]))! ? b : a",
      "counts.get(pairId(b[1]))! < counts.get(pairId(a[1]))! ? b : a",
      { tests: ["policy/choose_policy"] },
    ],
    [
      "codebooks-for-one-sequence",
      "tokens: tokens * sequences,\n        sequenceTokens: tokens,",
      "tokens,\n        sequenceTokens: tokens,",
    ],
    [
      "blocks-never-compared",
      "parseScheme(scheme).block <= block)",
      "parseScheme(scheme).block <= Infinity)",
    ],
    [
      "shared-lose-as-own",
      '`${scheme}${shareHeads && parseScheme(scheme).codebookSpec?.stages ? " shared" : ""}`;',
      "scheme;",
    ],
    [
      "sharing-not-counted",
      "const memory = memoryOf(options, own, shareHeads);",
      "const memory = memoryOf(options, own, false);",
    ],
    [
      "bits-rounded-down",
      "return `${Math.ceil(bits * 1000 - 1e-6) / 1000}`;",
      "return `${Math.floor(bits * 1000) / 1000}`;",
    ],
  ]),
  ...inFile("knapsack", "src/policy/knapsack.ts", ["policy/choose_policy"], [
    [
      "cheapest-thinned-out",
      "i === 0 || i === front.length - 1 || stepOf(one) !== stepOf(front[i + 1]!)",
      "i === front.length - 1 || stepOf(one) !== stepOf(front[i + 1]!)",
      { unnoticed: "no instance was found in which it is all that leaves room for the rest" },
    ],
    [
      "beaten-kept-out-by-ties",
      "if (front.length === 0 || one.loss < front.at(-1)!.loss) front.push(one);",
      "if (front.length === 0 || one.loss > front.at(-1)!.loss) front.push(one);",
    ],
    [
      "bound-without-price",
      "if (loss + bounds[i + 1]! - price * (budget - cost) > enough) continue;",
      "if (loss + bounds[i + 1]! > enough) continue;",
    ],
  ]),
  ...inFile("policy", "src/policy/choose_policy.ts", ["policy/choose_policy"], [
    ["sharers-choose", ".filter((layer) => (shape.sharesWith?.[layer] ?? layer) === layer);", ";"],
    [
      "nominal-of-first-layer",
      "bitsOf(scheme, shape, items[i]!.layer, items[i]!.side)",
      "bitsOf(scheme, shape, 0, items[i]!.side)",
    ],
    [
      "lossless-needs-loss",
      "if (!parseScheme(scheme).lossless) continue;",
      "continue;",
    ],
    ["twice-allowed", "if (losses.has(place({ layer, side }))) {", "if (false) {"],
    [
      "tiers-left-out",
      "tiers: options.tiers ?? { sinks: 0, window: 0 },",
      "tiers: { sinks: 0, window: 0 },",
    ],
    [
      "budget-to-the-digit",
      "budgetBits * memory.unitsPerBit * (1 + ROUNDING) - base,",
      "budgetBits * memory.unitsPerBit * (1 - ROUNDING) - base,",
    ],
  ]),
  ...inFile("knapsack", "src/policy/knapsack.ts", ["policy/choose_policy"], [
    ["over-budget", "if (cost + least[i + 1]! > budget) break;", "if (cost > budget) break;"],
    [
      "without-room-for-rounding",
      "const enough = known + ROUNDING * scale;",
      "const enough = known - ROUNDING * scale;",
    ],
    [
      "least-of-these",
      "if (cost + least[i + 1]! > budget) break;",
      "if (cost + least[i]! > budget) break;",
    ],
    ["room-not-spent", "room -= better.cost - one.cost;", ""],
    [
      "cheapest-of-none",
      "if (least[0]! > budget) return undefined;",
      "if (least[0]! >= budget) return undefined;",
      { tests: ["policy/knapsack"] },
    ],
  ]),
  ...inFile("skip", "src/plan/skip.ts", ["cache/skip"], [
    ["bound-of-nothing", "if (skipBelow === 0) return 0;", ""],
    [
      "bound-beyond-one",
      "return Math.min(1, tokens * Math.exp(-skipBelow));",
      "return tokens * Math.exp(-skipBelow);",
    ],
    ["below-two", "whole(1, 100)", "whole(2, 100)"],
    [
      "spans-uncounted",
      "spans.reduce((sum, span) => sum + span.capacity.tokens, capacity.sequenceTokens)",
      "capacity.sequenceTokens",
      { tests: ["plan/skip"] },
    ],
    ["below-anything", "whole(1, 100)", "whole(1)", { tests: ["plan/skip"] }],
  ]),
  ...inFile("protected", "src/spans/protected_tokens.ts", ["spans/protected_tokens"], [
    [
      "least-unasked",
      "Math.max(GROUP, Math.floor(tokens.length * share / GROUP) * GROUP)",
      "Math.floor(tokens.length * share / GROUP) * GROUP",
    ],
    [
      "by-rank",
      "protected: tokens.filter((token) => chosen.has(token)),",
      "protected: [...chosen],",
    ],
    ["share-of-zero", "value > 0 && value <= 1", "value >= 0 && value <= 1"],
    [
      "share-rounded-up",
      "Math.floor(tokens.length * share / GROUP) * GROUP",
      "Math.ceil(tokens.length * share / GROUP) * GROUP",
    ],
    ["least-similar", "similarities[b]! - similarities[a]!", "similarities[a]! - similarities[b]!"],
    [
      "text-of-first-token",
      "mean[i % width]! += text[i]! / textTokens;",
      "mean[i % width] = text[i]! / textTokens;",
    ],
    ["share-beyond-all", "value > 0 && value <= 1", "value > 0"],
    [
      "no-tokens",
      "if (length > 0 && length % width === 0) continue;",
      "if (length % width === 0) continue;",
    ],
    ["infinite-embeddings", "if (!Number.isFinite(dot)) {", "if (Number.isNaN(dot)) {"],
  ]),
  ...inFile("tuning", "src/plan/tuning_record.ts", ["plan/tuning_record"], [
    [
      "way-unasked",
      "Object.entries({ ...LACKING, ...kind, way })",
      "Object.entries({ ...LACKING, ...kind })",
      { tests: ["tuning/tune"] },
    ],
    [
      "some-measured",
      "candidates.length > 0 && [...candidates].every(isMeasured)",
      "candidates.length > 0 && [...candidates].some(isMeasured)",
      { tests: ["tuning/tune"] },
    ],
    ["version-unchecked", "if (version !== VERSION) {", "if (version === undefined) {", {
      tests: ["tuning/tune"],
    }],
    [
      "window-unsaid",
      "    slidingWindow,\n    ...(keyOptions",
      "    slidingWindow: 0,\n    ...(keyOptions",
      { tests: ["tuning/tune"] },
    ],
    ["rotary-dim-unsaid", "      rotaryDim: keyOptions.rope.rotaryDim ?? headDim,\n", ""],
    [
      "rotary-dim-of-head",
      "rotaryDim: keyOptions.rope.rotaryDim ?? headDim,",
      "rotaryDim: headDim,",
    ],
    ["layout-unsaid", "      layout: keyOptions.rope.layout,\n", ""],
    ["value-dim-unsaid", "...(valueHeadDim !== headDim && { valueHeadDim }),", ""],
    [
      "lacking-unasked",
      "Object.entries({ ...LACKING, ...kind, way })",
      "Object.entries({ ...kind, way })",
    ],
    ["rounding-allowed", "!kernels.some((name) => rounding.has(name))", "kernels.length > 0"],
    ["no-candidate", "candidates.length > 0 && [", "["],
    [
      "shape-unchecked",
      'if (other !== "") refuse(`it was measured for another shape: ${other}`);',
      "",
    ],
  ]),
  ...inFile("plan", "src/plan/step_scratch.ts", ["plan/sizes"], [
    [
      "tables-of-kind",
      "prefill.table ? bytes(largestStep(cache)) : 0,",
      "prefill.table ? bytes(largestStep(own)) : 0,",
    ],
    ["scores-of-first-layer", "attentions.some(({ score }) => score)", "attentions[0]!.score", {
      tests: ["plan/sizes /scores/"],
    }],
  ]),
  ...inFile("sensitivity", "src/policy/estimate_sensitivities.ts", ["codebooks/fit"], [
    [
      "scored-values",
      'side === "keys" && set.keySpace === "as-scored"',
      'set.keySpace === "as-scored"',
    ],
    ["never-scored", "{ scored, ...(turn && { turn }) }", "{ ...(turn && { turn }) }"],
    [
      "sharing-unsaid",
      "...(centroidHeads(codebook) < codebook.keyValueHeads ? { shareHeads: true } : {}),",
      "",
    ],
    ["unturned", "{ scored, ...(turn && { turn }) }", "{ scored }"],
    [
      "weights-of-any-length",
      "if (weights?.length === values.length && weights.length > 0) return weights;",
      "if (weights !== undefined && weights.length > 0) return weights;",
    ],
    ["shapes-unchecked", "for (const codebook of learned) checkShape(codebook, one);", ""],
  ]),
  ...inFile("checked", "src/checked/records.ts", ["records/checked"], [
    [
      "bits-of-33",
      "bits: whole(1, 32),\n  }, { words, bits });",
      "bits: whole(1, 33),\n  }, { words, bits });",
    ],
    [
      "place-beyond-words",
      "bit: whole(0, words.length * 32 - bits),",
      "bit: whole(0, words.length * 32),",
    ],
    [
      "no-planes",
      "sections[1](value) && value.length > 0 && value[0]!.count > 0,",
      "sections[1](value),",
    ],
    [
      "written-anything",
      'checkOptions("shape", "Cannot write bits", { value: NUMBER }, { value });',
      "",
    ],
    ["code-bits-of-33", "codeBits: whole(1, 32),", "codeBits: whole(1, 33),"],
    [
      "negative-tokens",
      "    codes: NUMBERS,\n    tokens: whole(0),",
      "    codes: NUMBERS,\n    tokens: NUMBER,",
    ],
  ]),
  ...inFile(
    "checked",
    "src/checked/reference_cache.ts",
    ["package/public_calls /ReferenceCache/"],
    [
      [
        "dropped-unchecked",
        "check({ sequence: sequenceKind, from: NUMBER, to: NUMBER }, { sequence, from, to });",
        "",
      ],
      ["entries-unchecked", "check({ entries }, { entries: given });", ""],
    ],
  ),
];
