/**
 * Sequences, steps and snapshots: what a cache knows on the host's side, and what it has the device do.
 *
 * @module
 */
import { inFile, type Mutation } from "./mutation.ts";

/** Mutations of how sequences grow, shrink, share and are put away. */
export const CACHE: readonly Mutation[] = [
  ...inFile(
    "sequences",
    "src/cache/sequences.ts",
    ["cache/host", "cache/lifecycle", "cache/steps"],
    [
      [
        "codes-given-up-with-their-step",
        "if (coded > growth.codedBefore) {",
        "if (false) {",
        { tests: ["cache/steps /had coded/"] },
      ],
      [
        "window-edge-later",
        "const seen = Math.max(0, length + 1 - slidingWindow - tiers.sinks);",
        "const seen = Math.max(0, length + 2 - slidingWindow - tiers.sinks);",
      ],
      [
        "window-edge-earlier",
        "const seen = Math.max(0, length + 1 - slidingWindow - tiers.sinks);",
        "const seen = Math.max(0, length - slidingWindow - tiers.sinks);",
      ],
      [
        "window-counts-sinks",
        "const seen = Math.max(0, length + 1 - slidingWindow - tiers.sinks);",
        "const seen = Math.max(0, length + 1 - slidingWindow);",
      ],
      [
        "ring-one-short-after-rollback",
        "const first = Math.min(length, Math.max(exactFrom, stored - ringSlots(this.#options)));",
        "const first = Math.min(length, Math.max(exactFrom, stored - ringSlots(this.#options) + 1));",
      ],
      [
        "lost-tokens-forgotten",
        "const first = Math.min(length, Math.max(exactFrom, stored - ringSlots(this.#options)));",
        "const first = Math.min(length, Math.max(0, stored - ringSlots(this.#options)));",
      ],
      [
        "first-page-kept-without-tokens",
        "if (coded === 0) held.first = 0;",
        "",
      ],
      [
        "pages-behind-end-kept",
        "this.pools[table]!.give(held.pages.splice(pagesFor(coded) - held.first));",
        "this.pools[table]!.give(held.pages.splice(pagesFor(coded)));",
      ],
      [
        "blocks-cut",
        "return cut === 0 || decodes\n",
        "return true\n",
        { tests: ["cache/host", "cache/blocks"] },
      ],
      [
        "fork-forgets-lost-tokens",
        "return this.#add({ ...state, tables, positions, placed: 0, restored: undefined });",
        "return this.#add({ ...state, exactFrom: 0, tables, positions, placed: 0, restored: undefined });",
      ],
      [
        "fork-forgets-overwritten-tokens",
        "return this.#add({ ...state, tables, positions, placed: 0, restored: undefined });",
        "return this.#add({ ...state, stored: 0, tables, positions, placed: 0, restored: undefined });",
      ],
      [
        "fork-has-no-positions-in-place",
        "return this.#add({ ...state, tables, positions, placed: 0, restored: undefined });",
        "return this.#add({ ...state, tables, positions, restored: undefined });",
        { tests: ["cache/mrope /forks/"] },
      ],
      [
        "given-up-step-keeps-its-positions",
        "state.positions.length = length * this.#options.positions;",
        "state.positions.length *= 1;",
        { tests: ["cache/mrope /given up/"] },
      ],
      [
        "fork-shares-its-list-of-pages",
        "return { first, pages: [...pages], staleFrom: 0 };",
        "return { first, pages, staleFrom: 0 };",
      ],
      [
        "fork-without-users",
        "      this.pools[table]!.share(pages);\n      return { first",
        "      return { first",
      ],
      [
        "fork-of-known-table",
        "return { first, pages: [...pages], staleFrom: 0 };",
        "return { first, pages: [...pages], staleFrom: Infinity };",
      ],
      [
        "slot-not-given-back",
        "    this.#freeSlots.push(state.slot);\n",
        "",
      ],
      [
        "shared-slots",
        "slot: this.#freeSlots.pop()!",
        "slot: this.#freeSlots.at(-1)!",
      ],
      [
        "last-sharer-counts",
        "tokens.set(page, Math.max(held, tokens.get(page) ?? 0));",
        "tokens.set(page, held);",
      ],
      [
        "coded-beyond-page",
        "const held = Math.min(PAGE_TOKENS, coded - (first + i) * PAGE_TOKENS);",
        "const held = PAGE_TOKENS;",
      ],
      [
        "growth-to-the-last-token",
        "this.#checkPlanned(what, `${will} hold`, length + tokens,",
        "this.#checkPlanned(what, `${will} hold`, length + tokens + 1,",
      ],
      [
        "growth-beyond-the-last-token",
        "this.#checkPlanned(what, `${will} hold`, length + tokens,",
        "this.#checkPlanned(what, `${will} hold`, length + tokens - 1,",
        { tests: ["cache/host", "cache/steps", "cache/cache"] },
      ],
      [
        "step-of-more-tokens",
        'this.#checkPlanned(what, "it has", total,',
        'this.#checkPlanned(what, "it has", total - 1,',
        { tests: ["cache/cache /misuse/"] },
      ],
      [
        "append-of-more-tokens",
        "this.#checkPlanned(what, `${will} grow by`, tokens,",
        "this.#checkPlanned(what, `${will} grow by`, tokens - 1,",
        { tests: ["cache/cache /misuse/"] },
      ],
      [
        "two-entries",
        "if (new Set(entries.map(({ sequence }) => sequence)).size < entries.length) {",
        "if (false) {",
        { tests: ["cache/cache /misuse/"] },
      ],
      [
        "refused-steps-stay",
        "        this.takeBack(state, start);\n",
        "",
      ],
      [
        "unfinished-steps-cut",
        "!progress.isComplete && start < length && length < start + tokens",
        "false",
        { tests: ["cache/steps", "cache/lifecycle", "cache/random"] },
      ],
      [
        "steps-not-void",
        "for (const growth of state.steps) growth.isVoid ||= growth.start + growth.tokens > length;",
        "",
        { tests: ["cache/steps", "cache/lifecycle", "cache/random"] },
      ],
      [
        "copies-not-taken-back",
        "          held.pages[held.pages.length - 1] = copied.from;\n",
        "",
        { tests: ["cache/steps", "cache/random", "cache/host"] },
      ],
      [
        "copies-not-given-back",
        "          pool.give([copied.to]);\n",
        "",
      ],
      [
        "tables-not-stale-again",
        "if (row !== undefined) held.staleFrom = Math.min(held.staleFrom, row.from);",
        "",
        { tests: ["cache/steps", "cache/random"] },
      ],
      [
        "restored-content-lost",
        "state.restored ??= growth.restored;",
        "",
        { tests: ["cache/steps", "cache/random"] },
      ],
      [
        "recycled-without-count",
        "      held.first += unseen;\n",
        "",
      ],
      [
        "recycled-before-the-step-stands",
        "const unseen = firstKeptPage(this.#options, table, start + tokens) - held.first;",
        "const unseen = firstKeptPage(this.#options, table, state.length) - held.first;",
        {
          unnoticed:
            "where a step is complete no later one may be more than a step ahead, which the pages allow for",
        },
      ],
      [
        "full-pages-copied",
        "if (codedAfter > codedBefore && written > 0) {",
        "if (codedAfter > codedBefore) {",
      ],
      [
        "pages-copied-for-nothing",
        "if (codedAfter > codedBefore && written > 0) {",
        "if (written > 0) {",
        { tests: ["cache/host", "cache/lifecycle", "cache/steps"] },
      ],
      [
        "row-from-new-pages",
        "from = Math.min(from, own.end - 1);",
        "",
      ],
      [
        "adopted-without-all-pages",
        "tables.push({ first, pages: this.pools[table]!.take(end - first), staleFrom: 0 });",
        "tables.push({ first, pages: this.pools[table]!.take(Math.max(0, end - first - 1)), staleFrom: 0 });",
        { tests: ["cache/host", "snapshots/snapshot"] },
      ],
      [
        "adopted-pages-lost",
        "      this.#givePages(tables);\n      throw error;",
        "      throw error;",
        { tests: ["cache/host", "snapshots/snapshot", "cache/steps"] },
      ],
      [
        "adopted-beyond-sequence",
        '"it has", length, "sequenceTokens"',
        '"it has", length - 1, "sequenceTokens"',
        { tests: ["snapshots/snapshot"] },
      ],
      [
        "block-ignored",
        "return Math.max(aged - aged % block, lost);",
        "return Math.max(aged, lost);",
      ],
      [
        "pages-rounded-down",
        "return Math.ceil(coded / PAGE_TOKENS);",
        "return Math.floor(coded / PAGE_TOKENS) + 1;",
      ],
    ],
  ),
  ...inFile("pages", "src/cache/page_pool.ts", ["cache/host", "cache/lifecycle", "cache/steps"], [
    [
      "shared-from-one-user",
      "(count) => count > 1",
      "(count) => count > 0",
    ],
    [
      "written-with-others",
      "return this.#users[page] === 1 && from >= (this.#retained.get(page)?.tokens ?? 0);",
      "return from >= (this.#retained.get(page)?.tokens ?? 0);",
    ],
    [
      "retained-overwritten",
      "return this.#users[page] === 1 && from >= (this.#retained.get(page)?.tokens ?? 0);",
      "return this.#users[page] === 1;",
    ],
    [
      "retained-to-the-token",
      "return this.#users[page] === 1 && from >= (this.#retained.get(page)?.tokens ?? 0);",
      "return this.#users[page] === 1 && from > (this.#retained.get(page)?.tokens ?? 0);",
      { tests: ["cache/lifecycle /encodeFork/", "cache/host"] },
    ],
    [
      "retained-handed-out",
      "if (--this.#users[page]! === 0 && !this.#retained.has(page)) this.#free.push(page);",
      "if (--this.#users[page]! === 0) this.#free.push(page);",
    ],
    [
      "retained-by-one",
      "count: kept.count + 1,",
      "count: 1,",
      { tests: ["cache/steps", "cache/random", "cache/host"] },
    ],
    [
      "retained-by-the-last",
      "tokens: Math.max(kept.tokens, tokens),",
      "tokens,",
      { tests: ["cache/steps", "cache/random", "cache/host"] },
    ],
    [
      "released-not-freed",
      "if (this.#users[page] === 0) this.#free.push(page);",
      "",
    ],
    [
      "users-in-a-byte",
      "readonly #users: Uint32Array;",
      "readonly #users: Uint32Array | Uint8Array;",
      { unnoticed: "the type alone" },
    ],
  ]),
  ...inFile("commands", "src/cache/bound_kernel.ts", ["cache/cache /bindings as they are/"], [
    [
      "binding-offset-ignored",
      "a.buffer === b.buffer && a.offset === b.offset &&",
      "a.buffer === b.buffer &&",
    ],
    [
      "binding-buffer-ignored",
      "a.buffer === b.buffer && a.offset === b.offset &&",
      "a.offset === b.offset &&",
    ],
    [
      "binding-size-ignored",
      " && a.size === b.size;",
      ";",
    ],
    [
      "binding-not-copied",
      "const copies = this.#names.map((name) => ({ ...host[name]! }));",
      "const copies = this.#names.map((name) => host[name]!);",
    ],
    [
      "first-binding-decides",
      "this.#names.every((name, i) => isSame",
      "this.#names.slice(0, 1).every((name, i) => isSame",
    ],
    [
      "parameters-of-another-buffer",
      "      kept.parameters === parameters &&\n",
      "",
      { tests: ["cache/host", "cache/steps", "hosts/hosts"] },
    ],
  ]),
  ...inFile("commands", "src/cache/cache_commands.ts", ["cache/lifecycle", "cache/steps"], [
    [
      "keys-pages-copied-alone",
      '          layer.copy(recorder, "valueRecords", grid);\n',
      "",
    ],
    [
      "pages-copied-in-all-layers",
      "          if (layer.pageTable !== table) continue;\n",
      "",
      { tests: ["cache/lifecycle /Sliding-window/", "cache/random"] },
    ],
    [
      "copies-the-other-way",
      "[{ slot: copied.from, start: copied.to, count: 1 }]",
      "[{ slot: copied.to, start: copied.from, count: 1 }]",
    ],
    [
      "forks-the-other-way",
      "({ slot: from.slot, start: to.slot, count: 1 })",
      "({ slot: to.slot, start: from.slot, count: 1 })",
    ],
    [
      "restored-in-first-layer",
      "const content = restored.layers[index]!;",
      "const content = restored.layers[0]!;",
      { tests: ["snapshots/snapshot", "cache/steps"] },
    ],
    [
      "restored-not-forked",
      "if (from.restored !== undefined) this.restore(recorder, from, from.restored, this.own);",
      "",
      { tests: ["cache/steps", "cache/random", "cache/lifecycle /rollback/"] },
    ],
    [
      "splits-of-first-kind",
      ".write(entries, { splits: own, scoreStride, partialStride: partialStride ?? own });",
      ".write(entries, { splits: splits[0]!, scoreStride, partialStride: partialStride ?? own });",
      { tests: ["plan/steps"] },
    ],
    [
      "encoded-from-the-end",
      "encodeFrom: codedBefore,",
      "encodeFrom: start,",
    ],
  ]),
  ...inFile("commands", "src/cache/page_rows.ts", ["cache/host", "cache/steps"], [
    [
      "rows-of-first-sequence",
      "word: start + slot * sequencePages(this.#options) + from,",
      "word: start + from,",
    ],
    [
      "rows-from-their-start",
      "word: start + slot * sequencePages(this.#options) + from,",
      "word: start + slot * sequencePages(this.#options),",
    ],
    [
      "rows-of-first-table",
      "const start = pageTableStart(this.#options, table);",
      "const start = pageTableStart(this.#options, 0);",
      { tests: ["cache/lifecycle /Sliding-window/"] },
    ],
    [
      "runs-of-any-pages",
      "if (last !== undefined && page === last.page + last.count) last.count++;",
      "if (last !== undefined && page > last.page) last.count++;",
      { tests: ["snapshots/snapshot", "cache/random"] },
    ],
  ]),
  ...inFile("commands", "src/cache/parameters.ts", ["cache/host", "cache/steps"], [
    [
      "units-once",
      "for (let at = 0; at < entries.length; at += STEP_ENTRIES) {",
      "for (let at = 0; at < Math.min(1, entries.length); at += STEP_ENTRIES) {",
      { tests: ["cache/steps /200 beams/", "snapshots/snapshot"] },
    ],
  ]),
  ...inFile("spans", "src/cache/span_room.ts", ["cache/spans", "cache/span_life"], [
    [
      "span-without-stand-ins",
      "start % this.#block !== 0; start++",
      "false; start++",
      { tests: ["cache/spans /kc2|u8b8/"] },
    ],
    [
      "span-row-not-written",
      "if (!state.hasRow) this.#row(recorder, state);",
      "",
    ],
    [
      "span-pages-kept",
      "    this.#pool.give(state.pages);\n",
      "",
    ],
    [
      "span-freed-by-first-user",
      "if (--state.users > 0) return;",
      "--state.users;",
      { tests: ["cache/span_life /forks/"] },
    ],
    [
      "restored-levels-left-out",
      "if (own !== undefined) layer.restoreLevels(recorder, levels, own);",
      "",
      { tests: ["snapshots/spans"] },
    ],
  ]),
  ...inFile("spans", "src/cache/share_spans.ts", ["cache/spans"], [
    [
      "spans-in-one-dispatch",
      "one.room === room && !taken.has(one)",
      "one.room === room",
    ],
    [
      "partials-of-one-span",
      "firstPartial += splitsOf(room);",
      "",
    ],
    [
      "span-from-first-token",
      "const start = tokens - 1;",
      "const start = 0;",
    ],
  ]),
  ...inFile("spans", "src/cache/sequences.ts", ["cache/spans", "cache/span_life"], [
    [
      "span-outlives-rollback",
      "    dropSpans(state, length);\n",
      "",
    ],
    [
      "span-outlives-sequence",
      "    dropSpans(state, -1);\n",
      "",
    ],
    [
      "restored-span-lost",
      "      for (const { state: span, content } of growth.restoredSpans) span.restored ??= content;\n",
      "",
      { tests: ["snapshots/spans"] },
    ],
  ]),
  ...inFile("commands", "src/cache/step_places.ts", ["cache/host", "cache/steps", "plan/steps"], [
    [
      "last-place-cut",
      "if (this.#next + STEP_BYTES > this.#buffer.size) {",
      "if (this.#next >= this.#buffer.size) {",
      { tests: ["cache/steps", "cache/lifecycle", "plan/steps"] },
    ],
    [
      "places-overlap",
      "this.#next += Math.ceil(words.byteLength / OFFSET_ALIGNMENT) * OFFSET_ALIGNMENT;",
      "this.#next += OFFSET_ALIGNMENT;",
    ],
    [
      "places-used-again",
      "this.#buffer = uniformBuffer(this.#device, this.#buffer.label, this.#buffer.size);",
      "",
      { tests: ["cache/steps"] },
    ],
  ]),
  ...inFile("commands", "src/cache/uniforms.ts", ["cache/cache /codes alone/"], [
    [
      "most-of-first-entry",
      "Math.max(...entries.map(({ count }) => count))",
      "entries[0]!.count",
    ],
    [
      "ring-of-window",
      "    ringSlots(options),\n",
      "    tiers.window,\n",
    ],
    [
      "window-of-zero",
      "words[23] = layer.slidingWindow || 0xffffffff;",
      "words[23] = layer.slidingWindow;",
    ],
    [
      "strides-in-another-order",
      "[keys, values, queries, output].flatMap(({ token, head }) => [token, head])",
      "[keys, values, output, queries].flatMap(({ token, head }) => [token, head])",
      { tests: ["cache/cache /head-major|strides/"] },
    ],
    [
      "scales-swapped",
      "words.set([offsets.keyScale, offsets.valueScale, offsets.values], 12);",
      "words.set([offsets.valueScale, offsets.keyScale, offsets.values], 12);",
      { tests: ["cache/cache /channel scales/"] },
    ],
  ]),
  ...inFile("steps", "src/cache/device_cache.ts", ["cache/steps", "cache/lifecycle"], [
    [
      "sinks-not-copied",
      "sinkLogits: sinkLogits?.slice(),",
      "sinkLogits,",
      { tests: ["snapshots/snapshot /learned sinks/"] },
    ],
    [
      "model-of-codebooks-first",
      "model: model ?? given?.model,",
      "model: given?.model,",
      { tests: ["snapshots/snapshot"] },
    ],
    [
      "dropped-beams-in-the-way",
      "this.#sequences.requireSlots(parents.length - new Set(parents).size - dropped.length);",
      "this.#sequences.requireSlots(parents.length - new Set(parents).size);",
    ],
    [
      "beams-twice",
      'if (new Set(beams).size < beams.length) refuse("a sequence comes twice");',
      "",
    ],
    [
      "unfinished-beams",
      "    this.#checkForkable(target, beams);\n",
      "",
    ],
    [
      "unfinished-forks",
      "    this.#checkForkable(target, [sequence]);\n",
      "",
    ],
    [
      "steps-not-passed",
      "for (const before of stepsBefore(growth)) before.progress.pass(layer);",
      "",
    ],
    [
      "ring-not-noted",
      "      this.#sequences.store(growth);\n",
      "",
      { tests: ["cache/steps", "cache/host", "cache/lifecycle"] },
    ],
    [
      "values-unchecked",
      'const values = this.#hostTensor("values", tensors?.values, state, layer).binding;',
      "const values = tensors.values;",
    ],
    [
      "overlap-unchecked",
      "    checkApart(output, queries);\n",
      "",
      { tests: ["cache/lifecycle /bindings/"] },
    ],
    [
      "kinds-of-decoding",
      "const kind = this.#splitKinds[state.way].ofLayer[layer]!;",
      "const kind = this.#splitKinds.decode.ofLayer[layer]!;",
      { tests: ["plan/steps"] },
    ],
    [
      "prefill-as-decoding",
      'const way = most === 1 ? "decode" : "prefill";',
      'const way = tokens === 1 ? "decode" : "prefill";',
      { tests: ["plan/steps", "cache/host"] },
    ],
    [
      "context-of-first-entry",
      "context: Math.max(...growths.map(({ state }) => state.length)),",
      "context: growths[0]!.state.length,",
      { tests: ["plan/steps", "cache/host"] },
    ],
    [
      "parameters-of-void-entries",
      "const firsts = state.firsts.filter((_, i) => !state.growths[i]!.isVoid);",
      "const firsts = state.firsts;",
      { tests: ["cache/steps", "cache/random"] },
    ],
    [
      "prepared-in-each-layer",
      "    state.isPrepared = true;\n",
      "",
      { tests: ["cache/steps", "cache/lifecycle", "cache/random"] },
    ],
    [
      "awaited-tokens-read",
      "if (awaited !== undefined) {",
      "if (false) {",
      { tests: ["cache/read"] },
    ],
    [
      "read-range-unchecked",
      'const { binding } = this.#checkBinding({ name: "output", binding: output, bytes });',
      "const binding = output;",
      { tests: ["cache/read"] },
    ],
    [
      "destroyed-twice-used",
      "    this.#isDestroyed = true;\n",
      "",
    ],
  ]),
  ...inFile("steps", "src/cache/device_faults.ts", ["cache/lifecycle"], [
    [
      "faults-after-the-end",
      '    this.#device.removeEventListener("uncapturederror", this.#onUncaptured);\n',
      "",
    ],
    ["lost-device-used", "if (this.#lost !== undefined) throw this.#lost;", ""],
  ]),
  ...inFile("steps", "src/cache/step_order.ts", ["cache/steps", "cache/lifecycle"], [
    ["appended-twice", "if (progress.isAppended(layer)) {", "if (false) {"],
    ["overtaking-steps", "if (missing !== undefined) {", "if (false) {"],
    [
      "overtaken-steps-attend",
      "if (progress.isAppended(source) && !progress.isPassed(source)) return;",
      "if (progress.isAppended(source)) return;",
    ],
    [
      "layers-too-far-ahead",
      "if (behind === start || start + tokens - behind <= appendTokens) continue;",
      "continue;",
    ],
  ]),
  ...inFile("steps", "src/cache/step_progress.ts", ["cache/steps", "cache/lifecycle"], [
    [
      "complete-one-layer-early",
      "return this.#missing === 0;",
      "return this.#missing <= 1;",
    ],
    [
      "passed-as-begun",
      "return this.#layers[layer] !== BEGUN;",
      "return this.#layers[layer] === APPENDED;",
    ],
  ]),
  ...inFile("steps", "src/cache/encoder_order.ts", ["cache/steps"], [
    ["passes-counted", "    if (isPass(target)) return;\n", "", {
      tests: ["cache/steps", "cache/cache", "hosts/hosts", "examples/engine/engine"],
    }],
    ["left-forgotten", "if (known !== undefined) left.add(known.last);", ""],
  ]),
  ...inFile("read", "src/cache/read_entries.ts", ["cache/read"], [
    [
      "coded-counts-sinks",
      ".map((entry) => ({ ...entry, start: entry.start - tiers.sinks })),",
      ",",
    ],
    [
      "rows-by-position",
      "first: start - first }",
      "first: 0 }",
    ],
    [
      "passed-tokens-read",
      "if (within(tiers.sinks, Math.min(codedFrom, ringFrom)).length > 0) {",
      "if (false) {",
    ],
    [
      "one-token-more",
      "if (first + count > length) refuse(",
      "if (first + count > length + 1) refuse(",
    ],
    [
      "vectors-overlap-by-one",
      "headMajor ? Math.floor((stride.head - sideDim(own, side)) / stride.token) + 1 : Infinity,",
      "headMajor ? Math.floor(stride.head / stride.token) + 1 : Infinity,",
    ],
    [
      "exact-from-window",
      "exact: [...within(0, tiers.sinks), ...within(ringFrom, length)],",
      "exact: within(ringFrom, length),",
    ],
  ]),
  ...inFile("stats", "src/cache/stats.ts", [
    "cache/host",
    "cache/lifecycle /stats/",
    "cache/cache /stats/",
  ], [
    [
      "bits-with-scratch",
      "effectiveBits: (8 * residentBytes(bytes)) /",
      "effectiveBits: (8 * bytes.total) /",
    ],
    [
      "slack-of-one-head",
      "return sum + held[pageTable]! * keyValueHeads * tokenBytes(layer);",
      "return sum + held[pageTable]! * tokenBytes(layer);",
    ],
    [
      "slack-of-first-table",
      "return sum + held[pageTable]! * keyValueHeads * tokenBytes(layer);",
      "return sum + held[0]! * keyValueHeads * tokenBytes(layer);",
    ],
    [
      "scales-left-out",
      " +\n        (layerCodebooks[layer]![side]?.scale?.byteLength ?? 0),",
      ",",
      { tests: ["cache/lifecycle /stats/", "cache/cache /stats/", "plan/plan"] },
    ],
  ]),
  ...inFile("drop", "src/cache/drop_tokens.ts", ["cache/drop_tokens"], [
    ["page-table-left", "held.staleFrom = Math.min(held.staleFrom, firstPage);", ""],
    ["pages-kept", "sequences.pools[table]!.give(dropped);", ""],
    [
      "ring-left",
      "const moved = count % ring === 0 ? 0 : state.length - first;",
      "const moved = 0;",
    ],
    ["values-left", "...runsOf(values!, tier + side, count * keys!),", ""],
    [
      "values-as-wide-as-keys",
      "...runsOf(values!, tier + side, count * keys!),",
      "...runsOf(keys!, tier + side, count * keys!),",
      { tests: ["cache/random"] },
    ],
    [
      "ring-holds-dropped",
      "state.exactFrom = Math.max(from, state.exactFrom - count);",
      "state.exactFrom = Math.max(0, state.exactFrom - count);",
      { tests: ["cache/drop_tokens", "cache/random"] },
    ],
    ["steps-go-on", "for (const growth of state.steps) growth.isVoid = true;", ""],
    [
      "freed-pages-take-place",
      "(least, { first }) => first > 0 ? Math.min(least, first) : least,",
      "(least) => least,",
    ],
    ["positional-codes", "if (scheme.positional) {", "if (false) {"],
    [
      "anchors-cut",
      "if (codesAnchored(scheme)) tokens = Math.max(tokens, ...anchors);",
      "if (codesAnchored(scheme)) tokens = Math.max(tokens, anchors[0]!);",
    ],
  ]),
  ...inFile("rollback", "src/cache/rollback.ts", ["cache/rollback"], [
    ["not-decoded", "if (from < known) {", "if (false) {"],
    [
      "one-piece",
      "start < known; start += most) {",
      "start < from + most; start += most) {",
    ],
    [
      "unsubmitted-step-kept",
      "    sequences.takeBack(state, length, known - sinks);\n",
      "",
    ],
    [
      "row-of-page-table-left",
      "options.pageTables.forEach((_, table) => commands.staleRow(recorder, state, table));",
      "",
    ],
    ["restored-later", "putInPlace(commands, recorder, state);", ""],
    [
      "codes-of-overtaken-step-undone",
      "sequences.takeBack(state, length, known - sinks);",
      "sequences.takeBack(state, length);",
    ],
    [
      "told-as-never-written",
      "return Math.max(0, known - sinks - aged);",
      "return 0;",
    ],
    ["decoded-beside-their-place", "start: start - sinks,", "start,"],
  ]),
  ...inFile("snapshot", "src/snapshots/pages.ts", ["snapshots/snapshot"], [
    [
      "other-tokens-kept",
      "own.set(firstRecords(layout, own, coded));",
      "",
    ],
  ]),
  ...inFile("snapshot", "src/snapshots/snapshot.ts", ["snapshots/snapshot"], [
    [
      "pages-not-skipped",
      "const skippedPages = (held.codedFrom[pageTable]! - info.codedFrom[pageTable]!) / PAGE_TOKENS;",
      "const skippedPages = 0;",
    ],
    [
      "recent-tokens-not-skipped",
      "const skipped = exactPositions(options, held).from - given.from;",
      "const skipped = 0;",
    ],
    [
      "ring-one-long",
      "const from = Math.max(exactFrom, length - ringSlots(options));",
      "const from = Math.max(exactFrom, length - ringSlots(options) - 1);",
    ],
    [
      "lost-tokens-forgotten",
      "const from = Math.max(exactFrom, length - ringSlots(options));",
      "const from = length - ringSlots(options);",
    ],
    [
      "ring-counts-sinks",
      "const start = (from - sinks) % ring;",
      "const start = from % ring;",
    ],
    [
      "ring-not-wrapped",
      "const unwrapped = Math.min(recent, ring - start);",
      "const unwrapped = recent;",
    ],
    [
      "values-as-keys",
      '(side === "keys" ? 0 : exactSideBytes(options, layer, "keys", heads))',
      "0",
    ],
    [
      "heads-of-part-in-file",
      "const vectors = from.data.subarray(start, start + count * bytes);\n    to.data.set(vectors, (token * to.heads + to.first) * bytes);",
      "const vectors = from.data.subarray(start, start + count * bytes);\n    to.data.set(vectors, token * to.heads * bytes);",
      { tests: ["cache/lifecycle /several buffers/"] },
    ],
    [
      "records-of-part-in-file",
      "const at = heads.first * recordWords(layout, count) * 4;",
      "const at = 0;",
      { tests: ["cache/lifecycle /several buffers/"] },
    ],
    [
      "first-kept-of-source",
      "Math.max(from / PAGE_TOKENS, firstKeptPage(options, table, info.length))",
      "from / PAGE_TOKENS",
      { tests: ["cache/host", "snapshots/snapshot"] },
    ],
    [
      "restored-as-in-place",
      "const place = restored === undefined ? slot : 0;",
      "const place = slot;",
      { tests: ["snapshots/snapshot", "cache/steps"] },
    ],
    [
      "prompt-left-out",
      "return await encodeSnapshot({ info: { ...info, prompt: options.prompt }, tensors });",
      "return await encodeSnapshot({ info, tensors });",
      { tests: ["snapshots/snapshot", "snapshots/prompts"] },
    ],
  ]),
  ...inFile("counters", "src/cache/number_counters.ts", [
    "schemes/bad_numbers /readCounters/",
    "schemes/key_bias /readCounters/",
  ], [
    ["not-reset", "    encoder.clearBuffer(this.#buffer);\n", ""],
    ["each-in-the-next", "[name, count + words[i]!]", "[name, count + words[Math.max(0, i - 1)]!]"],
    ["last-reading-alone", "[name, count + words[i]!]", "[name, words[i]!]"],
    ["nans-unreported", "if (clamped + notNumbers > 0) {", "if (clamped > 0) {"],
    ["drowned-unreported", "if (drownedBlocks > 0) {", "if (false) {"],
  ]),
  ...inFile("drop", "src/cache/drop_tokens.ts", ["cache/drop_tokens /as many tokens as/"], [
    [
      "restored-moved-alone",
      "if (state.restored !== undefined || moved > 0) {",
      "if (moved > 0) {",
    ],
  ]),
  ...inFile("drop", "src/cache/drop_tokens.ts", ["cache/drop_tokens"], [
    [
      "granularity-of-windows-left-out",
      "? NEAR_TOKENS\n    : PAGE_TOKENS;",
      "? PAGE_TOKENS\n    : PAGE_TOKENS;",
    ],
    [
      "ring-not-wrapped",
      "if (unwrapped === count) return runs;",
      "if (unwrapped <= count) return runs;",
    ],
    [
      "first-page-stays",
      "held.first -= Math.max(0, Math.min(held.first, endPage) - firstPage);",
      "",
    ],
    [
      "stale-from-next",
      "held.staleFrom = Math.min(held.staleFrom, firstPage);",
      "held.staleFrom = Math.min(held.staleFrom, firstPage + 1);",
    ],
    ["scratch-of-first-layer", "sizes[i] = Math.max(sizes[i] ?? 0, bytes);", "sizes[i] ??= bytes;"],
    ["stored-left", "state.stored -= count;", ""],
    [
      "moved-from-exact-alone",
      "const first = Math.max(to, state.exactFrom, state.length - ring);",
      "const first = Math.max(to, state.exactFrom);",
    ],
    ["positions-of-their-own", "if (options.positions > 0) {", "if (false) {", {
      tests: ["cache/drop_tokens /dropGranularity/"],
    }],
  ]),
  ...inFile("counters", "src/cache/number_counters.ts", ["schemes/bad_numbers /readCounters/"], [
    ["clamped-unreported", "if (clamped + notNumbers > 0) {", "if (notNumbers > 0) {"],
    [
      "reset-before-copied",
      "    encoder.copyBufferToBuffer(this.#buffer, 0, staging, 0, COUNTER_BYTES);\n    // Reset, so that 32 bits suffice between two readings.\n    encoder.clearBuffer(this.#buffer);",
      "    encoder.clearBuffer(this.#buffer);\n    encoder.copyBufferToBuffer(this.#buffer, 0, staging, 0, COUNTER_BYTES);",
    ],
    ["staging-kept", "staging.destroy();", "", { tests: ["cache/number_counters"] }],
  ]),
  ...inFile("spans", "src/cache/share_spans.ts", ["cache/spans"], [
    [
      "partials-without-own",
      "const partialStride = Math.max(...partials) + Math.max(...splits);",
      "const partialStride = Math.max(...partials);",
    ],
    ["exact-from-zero", "exactFrom: tokens, firstPartial });", "exactFrom: 0, firstPartial });"],
    ["kind-of-first-dispatch", "one.room === room && !taken.has(one)", "!taken.has(one)", {
      tests: ["cache/spans /two kinds/"],
    }],
    [
      "most-of-first-entry",
      "most: Math.max(...entries.map(({ count }) => count)),",
      "most: entries[0]!.count,",
      { tests: ["cache/spans /two kinds/"] },
    ],
  ]),
  ...inFile("cache", "src/cache/put_in_place.ts", ["cache/drop_tokens /as many tokens as/"], [
    ["restored-put-in-place-again", "state.restored = undefined;", ""],
  ]),
  ...inFile("spans", "src/cache/span_store.ts", ["cache/span_life"], [
    ["indices-equal", "index <= (indices[i - 1] ?? -1)", "index < (indices[i - 1] ?? 0)"],
    ["handed-over-twice", "if (state.coded.has(layer)) {", "if (false) {"],
    [
      "attends-uncoded",
      "const missing = spans.find(({ coded }) => !coded.has(layer));",
      "const missing = spans.find(({ coded }) => coded.size === 0);",
    ],
    [
      "first-layer-coded-alone",
      "const layer = span.room.layers.findIndex((_, layer) => !span.coded.has(layer));",
      "const layer = span.coded.has(0) ? -1 : 0;",
    ],
    [
      "dropped-span-handed-over",
      "if (found === undefined || found.state.users === 0) {",
      "if (found === undefined) {",
      { tests: ["cache/span_life /encodeSpan/"] },
    ],
    ["adopted-left-behind", "for (const state of states) state.room.release(state);", "", {
      tests: ["snapshots/spans"],
    }],
  ]),
  ...inFile("steps", "src/cache/encoder_order.ts", ["cache/encoder_order"], [
    [
      "first-encoder-left-alone",
      "if (known !== undefined) left.add(known.last);",
      "if (known !== undefined && known.left === undefined) left.add(known.last);",
    ],
    [
      "sequences-first-alone",
      "for (const sequence of sequences) {",
      "for (const sequence of sequences.slice(0, 1)) {",
    ],
  ]),
  ...inFile("positions", "src/cache/token_positions.ts", ["cache/mrope"], [
    ["next-is-largest", "Math.max(next, position + 1)", "Math.max(next, position)"],
    [
      "positions-transposed",
      "given?.[i % positions * tokens + token] ?? next + token",
      "given?.[i] ?? next + token",
    ],
    [
      "positions-of-any-count",
      "if (given.length === positions * tokens && given.every(isPosition)) return;",
      "if (given.every(isPosition)) return;",
    ],
  ]),
];
