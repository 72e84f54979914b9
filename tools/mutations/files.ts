/**
 * Files, stores, hosts and the command line.
 *
 * @module
 */
import { inFile, type Mutation } from "./mutation.ts";

/** Mutations of what is read, written and exchanged. */
export const FILES: readonly Mutation[] = [
  ...inFile("snapshot-file", "src/snapshots/file.ts", ["snapshots/snapshot"], [
    [
      "coded-beyond-coded",
      "(from % NEAR_TOKENS === 0 && from <= coded && options.pageTables[table]!.slidingWindow > 0)",
      "(from % NEAR_TOKENS === 0 && options.pageTables[table]!.slidingWindow > 0)",
    ],
    [
      "coded-from-any-token",
      "(from % NEAR_TOKENS === 0 && from <= coded && options.pageTables[table]!.slidingWindow > 0)",
      "(from <= coded && options.pageTables[table]!.slidingWindow > 0)",
    ],
    [
      "unnamed-model-for-any",
      "if (info.model?.digest !== identity.model?.digest) {",
      "if (info.model !== undefined && info.model.digest !== identity.model?.digest) {",
    ],
    [
      "any-model-for-unnamed",
      "if (info.model?.digest !== identity.model?.digest) {",
      "if (identity.model !== undefined && info.model?.digest !== identity.model.digest) {",
    ],
    [
      "codebooks-unchecked",
      "if (info.codebookFingerprint !== identity.codebookFingerprint) {",
      "if (false) {",
    ],
    [
      "exact-beyond-length",
      "if (exactFrom > length) damaged(",
      "if (exactFrom > length + 1) damaged(",
    ],
    [
      "shapes-unchecked",
      "if (found?.dtype !== dtype || `${found.shape}` !== `${shape}`) {",
      "if (found?.dtype !== dtype) {",
    ],
    [
      "more-tensors",
      "if (tensors.size > expected.size) damaged",
      "if (tensors.size > expected.size + 1) damaged",
    ],
    [
      "data-outside-checksum",
      "both.set(await sha256Bytes(bytes.subarray(start)), 32);",
      "",
    ],
    [
      "exact-without-sinks",
      "const from = Math.min(length, Math.max(sinks, exactFrom));",
      "const from = Math.min(length, exactFrom);",
    ],
  ]),
  ...inFile("identity", "src/cache/identity.ts", ["snapshots/snapshot", "snapshots/prompts"], [
    [
      "grids-left-out",
      "grid === undefined ? null : await sha256(bytesOf(grid)),",
      "null,",
    ],
    [
      "scales-left-out",
      "scale === undefined ? null : await sha256(bytesOf(scale)),",
      "null,",
    ],
    [
      "values-left-out",
      "...layers.flatMap(({ keys, values }) => [keys, values].map(fingerprintCodebook)),",
      "...layers.flatMap(({ keys }) => [keys].map(fingerprintCodebook)),",
    ],
    [
      "offset-left-out",
      "positionOffset: positionOffset ?? 0,",
      "",
    ],
    [
      "whole-buffer-hashed",
      "return new Uint8Array(buffer, byteOffset, byteLength);",
      "return new Uint8Array(buffer);",
    ],
    [
      "windows-left-out",
      "slidingWindows: layers.map((layer) => layer.slidingWindow),",
      "",
    ],
  ]),
  ...inFile("prompts", "src/snapshots/prompts.ts", ["snapshots/prompts"], [
    [
      "shortest-prefix",
      "for (let i = asked.length - 1; i >= 0; i--) if",
      "for (let i = 0; i < asked.length; i++) if",
    ],
    [
      "other-prompt-taken",
      "info.length === tokens && (info.prompt ?? key) === key &&",
      "info.length === tokens &&",
    ],
    [
      "other-length-taken",
      "info.length === tokens && (info.prompt ?? key) === key &&",
      "(info.prompt ?? key) === key &&",
    ],
    [
      "tokens-not-copied",
      "keyOf(cache, Array.from(tokenIds)),",
      "keyOf(cache, tokenIds as readonly number[]),",
    ],
    [
      "low-bytes-hashed",
      "view.setUint32((i - hashed) * 4, tokenId(tokenIds, i), true);",
      "view.setUint16((i - hashed) * 4, tokenId(tokenIds, i), true);",
    ],
    [
      "chain-begins-anew",
      "      chain = await extend(hashed + HASHED_TOKENS);\n",
      "      await extend(hashed + HASHED_TOKENS);\n",
    ],
  ]),
  ...inFile("safetensors", "src/base/safetensors.ts", ["base/safetensors"], [
    [
      "empty-after-its-neighbour",
      "spans.sort((a, b) => a.begin - b.begin || a.end - b.end);",
      "spans.sort((a, b) => a.begin - b.begin);",
    ],
    [
      "end-beyond-data",
      "if (end > data.length) {",
      "if (end > data.length + 1) {",
    ],
    [
      "rest-uncovered",
      "if (covered !== data.length) {",
      "if (covered > data.length) {",
    ],
  ]),
  ...inFile("codebook-file", "src/codebooks/file.ts", ["codebooks/file"], [
    [
      "fit-halves-swapped",
      "return { errors: fit.slice(0, keyValueHeads), variances: fit.slice(keyValueHeads) };",
      "return { errors: fit.slice(keyValueHeads), variances: fit.slice(0, keyValueHeads) };",
    ],
    [
      "infinity-alone-refused",
      "const infinite = (bits: number) => (bits & 0x7c00) === 0x7c00;",
      "const infinite = (bits: number) => bits === 0x7c00;",
    ],
    [
      "axes-of-any-length",
      "if (skew < MOST_SKEW) continue;",
      "if (skew < 1) continue;",
    ],
    [
      "scales-of-zero",
      "const badScale = scale?.findIndex((value) => !(value > 0 && value < Infinity))",
      "const badScale = scale?.findIndex((value) => !(value >= 0 && value < Infinity))",
    ],
  ]),
  ...inFile("directory-store", "src/snapshots/stores/directory.ts", [
    "snapshots/stores /directoryStore/",
  ], [
    [
      "bytes-not-copied",
      "const content = new Uint8Array(bytes);",
      "const content = bytes;",
    ],
    [
      "abandoned-in-minutes",
      "const ABANDONED = 10 * 60 * 1000;",
      "const ABANDONED = 10 * 1000;",
    ],
    [
      "never-abandoned",
      "const ABANDONED = 10 * 60 * 1000;",
      "const ABANDONED = 10 * 60 * 1000 * 1000;",
    ],
    [
      "unfinished-left-behind",
      "await rm(unfinished, { force: true }).catch(() => {});",
      "",
    ],
  ]),
  ...inFile("opfs-store", "src/snapshots/stores/opfs.ts", ["snapshots/stores /opfsStore/"], [
    [
      "bytes-not-copied",
      "const content = new Uint8Array(bytes);",
      "const content = bytes as Uint8Array<ArrayBuffer>;",
    ],
    [
      "empty-file-as-entry",
      "return file.size > 0 ? file : undefined;",
      "return file;",
    ],
    [
      "readers-beside-writers",
      'await locked("exclusive", key, `Cannot write the entry ${key}`, async (name) => {',
      'await locked("shared", key, `Cannot write the entry ${key}`, async (name) => {',
    ],
  ]),
  ...inFile("kv-store", "src/snapshots/stores/deno_kv.ts", ["snapshots/stores /denoKvStore/"], [
    [
      "incomplete-bytes",
      "if (!isWhole(value, first + i)) return undefined;",
      "if (!isWhole(value, first + i)) continue;",
    ],
    [
      "replaced-chunks-stay",
      "if (ok && isManifest(value)) await removeChunks(key, value.id);",
      "",
    ],
    [
      "manifest-unchecked",
      ".check({ key: manifestKey(key), versionstamp })\n            .set(manifestKey(key), manifest);",
      ".set(manifestKey(key), manifest);",
    ],
    [
      "bytes-not-copied",
      "const content = new Uint8Array(bytes);",
      "const content = bytes;",
    ],
  ]),
  ...inFile("encrypted-store", "src/snapshots/stores/encrypted.ts", ["snapshots/encrypted"], [
    ["name-left-out", "additionalData.set(named, HEAD_BYTES);", ""],
    ["nonce-of-zeros", "crypto.getRandomValues(head.subarray(HEAD_BYTES));", ""],
    ["any-length-of-key", "(length === 128 || length === 256) &&", ""],
    ["shared-memory-given", "return bytes.buffer instanceof ArrayBuffer", "return true"],
  ]),
  ...inFile("http-store", "src/snapshots/stores/http_download.ts", ["snapshots/http"], [
    ["other-version-joined", 'headers.get("etag") === this.etag &&', ""],
    ["other-place-joined", "Number(range?.[1]) === this.length &&", ""],
    [
      "weak-etag-as-condition",
      "this.etag?.startsWith('\"') ? this.etag : undefined",
      "this.etag",
    ],
    [
      "parts-kept-of-version-before",
      "if (response.status === 200) received = new Received(response);",
      "if (response.status === 200) received.length;",
    ],
    ["short-as-whole", "if (this.length === wanted && wanted > 0) return undefined;", "return;"],
  ]),
  ...inFile("http-store", "src/snapshots/stores/http.ts", ["snapshots/http"], [
    [
      "bytes-not-copied",
      "const content = new Uint8Array(bytes);",
      "const content = bytes as never;",
    ],
    ["absence-not-asked", "if (!await isThere(what, key)) return false;", ""],
  ]),
  ...inFile("valkey-store", "src/snapshots/stores/valkey.ts", ["snapshots/valkey"], [
    [
      "versions-mixed",
      "if (current === undefined || text(current) !== text(id)) return undefined;",
      "",
    ],
    ["bytes-not-copied", "const content = new Uint8Array(bytes);", "const content = bytes;"],
    [
      "unfinished-left-behind",
      'await command("UNLINK", unfinished).catch(() => {});',
      "",
    ],
  ]),
  ...inFile("valkey-store", "src/snapshots/stores/valkey_scripts.ts", ["snapshots/valkey"], [
    ["unfinished-never-expires", "return redis.call('PEXPIRE', KEYS[1], ARGV[1])", "return 1"],
    ["finished-expires", "redis.call('PERSIST', KEYS[1])", "redis.call('EXISTS', KEYS[1])"],
    [
      "parts-uncounted",
      "if redis.call('HLEN', KEYS[1]) ~= tonumber(ARGV[1]) then",
      "if false then",
    ],
  ]),
  ...inFile("indexed-db-store", "src/snapshots/stores/indexed_db.ts", ["snapshots/indexed_db"], [
    ["old-chunks-stay", "chunks.delete(chunksOf(key));\n        for", "for"],
    ["not-undone", "abort(transaction);\n        throw", "throw"],
    [
      "whole-buffer-kept",
      "parts.push(new Uint8Array(bytes.subarray(",
      "parts.push((bytes.subarray(",
    ],
    [
      "holds-deletions-up",
      'database.addEventListener("versionchange", () => database.close());',
      "",
    ],
  ]),
  ...inFile("ort", "src/hosts/ort.ts", ["hosts/hosts"], [
    [
      "tokens-of-each-layer",
      "const wanted = [1, resolved.keyValueHeads, tokens, sideDim(resolved, side)];",
      "const wanted = [1, resolved.keyValueHeads, tensors.keys.dims[2], sideDim(resolved, side)];",
    ],
    [
      "heads-of-first-layer",
      "const heads = Math.max(...options.layers.map(({ keyValueHeads }) => keyValueHeads));\n  const tokens",
      "const heads = options.layers[0]!.keyValueHeads;\n  const tokens",
    ],
    [
      "keys-alone-checked",
      "    for (const side of SIDES) {\n      const wanted",
      '    for (const side of ["keys"] as const) {\n      const wanted',
    ],
    [
      "pieces-beyond-append",
      "const tokens = Math.min(piece, options.capacity.appendTokens, total - first);",
      "const tokens = Math.min(piece, total - first);",
    ],
    [
      "heads-as-pieces-lie",
      "staged: head * piece * bytes,",
      "staged: head * tokens * bytes,",
    ],
    [
      "tensor-from-first-token",
      "tensor: (head * total + first) * bytes,",
      "tensor: head * total * bytes,",
    ],
    [
      "nothing-new-appended",
      "if (total <= first) {",
      "if (total < first) {",
    ],
    [
      "f16-of-four-bytes",
      'return sideDim(layers[0]!, side) * (dtype === "f16" ? 2 : 4);',
      "return sideDim(layers[0]!, side) * 4;",
    ],
    [
      "last-stride-checked",
      "if (token === channels && head === capacity.stepTokens * channels) continue;",
      "if (token === channels) continue;",
    ],
    [
      "capacity-one-more",
      "if (total > options.capacity.sequenceTokens) {",
      "if (total > options.capacity.sequenceTokens + 1) {",
    ],
  ]),
  ...inFile("transformers", "src/hosts/transformers.ts", ["hosts/hosts /PastKeyValues/"], [
    [
      "sides-swapped",
      'values: tensor(entryName(layer, "values")),',
      'values: tensor(entryName(layer, "keys")),',
    ],
    [
      "extra-entries-taken",
      "if (extra !== undefined) throw foreign(",
      "if (extra === undefined) throw foreign(",
    ],
  ]),
  ...inFile("cli", "cli/plan.ts", ["cli/plan"], [
    [
      "note-at-maximum",
      "if (model.maxPositions !== undefined && args.tokens > model.maxPositions) {",
      "if (model.maxPositions !== undefined && args.tokens >= model.maxPositions) {",
    ],
    [
      "f16-with-tiers",
      "tiers: { sinks: 0, window: 0 },",
      "",
    ],
  ]),
  ...inFile("cli", "cli/describe_model.ts", ["cli/plan"], [
    [
      "ranges-of-any-rise",
      "if (last !== undefined && last.at(-1) === number - 1) last.push(number);",
      "if (last !== undefined) last.push(number);",
    ],
  ]),
  ...inFile("models", "src/models/reading/layer_kinds.ts", ["models/published", "models/reading"], [
    [
      "window-one-layer-later",
      "used && window && layer >= first ?",
      "used && window && layer > first ?",
    ],
    ["pattern-from-zero", "(layer + 1) % pattern !== 0 ?", "layer % pattern !== 0 ?"],
    ["odd-layers-slide", 'layer % 2 === 0 ? "sliding"', 'layer % 2 === 1 ? "sliding"'],
    ["full-from-zero", "(layer + 1) % interval === 0 ?", "layer % interval === 0 ?"],
  ]),
  ...inFile("models", "src/models/rope_scalings.ts", ["models/rope"], [
    [
      "periods-in-radians",
      "const periods = context * frequency / (2 * Math.PI);",
      "const periods = context * frequency;",
    ],
    [
      "kept-beyond-one",
      ": Math.min(1, Math.max(0, (periods - low) / (high - low)));",
      ": Math.max(0, (periods - low) / (high - low));",
    ],
    ["ramp-not-truncated", "truncate ? Math.floor(fast) : fast", "fast"],
    ["long-from-original", "length > original;", "length >= original;"],
    ["factor-of-one-side", "scale && scaleOfAll ?", "scale || scaleOfAll ?"],
  ]),
  ...inFile("models", "src/models/plan_layers.ts", ["models/rope", "models/published"], [
    [
      "factor-of-keys-alone",
      "scale * (found[i]?.attentionFactor ?? 1) ** 2",
      "scale * (found[i]?.attentionFactor ?? 1)",
    ],
    [
      "factor-of-all-channels",
      "if (rotaryDim !== headDim && attentionFactor !== 1) {",
      "if (false) {",
    ],
    ["chunk-and-one-more", "length > chunk)", "length > chunk + 1)"],
  ]),
  ...inFile("models", "src/models/read_config.ts", ["models/reading", "models/published"], [
    ["unread-passed-over", "if (unknown.length === 0) return;", "return;"],
    [
      "defaults-of-whole-files",
      "sizeDefaults(family, within.length > 0);",
      "sizeDefaults(family, true);",
    ],
    [
      "shares-any-kind",
      "kinds.lastIndexOf(kind, sharedFrom - 1)",
      "sharedFrom - 1",
    ],
  ]),
  ...inFile("prompts", "src/snapshots/prompts.ts", ["snapshots/prompts"], [
    [
      "batches-wrap",
      "keys.slice(Math.max(0, end - ASKED_KEYS), end)",
      "keys.slice(end - ASKED_KEYS, end)",
    ],
    ["places-in-batch", "if (found[i]) yield end - asked.length + i;", "if (found[i]) yield i;"],
    ["any-error-passed-over", "if (!(error instanceof CoupletError)) throw error;", ""],
    ["other-plan-taken", "info.planFingerprint === prompt.planFingerprint &&", ""],
    [
      "other-codebooks-taken",
      "    info.codebookFingerprint === prompt.codebookFingerprint;",
      "    true;",
    ],
    ["other-model-taken", "info.model?.digest === prompt.model?.digest &&", ""],
    [
      "tokens-of-any-number",
      "if (length !== tokenIds.length) {",
      "if (length < tokenIds.length) {",
    ],
    ["deleted-as-refused", "      if (snapshot === undefined) continue;\n", ""],
  ]),
  ...inFile("encrypted-store", "src/snapshots/stores/encrypted.ts", ["snapshots/encrypted"], [
    ["short-decrypted", "if (sealed.length < TAG_BYTES) {", "if (false) {"],
    ["version-unchecked", "if (version !== VERSION) {", "if (false) {"],
  ]),
  ...inFile("models", "src/models/read_rope.ts", ["models/reading", "models/rope"], [
    ["model-share-first", "(ownShare ?? modelShare ?? 1)", "(modelShare ?? ownShare ?? 1)"],
    [
      "model-theta-first",
      "otherTheta ?? ownTheta ?? modelTheta ?? 10000",
      "otherTheta ?? modelTheta ?? ownTheta ?? 10000",
    ],
    ["older-type-first", 'types[0] ?? types[1] ?? "default"', 'types[1] ?? types[0] ?? "default"'],
    [
      "local-in-all",
      'const local = kind === "sliding" && rule.scaled === "full";',
      'const local = kind === "sliding";',
    ],
    ["dims-alike", "const key = `${kind} ${headDim}`;", "const key = kind;"],
    [
      "too-many-channels",
      "if (rotaryDim % 2 !== 0 || rotaryDim > headDim || rotaryDim === 0) {",
      "if (rotaryDim % 2 !== 0 || rotaryDim === 0) {",
    ],
    ["scaled-theta-lost", "theta: scaled.theta ?? theta,", "theta,"],
  ]),
  ...inFile("models", "src/models/plan_layers.ts", ["models/reading", "models/rope"], [
    [
      "shares-by-number",
      "sharesWith === undefined ? null : layers.findIndex(({ number }) => number === sharesWith)",
      "sharesWith ?? null",
    ],
    [
      "padded-beyond-head",
      "Math.min(headDim, Math.ceil(rotaryDim / CHANNELS) * CHANNELS)",
      "Math.ceil(rotaryDim / CHANNELS) * CHANNELS",
    ],
    ["factor-of-one-noted", "  factors.delete(1);\n", ""],
    [
      "reason-where-asked",
      'space === undefined && typeof found === "string" ? { asScored: found }',
      'typeof found === "string" ? { asScored: found }',
    ],
  ]),
  ...inFile("models", "src/models/families/gpts.ts", ["models/reading", "models/published"], [
    [
      "one-head-of-all",
      "return grouped ? given ?? queryHeads : multiQuery;",
      "return given ?? multiQuery;",
    ],
    [
      "all-heads-by-default",
      'entries.get("multi_query", FLAG) ?? true ? 1 : queryHeads',
      'entries.get("multi_query", FLAG) ?? false ? 1 : queryHeads',
    ],
  ]),
  ...inFile("models", "src/models/families/gemmas.ts", ["models/reading", "models/published"], [
    ["values-as-keys", "grouped ? keyValueHeads : undefined", "keyValueHeads"],
    ["layers-by-text", "Number(number) === layer", "number === `${layer}`"],
    ["all-see-later", 'return found === true || found === "all"', "return found === true"],
  ]),
  ...inFile("models", "src/models/families/hybrids.ts", ["models/reading"], [
    [
      "rope-by-default",
      'entries.get("position_embedding_type", TEXT) === "rope" ? {} : NONE',
      'entries.get("position_embedding_type", TEXT) !== "nope" ? {} : NONE',
    ],
  ]),
  ...inFile("models", "src/models/reading/layer_kinds.ts", ["models/reading", "models/published"], [
    ["fourth-from-one", 'layer % 4 === 0 ? "full" : kind', '(layer + 1) % 4 === 0 ? "full" : kind'],
    ["offset-of-zero", '"attn_layer_offset", COUNT) ?? 4', '"attn_layer_offset", COUNT) ?? 0'],
    ["flags-reversed", "? flags[layer] !== 0", "? flags[layer] === 0"],
  ]),
];
