/**
 * What lies between a cache and its kernels: buffers, bindings, constants, dispatches.
 *
 * @module
 */
import { inFile, type Mutation } from "../mutation.ts";

/** Mutations of how layers are laid out and recorded. */
export const LAYERS: readonly Mutation[] = [
  ...inFile("commands", "src/cache/layer_commands.ts", ["cache_lifecycle", "cache /codes alone/"], [
    [
      "store-of-one-side",
      "store.dispatch(recorder, step.place, host, groups, step.most, step.entries * 2);",
      "store.dispatch(recorder, step.place, host, groups, step.most, step.entries);",
    ],
    [
      "record-start-ignored",
      "codedAfter - Math.floor(codedBefore / recordTokens) * recordTokens",
      "codedAfter - codedBefore",
      { tests: ["block_cache", "cache_lifecycle"] },
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
      { tests: ["cache"] },
    ],
    [
      "encode-of-first-entry",
      "kernel.dispatch(recorder, step.place, NO_HOST, blocks, heads, step.entries);",
      "kernel.dispatch(recorder, step.place, NO_HOST, blocks, heads, 1);",
    ],
    [
      "table-of-one-block",
      "table.dispatch(recorder, place, host, groups, keyValueHeads, blocks);",
      "table.dispatch(recorder, place, host, groups, keyValueHeads, entries);",
      { tests: ["cache /tables of q.centroid/"] },
    ],
    [
      "table-of-part-heads",
      "table.dispatch(recorder, place, host, groups, keyValueHeads, blocks);",
      "table.dispatch(recorder, place, host, groups, parts[0]!.heads.count, blocks);",
      { tests: ["cache /tables of q.centroid/"] },
    ],
    [
      "copies-of-first-part",
      "    this.#buffers.parts.forEach((part, i) => {\n      const { kernel, words } = this.#compiled.units[i]!.copies",
      "    this.#buffers.parts.slice(0, 1).forEach((part, i) => {\n      const { kernel, words } = this.#compiled.units[i]!.copies",
      { tests: ["cache_lifecycle"] },
    ],
    [
      "copy-one-unit",
      "copy.dispatch(recorder, place, NO_HOST, copyGroups(words), entries, 1);",
      "copy.dispatch(recorder, place, NO_HOST, copyGroups(words), 1, 1);",
      { tests: ["cache_lifecycle", "cache_random"] },
    ],
    [
      "reads-rounded-down",
      "const groups = Math.ceil((heads * this.#options.shape.headDim) / 4 / WORKGROUP_SIZE);",
      "const groups = Math.max(1, Math.floor((heads * this.#options.shape.headDim) / 4 / WORKGROUP_SIZE));",
      { tests: ["cache_read", "cache /KV heads|three query|80|several buffers/"] },
    ],
    [
      "restored-of-first-part",
      "    this.#buffers.parts.forEach((part, i) => {\n      const source",
      "    this.#buffers.parts.slice(0, 1).forEach((part, i) => {\n      const source",
      { tests: ["cache_lifecycle /several buffers/"] },
    ],
    [
      "restored-page-of-a-run",
      "restore.dispatch(recorder, place, host, copyGroups(words * most), entries, 1);",
      "restore.dispatch(recorder, place, host, copyGroups(words), entries, 1);",
      { unnoticed: "lanes go on until the run is through; it only takes longer" },
    ],
    [
      "merged-by-first-entry",
      "combine.dispatch(recorder, place, host, shape.queryHeads, most, entries);",
      "combine.dispatch(recorder, place, host, shape.queryHeads, most, 1);",
    ],
    [
      "shares-of-first-kind",
      "const { place, splits } = step.shares[kind]!;",
      "const { place, splits } = step.shares[0]!;",
      { tests: ["splits"] },
    ],
    [
      "read-of-first-part",
      "    for (const part of this.#buffers.parts) {\n      const heads = part.heads.count;\n      const groups",
      "    for (const part of this.#buffers.parts.slice(0, 1)) {\n      const heads = part.heads.count;\n      const groups",
      { tests: ["cache_read"] },
    ],
  ]),
  ...inFile("buffers", "src/cache/layer_buffers.ts", ["cache"], [
    ["sink-of-zero", "const NO_SINK = -3e38;", "const NO_SINK = 0;", {
      tests: ["cache /codes alone/"],
    }],
    [
      "universal-by-keys",
      "const schemes = `${layer.keys}/${layer.values}`;",
      "const schemes = `${layer.keys}`;",
      { tests: ["cache /universal/", "rotated_cache"] },
    ],
    [
      "sinks-not-uploaded",
      "device.queue.writeBuffer(buffers.sinkLogits, 0, sinkLogits ?? none);",
      "device.queue.writeBuffer(buffers.sinkLogits, 0, none);",
      { tests: ["cache /learned sinks/"] },
    ],
  ]),
  ...inFile("buffers", "src/codebooks/device.ts", ["cache"], [
    [
      "values-scale-as-keys",
      "keyScale: offset(2), valueScale: offset(3)",
      "keyScale: offset(2), valueScale: offset(2)",
      { tests: ["cache /channel scales|several buffers/"] },
    ],
    [
      "scale-without-centroids",
      "values: same ? 0 : starts[1]!,",
      "values: starts[1]!,",
      { tests: ["rotated_cache /u8b8 keys, u8b8 values/"] },
    ],
    [
      "grids-of-first-head",
      "bytes.set(grids.subarray(head * gridBytes, (head + 1) * gridBytes), first);",
      "bytes.set(grids.subarray(0, gridBytes), first);",
      { tests: ["cache /codes alone/"] },
    ],
  ]),
  ...inFile("cache", "src/cache/create_cache.ts", ["cache /learned sinks/"], [
    [
      "sinks-of-first-layer",
      "const logits = sinkLogits?.slice(layer * queryHeads, (layer + 1) * queryHeads);",
      "const logits = sinkLogits?.slice(0, queryHeads);",
    ],
    [
      "codebook-of-keys-for-values",
      "cacheCodebook(codebooks, shape, index, side, layer[side])",
      'cacheCodebook(codebooks, shape, index, "keys", layer[side])',
      { tests: ["cache /KV heads by layer/"] },
    ],
    [
      "features-unchecked",
      "const missing = plan.features.filter((feature) => !features.has(feature));",
      "const missing = plan.features.filter(() => false);",
      { tests: ["cache", "plan", "tune", "choose_attention"] },
    ],
    [
      "bound-by-binding-alone",
      "const bound = Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);",
      "const bound = limits.maxStorageBufferBindingSize;",
      { tests: ["cache", "plan"] },
    ],
  ]),
  ...inFile("codebooks", "src/codebooks/find.ts", ["cache"], [
    [
      "of-any-layer",
      "codebook.layer === layer && codebook.side === side && codebook.scheme === scheme",
      "codebook.side === side && codebook.scheme === scheme",
      { tests: ["cache /by layer/"] },
    ],
    [
      "of-any-side",
      "codebook.layer === layer && codebook.side === side && codebook.scheme === scheme",
      "codebook.layer === layer && codebook.scheme === scheme",
      { tests: ["cache /KV heads by layer/"] },
    ],
    [
      "of-any-scheme",
      "codebook.layer === layer && codebook.side === side && codebook.scheme === scheme",
      "codebook.layer === layer && codebook.side === side",
      { tests: ["codebook", "reference_cache"] },
    ],
    [
      "grid-length-unchecked",
      " ||\n    found.grid.length !== 2 * keyValueHeads * headDim",
      "",
      { tests: ["cache /createCache/", "codebook"] },
    ],
    [
      "heads-unchecked",
      "found.keyValueHeads !== keyValueHeads || found.headDim !== headDim ||",
      "found.headDim !== headDim ||",
      { tests: ["cache /createCache/", "codebook", "reference_cache"] },
    ],
    [
      "rotated-values-unasked",
      "if (set.valueRotations?.length && model === undefined) {",
      "if (set.valueRotations?.length && false) {",
      { tests: ["cache /createCache/", "value_rotation", "codebook", "llama_rotate_values"] },
    ],
  ]),
  ...inFile("compiled", "src/cache/compiled_layer.ts", ["cache /codes alone/"], [
    [
      "encoders-of-keys",
      "compileEncoder(compile, options, layer[side], encode, SIDE)",
      "compileEncoder(compile, options, layer[side], encode, 0)",
    ],
    [
      "readers-of-keys",
      "compile(decode, { SIDE })",
      "compile(decode, { SIDE: 0 })",
    ],
    [
      "values-copied-by-keys-size",
      "        pageBytes(options, layer.values, heads),",
      "        pageBytes(options, layer.keys, heads),",
      { tests: ["cache_lifecycle /encodeFork/"] },
    ],
    [
      "many-tokens-of-one",
      "many: await cut(ENCODE_TOKENS, manyTokens), manyTokens };",
      "many: await cut(ENCODE_TOKENS, manyTokens), manyTokens: recordTokens };",
      { tests: ["cache /nearest centroid|thousands/", "splits"] },
    ],
    [
      "softcap-lost",
      "SOFTCAP: softcap > 0 ? 1 : 0,",
      "SOFTCAP: 0,",
      { tests: ["cache /softcap/"] },
    ],
    [
      "pairs-of-head",
      "ROTARY_CHUNKS: (keys.rope.rotaryDim ?? shape.headDim) / 8,",
      "ROTARY_CHUNKS: shape.headDim / 8,",
      { tests: ["cache /partial/"] },
    ],
  ]),
  ...inFile("bindings", "src/cache/host_bindings.ts", [
    "cache_lifecycle /bindings/",
    "cache_read",
    "cache",
  ], [
    [
      "tensor-one-token-short",
      "(tokens - 1) * strides.token + (heads - 1) * strides.head + headDim",
      "(tokens - 1) * strides.token + (heads - 1) * strides.head",
      { tests: ["host_bindings", "cache_lifecycle /bindings/", "cache_read"] },
    ],
    [
      "tensor-one-token-long",
      "(tokens - 1) * strides.token + (heads - 1) * strides.head + headDim",
      "tokens * strides.token + (heads - 1) * strides.head + headDim",
      { tests: ["host_bindings", "cache_read", "hosts"] },
    ],
    [
      "f16-counted-as-f32",
      'return elements * (dtype === "f16" ? 2 : 4);',
      "return elements * 4;",
      { tests: ["host_bindings", "cache_read", "hosts"] },
    ],
    [
      "size-from-buffer-start",
      "const size = given ?? all - offset;",
      "const size = given ?? all;",
      { tests: ["host_bindings", "cache_lifecycle /bindings/"] },
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
      { tests: ["host_bindings", "cache_lifecycle /bindings/", "cache"] },
    ],
    [
      "overlap-before-unseen",
      "if (from >= start + read.bytes || start >= from + written.bytes) return;",
      "if (from >= start + read.bytes || start >= from) return;",
      { tests: ["host_bindings", "cache_lifecycle /bindings/", "cache"] },
    ],
  ]),
  ...inFile("rope", "src/cache/rope_table.ts", ["cache /tiles of|codes alone/"], [
    [
      "far-rows-by-page",
      "(row - NEAR_TOKENS) * NEAR_TOKENS",
      "((row - NEAR_TOKENS) * NEAR_TOKENS) / 2",
      { tests: ["cache /tiles of/"] },
    ],
    ["sines-negative", "table[at + 4] = Math.sin(angle);", "table[at + 4] = -Math.sin(angle);"],
  ]),
];
