/**
 * Stores of snapshots, and spans in snapshots.
 *
 * @module
 */
import { inFile, type Mutation } from "./mutation.ts";

/** Mutations of stores. */
export const STORES: readonly Mutation[] = [
  ...inFile("http-store", "src/snapshots/stores/http.ts", ["snapshots/http"], [
    [
      "copy-taken-unasked",
      "if (copy !== undefined && first.status === 304) return copy.bytes;",
      "if (copy !== undefined) return copy.bytes;",
    ],
    ["unsorted", ".filter(isStoreKey).sort();", ".filter(isStoreKey);"],
    [
      "query-lost",
      "const url = new URL(address);",
      'const url = new URL(address);\n    url.search = "";',
    ],
    ["copies-not-written", "if (copies !== undefined) await writeCopy(copies, key, found);", ""],
    [
      "any-name-as-key",
      ".map((name) => name.slice(0, -SUFFIX.length)).filter(isStoreKey).sort();",
      ".map((name) => name.slice(0, -SUFFIX.length)).sort();",
    ],
    [
      "put-refusal-unheard",
      'const response = await to.send("PUT", type, content);\n      if (!response.ok) throw await refusal(to, response);',
      'const response = await to.send("PUT", type, content);',
    ],
    ["copy-stays-of-deleted", "await copies?.delete(key);", ""],
    [
      "gone-before-delete-refused",
      'const response = await to.send("DELETE");\n      if (isNotThere(response)) return false;',
      'const response = await to.send("DELETE");',
    ],
    [
      "own-headers-of-options",
      "...options.headers, ...headers }",
      "...headers, ...options.headers }",
    ],
    [
      "has-first-eight",
      "const some = keys.slice(first, first + TOGETHER);",
      "const some = keys.slice(0, TOGETHER);",
    ],
    ["page-is-there", "    await checkIsFile(to, response);\n    return true;", "    return true;"],
    ["compressed", '"accept-encoding": "identity", ', ""],
    ["browsers-cache", '          cache: "no-cache",\n', ""],
  ]),
  ...inFile("http-store", "src/snapshots/stores/http_copies.ts", ["snapshots/http"], [
    ["copy-of-etag-alone", "if (start >= kept.length) return undefined;", ""],
    ["copy-without-etag-stays", "    await copies.delete(key);\n    return;", "    return;"],
    [
      "copy-shorter-than-length",
      "if (kept === undefined || kept.length < 4) return undefined;",
      "if (kept === undefined) return undefined;",
    ],
    [
      "copy-from-buffer-start",
      "new DataView(kept.buffer, kept.byteOffset)",
      "new DataView(kept.buffer)",
    ],
    [
      "etag-length-in-characters",
      "setUint32(0, etag.length, true)",
      "setUint32(0, entry.etag.length, true)",
    ],
  ]),
  ...inFile("http-store", "src/snapshots/stores/http_exchange.ts", ["snapshots/http"], [
    [
      "remedy-of-hundreds-alone",
      "REMEDIES[status] ?? REMEDIES[status - status % 100]",
      "REMEDIES[status - status % 100]",
    ],
    [
      "compressed-as-file",
      'if ((headers.get("content-encoding") ?? "identity") !== "identity") {',
      "if (false) {",
    ],
    ["gone-as-refused", "return status === 404 || status === 410;", "return status === 404;"],
  ]),
  ...inFile("http-store", "src/snapshots/stores/http_download.ts", ["snapshots/http"], [
    ["one-attempt-fewer", "if (failures === ATTEMPTS) {", "if (failures + 1 === ATTEMPTS) {"],
    [
      "deleted-meanwhile-refused",
      "    if (isNotThere(response)) {\n      await response.body?.cancel();\n      return undefined;\n    }\n",
      "",
    ],
    [
      "total-of-range-unchecked",
      '      (this.#total === undefined || range?.[2] === "*" || Number(range?.[2]) === this.#total);',
      "      true;",
    ],
    [
      "full-answer-joined",
      "if (strong === undefined || this.length === 0) return {};",
      "if (strong === undefined) return {};",
    ],
    [
      "attempts-in-all",
      "failures = received.progress > furthest ? 1 : failures + 1;",
      "failures++;",
    ],
    [
      "announced-beyond-counts",
      "return Math.min(this.length, this.#total ?? Infinity);",
      "return this.length;",
    ],
  ]),
  ...inFile("indexed-db-store", "src/snapshots/stores/indexed_db.ts", ["snapshots/indexed_db"], [
    [
      "chunks-of-first-index",
      "const part = await resultOf(chunks.get([key, index]));",
      "const part = await resultOf(chunks.get([key, 0]));",
    ],
    ["all-chunks-listed", ".filter(([, index]) => index === 0)", ""],
    ["other-database-taken", "if (!database.objectStoreNames.contains(CHUNKS)) {", "if (false) {"],
    [
      "existed-always",
      "await resultOf(chunks.count(chunksOf(key))) > 0;",
      "await resultOf(chunks.count(chunksOf(key))) >= 0;",
    ],
    ["unhandled-completion", "completed.catch(() => {});", ""],
    [
      "request-errors-unheard",
      'request.addEventListener("error", () => reject(request.error));',
      "",
    ],
    [
      "missing-chunk-passed-over",
      "if (!(part instanceof Uint8Array)) throw damaged(what);",
      "if (!(part instanceof Uint8Array)) continue;",
    ],
    [
      "not-durable",
      '{ durability: "strict" });\n      const completed',
      "{} as never);\n      const completed",
    ],
    ["complete-unawaited", "      await completed;\n      return result;", "      return result;"],
    [
      "abort-of-finished-thrown",
      "  try {\n    transaction.abort();\n  } catch {\n    // It is over.\n  }",
      "  transaction.abort();",
    ],
    ["keys-unfiltered", ".map(([key]) => key).filter(isStoreKey)", ".map(([key]) => key)"],
    [
      "other-database-kept-open",
      "    database.close();\n    throw new CoupletError",
      "    throw new CoupletError",
    ],
  ]),
  ...inFile("valkey-store", "src/snapshots/stores/valkey.ts", ["snapshots/valkey"], [
    [
      "last-batch-lost",
      "for (let start = 1; start < chunks - 1; start += TOGETHER) {\n      const indices = range(start, Math.min(start + TOGETHER, chunks - 1));\n      const parts",
      "for (let start = 1; start < chunks - TOGETHER; start += TOGETHER) {\n      const indices = range(start, Math.min(start + TOGETHER, chunks - 1));\n      const parts",
    ],
    [
      "first-length-unchecked",
      "if (first?.length !== bytesOf(0)) throw damaged(what);",
      "if (first === undefined) throw damaged(what);",
    ],
    ["texts-as-values", 'if (typeof value === "string") {', "if (false) {"],
    ["name-without-braces", "`${prefix}:{${key}}`", "`${prefix}:${key}`"],
    [
      "chunk-lengths-unchecked",
      "if (part?.length !== bytesOf(index)) throw damaged(what);",
      "if (part === undefined) throw damaged(what);",
    ],
    [
      "half-entry-as-none",
      "if (id === undefined && length === undefined && first === undefined) {",
      "if (id === undefined || length === undefined || first === undefined) {",
    ],
    ["replaced-as-gone", "if (found !== undefined) return found.bytes;", "return found?.bytes;"],
    ["any-key-there", 'command("HEXISTS", nameOf(key), "id")', 'command("EXISTS", nameOf(key))'],
    ["ttl-in-milliseconds", "ttlSeconds * 1000", "ttlSeconds"],
    ["first-scan-alone", '} while (cursor !== "0");', "} while (false);"],
    ["other-names-listed", "if (isStoreKey(key)) keys.add(key);", "keys.add(key);"],
    [
      "scanned-twice-listed-twice",
      "const keys = new Set<string>();",
      "const keys = Object.assign([] as string[], { add(key: string) { this.push(key); } });",
    ],
  ]),
  ...inFile("valkey-store", "src/snapshots/stores/valkey_scripts.ts", ["snapshots/valkey"], [
    [
      "others-names-overwritten",
      "if redis.call('EXISTS', KEYS[2]) == 1 and redis.call('HEXISTS', KEYS[2], 'id') == 0 then",
      "if false then",
    ],
    ["ttl-not-set", "redis.call('PEXPIRE', KEYS[1], ARGV[2])", "redis.call('PERSIST', KEYS[1])"],
    ["others-names-deleted", "if redis.call('HEXISTS', KEYS[1], 'id') == 0 then return 0 end", ""],
  ]),
  ...inFile("snapshot-pages", "src/snapshots/pages.ts", ["snapshots/snapshot"], [
    [
      "page-beyond-records",
      "count: Math.min(pageWords, words - page * pageWords),",
      "count: pageWords,",
    ],
    [
      "heads-in-first-place",
      "pagedAt: (page * heads + head) * pageWords,",
      "pagedAt: page * heads * pageWords,",
    ],
  ]),
  ...inFile("snapshot-spans", "src/snapshots/span_content.ts", ["snapshots/spans"], [
    [
      "levels-of-restored-slot",
      "const offset = ((content === undefined ? slot * 2 : 0) + i) * table;",
      "const offset = (slot * 2 + i) * table;",
    ],
    [
      "restored-in-place",
      "const runs = content === undefined ? pageRuns(pages) : [{ page: 0, count: pages.length }];",
      "const runs = pageRuns(pages);",
    ],
    [
      "values-levels-as-keys",
      "levels.set(fitted, i * heads * headDim * 4);",
      "levels.set(fitted);",
    ],
    [
      "levels-of-first-slot",
      "const offset = ((content === undefined ? slot * 2 : 0) + i) * table;",
      "const offset = i * table;",
    ],
    ["places-beyond-length", "span.place > length || ", ""],
    ["places-out-of-order", " || span.place < (spans[i - 1]?.place ?? 0)", ""],
  ]),
  ...inFile("snapshot-store", "src/snapshots/store.ts", [
    "snapshots/stores /directoryStore|memory/",
  ], [
    ["keys-of-129", "{0,127}$/", "{0,128}$/"],
    ["empty-entries", "if (bytes.length > 0) return;", "if (bytes.length >= 0) return;"],
    [
      "own-errors-wrapped",
      "return cause instanceof CoupletError ? cause : storeError(what, cause, remedy);",
      "return storeError(what, cause, remedy);",
      { tests: ["snapshots/stores /asStoreError/"] },
    ],
  ]),
  ...inFile("snapshot-file", "src/snapshots/encrypted_file.ts", ["snapshots/encrypted"], [
    ["encrypted-read", "if (!isEncrypted(bytes)) return;", "return;"],
  ]),
];
