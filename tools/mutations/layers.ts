/**
 * What lies between a cache and its kernels: buffers, bindings, constants, dispatches.
 *
 * @module
 */
import { inFile, type Mutation } from "./mutation.ts";

/** Mutations of how layers are laid out and recorded. */
export const LAYERS: readonly Mutation[] = [
  ...inFile("commands", "src/cache/layer_commands.ts", [
    "cache/lifecycle",
    "cache/cache /codes alone/",
  ], [
    [
      "record-start-ignored",
      "codedAfter - Math.floor(codedBefore / recordTokens) * recordTokens",
      "codedAfter - codedBefore",
      { tests: ["cache/blocks", "cache/lifecycle"] },
    ],
    [
      "last-entry-decides",
      "most = Math.max(most, codedAfter - Math.floor(codedBefore / recordTokens) * recordTokens);",
      "most = codedAfter - Math.floor(codedBefore / recordTokens) * recordTokens;",
    ],
    [
      "blocks-round-down",
      "const blocks = Math.ceil(tokens / block);",
      "const blocks = Math.max(1, Math.floor(tokens / block));",
      { tests: ["cache/cache"] },
    ],
    [
      "encode-of-first-entry",
      "kernel.dispatch(recorder, step.place, NO_HOST, blocks, heads, step.entries);",
      "kernel.dispatch(recorder, step.place, NO_HOST, blocks, heads, 1);",
    ],
    [
      "copies-of-first-part",
      "    this.#buffers.parts.forEach((part, i) => {\n      const { kernel, words } = this.#compiled.units[i]!.copies",
      "    this.#buffers.parts.slice(0, 1).forEach((part, i) => {\n      const { kernel, words } = this.#compiled.units[i]!.copies",
      { tests: ["cache/lifecycle"] },
    ],
    [
      "copy-one-unit",
      "copy.dispatch(recorder, place, NO_HOST, copyGroups(words), entries, 1);",
      "copy.dispatch(recorder, place, NO_HOST, copyGroups(words), 1, 1);",
      { tests: ["cache/lifecycle", "cache/random"] },
    ],
    [
      "reads-rounded-down",
      "const groups = Math.ceil((heads * sideDim(this.#layer, side)) / 4 / WORKGROUP_SIZE);",
      "const groups = Math.max(1, Math.floor((heads * sideDim(this.#layer, side)) / 4 / WORKGROUP_SIZE));",
      { tests: ["cache/read", "cache/cache /KV heads|three query|80|several buffers/"] },
    ],
    [
      "restored-of-first-part",
      "    this.#buffers.parts.forEach((part, i) => {\n      const source",
      "    this.#buffers.parts.slice(0, 1).forEach((part, i) => {\n      const source",
      { tests: ["cache/lifecycle /several buffers/"] },
    ],
    [
      "restored-page-of-a-run",
      "restore.dispatch(recorder, place, host, copyGroups(words * most), entries, 1);",
      "restore.dispatch(recorder, place, host, copyGroups(words), entries, 1);",
      { unnoticed: "lanes go on until the run is through; it only takes longer" },
    ],
    [
      "merged-by-first-entry",
      "combine.dispatch(recorder, place, host, this.#layer.queryHeads, most, entries);",
      "combine.dispatch(recorder, place, host, this.#layer.queryHeads, most, 1);",
    ],
    [
      "shares-of-first-kind",
      "const { place, splits } = step.shares[kind]!;",
      "const { place, splits } = step.shares[0]!;",
      { tests: ["plan/steps"] },
    ],
    [
      "read-of-first-part",
      "    for (const part of this.#buffers.parts) {\n      const heads = part.heads.count;\n      const groups",
      "    for (const part of this.#buffers.parts.slice(0, 1)) {\n      const heads = part.heads.count;\n      const groups",
      { tests: ["cache/read"] },
    ],
  ]),
  ...inFile("buffers", "src/cache/layer_buffers.ts", ["cache/cache"], [
    ["sink-of-zero", "const NO_SINK = -3e38;", "const NO_SINK = 0;", {
      tests: ["cache/cache /codes alone/"],
    }],
    [
      "universal-by-keys",
      "const schemes = universalKey(layer);",
      "const schemes = layer.keys;",
      { tests: ["cache/cache /universal/", "cache/hadamard"] },
    ],
    [
      "sinks-not-uploaded",
      "device.queue.writeBuffer(buffers.sinkLogits, 0, sinkLogits ?? none);",
      "device.queue.writeBuffer(buffers.sinkLogits, 0, none);",
      { tests: ["cache/cache /learned sinks/"] },
    ],
  ]),
  ...inFile("buffers", "src/codebooks/device.ts", ["cache/cache"], [
    [
      "values-scale-as-keys",
      "keyScale: offset(2), valueScale: offset(3)",
      "keyScale: offset(2), valueScale: offset(2)",
      { tests: ["cache/cache /channel scales|several buffers/"] },
    ],
    [
      "scale-without-centroids",
      "values: same ? 0 : starts[1]!,",
      "values: starts[1]!,",
      { tests: ["cache/hadamard /u8b8 keys, u8b8 values/"] },
    ],
    [
      "grids-of-first-head",
      "bytes.set(part.subarray(head * size, (head + 1) * size), first);",
      "bytes.set(part.subarray(0, size), first);",
      { tests: ["cache/cache /codes alone/"] },
    ],
  ]),
  ...inFile("commands", "src/cache/layer_kernels.ts", ["cache/cache"], [
    [
      "store-of-one-side",
      "const sides = entries * SIDES.length / stores.length;",
      "const sides = entries;",
      { tests: ["cache/lifecycle", "cache/cache /codes alone/"] },
    ],
    [
      "values-stored-by-keys-channels",
      "part.heads.count * sideDim(layer, SIDES[i]!) / 2;",
      "part.heads.count * layer.headDim / 2;",
      { tests: ["cache/geometry /channels of keys and values equal/"] },
    ],
    [
      "table-of-one-block",
      "kernels.bind(fill, parts[0]!).dispatch(recorder, place, host, groups, keyValueHeads, blocks);",
      "kernels.bind(fill, parts[0]!).dispatch(recorder, place, host, groups, keyValueHeads, entries);",
      { tests: ["cache/cache /tables of q.centroid/"] },
    ],
    [
      "table-of-part-heads",
      "kernels.bind(fill, parts[0]!).dispatch(recorder, place, host, groups, keyValueHeads, blocks);",
      "kernels.bind(fill, parts[0]!).dispatch(recorder, place, host, groups, parts[0]!.heads.count, blocks);",
      { tests: ["cache/cache /tables of q.centroid/"] },
    ],
  ]),
  ...inFile("cache", "src/cache/create_cache.ts", ["cache/cache /learned sinks/"], [
    [
      "sinks-of-first-layer",
      "const logits = sinkLogits?.slice(logit, logit += queryHeads);",
      "const logits = sinkLogits?.slice(0, queryHeads);",
    ],
    [
      "codebook-of-keys-for-values",
      "cacheCodebook(codebooks, heads, own.source, side, own[side])",
      'cacheCodebook(codebooks, heads, own.source, "keys", own[side])',
      { tests: ["cache/cache /KV heads by layer/"] },
    ],
    [
      "features-unchecked",
      "const missing = plan.features.filter((feature) => !features.has(feature));",
      "const missing = plan.features.filter(() => false);",
      { tests: ["cache/cache", "plan/plan", "tuning/tune", "plan/choose_attention"] },
    ],
    [
      "bound-by-binding-alone",
      "const bound = Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);",
      "const bound = limits.maxStorageBufferBindingSize;",
      { tests: ["cache/cache", "plan/plan"] },
    ],
  ]),
  ...inFile("codebooks", "src/codebooks/find.ts", ["cache/cache"], [
    [
      "of-any-layer",
      "codebook.layer === layer && codebook.side === side && codebook.scheme === scheme",
      "codebook.side === side && codebook.scheme === scheme",
      { tests: ["cache/cache /by layer/"] },
    ],
    [
      "of-any-side",
      "codebook.layer === layer && codebook.side === side && codebook.scheme === scheme",
      "codebook.layer === layer && codebook.scheme === scheme",
      { tests: ["cache/cache /KV heads by layer/"] },
    ],
    [
      "of-any-scheme",
      "codebook.layer === layer && codebook.side === side && codebook.scheme === scheme",
      "codebook.layer === layer && codebook.side === side",
      { tests: ["codebooks/file", "reference/reference_cache"] },
    ],
    [
      "own-centroids-for-shared",
      "if (shareHeads && stages && heads > 1) {",
      "if (false) {",
      { tests: ["cache/additive /share centroids/"] },
    ],
    [
      "grid-length-unchecked",
      " || found.grid.length !== rows * gridNumbers(parsed) ||",
      " ||",
      { tests: ["cache/cache /createCache/", "codebooks/file"] },
    ],
    [
      "heads-unchecked",
      "found.keyValueHeads !== keyValueHeads || found.headDim !== headDim ||",
      "found.headDim !== headDim ||",
      { tests: ["cache/cache /createCache/", "codebooks/file", "reference/reference_cache"] },
    ],
    [
      "rotated-values-unasked",
      "if (set.valueRotations?.length && model === undefined) {",
      "if (set.valueRotations?.length && false) {",
      {
        tests: [
          "cache/cache /createCache/",
          "calibrate/value_rotation",
          "codebooks/file",
          "examples/engine/rotate_values",
        ],
      },
    ],
  ]),
  ...inFile("compiled", "src/cache/compiled_layer.ts", ["cache/cache /codes alone/"], [
    [
      "encoders-of-keys",
      "compileEncoder(compile, options, own, encode, side)",
      'compileEncoder(compile, options, own, encode, "keys")',
    ],
    [
      "readers-of-keys",
      "compile(decode, { SIDE })",
      "compile(decode, { SIDE: 0 })",
    ],
    [
      "values-copied-by-keys-size",
      '        pageBytes(own, "values", heads),',
      '        pageBytes(own, "keys", heads),',
      { tests: ["cache/lifecycle /encodeFork/"] },
    ],
    [
      "many-tokens-of-one",
      "many: await cut(ENCODE_TOKENS, manyTokens), manyTokens };",
      "many: await cut(ENCODE_TOKENS, manyTokens), manyTokens: recordTokens };",
      { tests: ["cache/cache /nearest centroid|thousands/", "plan/steps"] },
    ],
    [
      "softcap-lost",
      "SOFTCAP: softcap > 0 ? 1 : 0,",
      "SOFTCAP: 0,",
      { tests: ["cache/cache /softcap/"] },
    ],
    [
      "pairs-of-head",
      "ROTARY_CHUNKS: (keys.rope.rotaryDim ?? headDim) / 8,",
      "ROTARY_CHUNKS: headDim / 8,",
      { tests: ["cache/cache /partial/"] },
    ],
  ]),
  ...inFile("bindings", "src/cache/host_bindings.ts", [
    "cache/lifecycle /bindings/",
    "cache/read",
    "cache/cache",
  ], [
    [
      "tensor-one-token-short",
      "(tokens - 1) * token + (heads - 1) * head + channels",
      "(tokens - 1) * token + (heads - 1) * head",
      { tests: ["cache/host_bindings", "cache/lifecycle /bindings/", "cache/read"] },
    ],
    [
      "tensor-one-token-long",
      "(tokens - 1) * token + (heads - 1) * head + channels",
      "tokens * token + (heads - 1) * head + channels",
      { tests: ["cache/host_bindings", "cache/read", "hosts/hosts"] },
    ],
    [
      "f16-counted-as-f32",
      'return elements * (dtype === "f16" ? 2 : 4);',
      "return elements * 4;",
      { tests: ["cache/host_bindings", "cache/read", "hosts/hosts"] },
    ],
    [
      "size-from-buffer-start",
      "const size = given ?? all - offset;",
      "const size = given ?? all;",
      { tests: ["cache/host_bindings", "cache/lifecycle /bindings/"] },
    ],
    [
      "range-beyond-buffer",
      "size >= bytes && offset + size <= all)) {",
      "size >= bytes)) {",
    ],
    [
      "neighbours-overlap",
      "if (from >= start + read.bytes || start >= from + written.bytes) return;",
      "if (from > start + read.bytes || start > from + written.bytes) return;",
      { tests: ["cache/host_bindings", "cache/lifecycle /bindings/", "cache/cache"] },
    ],
    [
      "overlap-before-unseen",
      "if (from >= start + read.bytes || start >= from + written.bytes) return;",
      "if (from >= start + read.bytes || start >= from) return;",
      { tests: ["cache/host_bindings", "cache/lifecycle /bindings/", "cache/cache"] },
    ],
  ]),
  ...inFile("rope", "src/cache/rope_table.ts", ["cache/cache /tiles of|codes alone/"], [
    [
      "far-rows-by-page",
      "(row - NEAR_TOKENS) * NEAR_TOKENS",
      "((row - NEAR_TOKENS) * NEAR_TOKENS) / 2",
      { tests: ["cache/cache /tiles of/"] },
    ],
    ["sines-negative", "table[at + 4] = Math.sin(angle);", "table[at + 4] = -Math.sin(angle);"],
  ]),
];
