import assert from "node:assert/strict";
import { packRecords, parseScheme, planCache } from "@couplet/kv";
import { planOptions } from "../../../src/models/mod.ts";
import { facetChoices, filterKernels } from "../../../examples/explorer/page/kernel_filter.ts";
import { kernels } from "../../../examples/explorer/page/kernels.ts";
import { cacheMemory } from "../../../examples/explorer/page/memory.ts";
import { residentBytes } from "../../../src/plan/sizes.ts";
import {
  checkDrawable,
  recordCells,
  recordFields,
  shownRows,
} from "../../../examples/explorer/page/record_cells.ts";
import { formatRoute, parseRoute, type Route } from "../../../examples/explorer/page/route.ts";
import { schemeHeadDims } from "../../../examples/explorer/page/schemes.ts";
import { refuses } from "../../helpers/refusals.ts";

const all = kernels.map(({ info }) => info);

for (
  const [hash, route] of [
    ["", { view: "kernels" }],
    ["#/kernels", { view: "kernels" }],
    ["#/kernels/copy", { view: "kernels", name: "copy" }],
    ["#/compare", { view: "compare" }],
    ["#/compare/copy", { view: "compare", before: "copy" }],
    ["#/compare/copy/store_d64", { view: "compare", before: "copy", after: "store_d64" }],
    ["#/records", { view: "records", scheme: "c8b8", headDim: 128 }],
    ["#/records/u8b8/d64", { view: "records", scheme: "u8b8", headDim: 64 }],
    ["#/records/%zz/dx", { view: "records", scheme: "%zz", headDim: 128 }],
    ["#/memory", { view: "memory" }],
    ["#/nonsense/copy", { view: "kernels" }],
  ] satisfies [string, Route][]
) {
  Deno.test(`parseRoute("${hash}") gives the view, and formatRoute the way back`, () => {
    assert.deepEqual(parseRoute(hash), route);
    assert.deepEqual(parseRoute(formatRoute(route)), route);
  });
}

Deno.test("filterKernels leaves kernels with all words and properties, in order", () => {
  const left = filterKernels(kernels, { words: "D64 attend", scheme: "c8b8", variant: "rope" });
  assert.deepEqual(
    left.map(({ info }) => info.name),
    all.map(({ name }) => name).filter((name) => /^attend_.*c8b8.*_d64_rope(_|$)/.test(name)),
  );
  assert.ok(left.length > 0);
  assert.equal(filterKernels(kernels, { words: "" }).length, kernels.length);
  assert.deepEqual(filterKernels(kernels, { words: "no such name" }), []);
});

Deno.test("facetChoices counts what each choice would leave beside the other filters", () => {
  const filter = { words: "d64", family: "score" };
  for (const facet of ["family", "scheme", "size", "variant"] as const) {
    for (const [value, count] of facetChoices(kernels, filter, facet)) {
      assert.equal(filterKernels(kernels, { ...filter, [facet]: value }).length, count, value);
    }
  }
});

Deno.test("recordFields covers every record bit once, codes where packRecords puts them", () => {
  for (const [id, headDims] of schemeHeadDims) {
    const scheme = parseScheme(id);
    const headDim = headDims[0]!;
    const layout = scheme.layout(headDim);
    const fields = recordFields(scheme, headDim);
    let end = 0;
    for (const { bit, bits } of fields) {
      assert.equal(bit, end, id);
      end += bits;
    }
    assert.equal(end, layout.words * 32, id);
    const cells = recordCells(fields);
    assert.ok(cells.every(({ start, bits }) => bits > 0 && start + bits <= 32), id);
    const codes = fields.filter(({ holds }) => holds.kind === "code");
    assert.equal(codes.length, layout.tokens * layout.codes);
    const probes = [0, 1, codes.length >> 1, codes.length - 1];
    for (const at of probes) {
      const ones = new Array<number>(codes.length).fill(0);
      ones[at] = 2 ** layout.codeBits - 1;
      const words = packRecords(layout, ones, layout.tokens);
      const { bit, bits } = codes[at]!;
      words.forEach((word, i) => {
        for (let b = 0; b < 32; b++) {
          const here = i * 32 + b;
          assert.equal((word >>> b) & 1, here >= bit && here < bit + bits ? 1 : 0, `${id} ${at}`);
        }
      });
    }
  }
});

for (const headDim of [1025, 65536, 1e9, 2 ** 53, Infinity, -64, 0.5, 48.5]) {
  Deno.test(`checkDrawable refuses heads of ${headDim} channels, of any scheme`, () => {
    const { headDim: read } = parseRoute(`#/records/c8b8/d${headDim}`) as { headDim: number };
    assert.equal(read, headDim);
    for (const id of schemeHeadDims.keys()) {
      refuses("shape", () => checkDrawable(parseScheme(id), read));
    }
  });
}

Deno.test("checkDrawable takes every scheme at every head dimension that has kernels", () => {
  for (const [id, headDims] of schemeHeadDims) {
    for (const headDim of headDims) checkDrawable(parseScheme(id), headDim);
  }
});

Deno.test("shownRows shows all words of a short record, and gaps that add up in a long one", () => {
  for (const [id, headDims] of schemeHeadDims) {
    const scheme = parseScheme(id);
    const { words } = scheme.layout(headDims[0]!);
    const cells = recordCells(recordFields(scheme, headDims[0]!));
    for (const full of [true, false]) {
      const rows = shownRows(cells, full);
      const counted = rows.reduce((sum, row) => sum + ("gap" in row ? row.gap : 1), 0);
      assert.equal(counted, words, id);
      assert.ok(!full || rows.length === words, id);
      assert.ok(full || rows.length <= 16, id);
    }
  }
});

Deno.test("cacheMemory is the planner's, sums to its totals and counts codebooks", () => {
  const model = planOptions({
    model_type: "llama",
    num_hidden_layers: 2,
    num_attention_heads: 8,
    num_key_value_heads: 2,
    hidden_size: 512,
  });
  const holding = {
    keys: "c4b8",
    values: "c8b8",
    tokens: 4096,
    sequences: 2,
    sinks: 4,
    window: 64,
    appendTokens: 128,
  } as const;
  const { coded, half } = cacheMemory(model, holding);
  const capacity = {
    sequences: 2,
    tokens: 8192,
    sequenceTokens: 4096,
    stepTokens: 256,
    appendTokens: 128,
  };
  const { bytes } = planCache({
    shape: model.shape,
    policy: { keys: "c4b8", values: "c8b8" },
    keys: model.keys,
    tiers: { sinks: 4, window: 64 },
    capacity,
    kernels: all,
  });
  assert.deepEqual(coded.plan.bytes, bytes);
  assert.equal(coded.codes.keys + coded.codes.values, bytes.codes);
  assert.equal(coded.codes.keys, 2 * coded.codes.values);
  assert.equal(coded.codebooks.keys + coded.codebooks.values, bytes.codebooks);
  assert.ok(coded.codebooks.keys > 0 && coded.codebooks.values > 0);
  assert.equal(half.plan.bytes.codebooks, 0);
  assert.ok(residentBytes(half.plan.bytes) > 4 * residentBytes(bytes));
});
