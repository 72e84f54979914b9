/** What hosts may do with spans, what is refused, and what a refusal leaves. */
import assert from "node:assert/strict";
import {
  type Cache,
  type CacheOptions,
  createReferenceCache,
  planCache,
  type Span,
  spanKinds,
  type SpanPolicies,
  storePrefix,
} from "../../mod.ts";
import { describePlan } from "../../src/cache/identity.ts";
import { opfsStore } from "../../src/snapshots/stores/opfs.ts";
import { memoryDirectory, memoryLocks } from "../helpers/memory_directory.ts";
import { manifest } from "../../generated/manifest.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { uploadBuffer } from "../helpers/cache_oracle.ts";
import { refusal, refuses, rejects } from "../helpers/refusals.ts";
import { feed, gridCache } from "../helpers/snapshots.ts";

const STORE = opfsStore(memoryDirectory(), memoryLocks());
const device = await requestTestDevice();

const SCHEMES = { keys: "sc1", values: "sc1" } as const;
const IMAGE = { ...SCHEMES, tokens: 100, count: 2 };

const OPTIONS: CacheOptions = {
  shape: { layers: 2, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
  policy: { keys: "f16", values: "f16" },
  keys: { space: "as-scored" },
  tiers: { sinks: 1, window: 3 },
  capacity: { sequences: 3, tokens: 100, sequenceTokens: 90, stepTokens: 9, appendTokens: 9 },
  spans: spanKinds({ image: IMAGE }),
};

/** Numbers of 80 tokens. */
const vectors = { buffer: uploadBuffer(device, new Float32Array(80 * 2 * 64).fill(0.5)) };
const TENSORS = { keys: vectors, values: vectors };

function plan(change: object): () => unknown {
  return () => planCache({ ...OPTIONS, kernels: manifest, ...change });
}

function planSpans(spans: object, change = {}): () => unknown {
  return () => plan({ spans: spanKinds(spans as SpanPolicies), ...change })();
}

Deno.test("planCache() refuses spans that cannot be", () => {
  const rope = { space: "pre-rope", rope: { layout: "half", theta: 10000 } };
  refuses("shape", plan({ keys: rope }));
  refuses("shape", plan({ shape: { ...OPTIONS.shape, slidingWindow: 16 } }));
  refuses("shape", plan({ policy: { keys: "sc1", values: "f16" } }));
  refuses("shape", plan({ spans: { image: IMAGE } }));
  refuses("shape", plan({ spans: { ...OPTIONS.spans } }));
  refuses("shape", planSpans({ Image: IMAGE }));
  refuses("shape", planSpans({ image: { ...IMAGE, tokens: 0 } }));
  refuses("shape", planSpans({ image: { ...IMAGE, count: 1.5 } }));
  refuses("shape", planSpans({ image: { ...IMAGE, tau: 3 } }));
  refuses("shape", planSpans({ image: { ...IMAGE, remap: { tau: -1 } } }));
  refuses("shape", planSpans({ image: { ...IMAGE, keys: "sc4", remap: { tau: 3 } } }));
  refuses("scheme", planSpans({ image: { ...IMAGE, values: "sc3" } }));
  refuses("shape", planSpans({ image: { ...IMAGE, layers: { 2: SCHEMES } } }));
  refuses("shape", planSpans({ image: { ...IMAGE, layers: { 1: { keys: "sc1" } } } }));
  refuses("scheme", planSpans({ image: { ...IMAGE, layers: { 1: { ...SCHEMES, keys: "sc3" } } } }));
  const wide = { ...SCHEMES, keys: "sc4" };
  refuses("shape", planSpans({ image: { ...IMAGE, layers: { 1: wide }, remap: { tau: 3 } } }));
  refuses("limits", planSpans({ image: { ...IMAGE, tokens: 100_000_000 } }));
  refuses("kernel", plan({ kernels: manifest.filter(({ name }) => !/^fit_/.test(name)) }));
  refuses(
    "kernel",
    planSpans({ image: { ...IMAGE, remap: { tau: 3 } } }, {
      kernels: manifest.filter(({ name }) => name !== "remap"),
    }),
  );
});

Deno.test("planCache() counts the bytes of spans, and describes them", async () => {
  const planned = planCache({ ...OPTIONS, kernels: manifest });
  const { spans: _, ...others } = OPTIONS;
  const without = planCache({ ...others, kernels: manifest });
  // Of 2 layers: 3 pages of 2 heads of 128 words on both sides, levels of 2 spans, parameters; and a page table.
  const records = 2 * 3 * 2 * 128 * 4;
  const levels = 2 * 2 * 2 * 64 * 4;
  assert.equal(planned.bytes.spans, 2 * (records + levels + 112) + 2 * 2 * 4);
  assert.equal(without.bytes.spans, 0);
  // Two pages of both sides.
  assert.equal(planned.scratch.spans, 2 * 128 * 2 * 64 * 2);
  assert.match(planned.describe(), /spans "image": 2 of 100 tokens together/);
  assert.match(planned.describe(), /keys sc1: fit_sc1_d64 \+ encode_sc1_d64/);
  const cache = await gridCache(device, OPTIONS);
  assert.deepEqual(cache.stats().bytes, planned.bytes);
  cache.destroy();
});

Deno.test("spans of layers with other schemes are counted, described and told apart by snapshots", async () => {
  const options = {
    ...OPTIONS,
    spans: spanKinds({ image: { ...IMAGE, layers: { 1: { keys: "f16", values: "sc1" } } } }),
  };
  const [same, other] = [OPTIONS, options].map((one) => planCache({ ...one, kernels: manifest }));
  // 3 pages of 2 heads of 64 tokens: 64 bits of keys each, or 1024.
  assert.equal(other!.bytes.spans - same!.bytes.spans, 3 * 2 * 64 * (1024 - 64) / 8);
  assert.match(
    other!.describe(),
    /layers 0\n +keys sc1: [^]*layers 1\n +keys f16: encode_f16_d64\n +values sc1: fit_/,
  );
  const cache = await gridCache(device, options);
  assert.deepEqual(cache.stats().bytes, other!.bytes);
  assert.notEqual(describePlan(other!.options), describePlan(same!.options));
  cache.destroy();
});

/** A cache with a sequence of three tokens. */
async function filled() {
  const cache = await gridCache(device, OPTIONS);
  const sequence = cache.createSequence();
  await feed(device, cache, sequence, 3);
  return { cache, sequence };
}

/** Hands a span over to every layer. */
function give(cache: Cache, span: Span): void {
  const encoder = device.createCommandEncoder();
  for (const layer of [0, 1]) cache.encodeSpan(encoder, span, layer, TENSORS);
  device.queue.submit([encoder.finish()]);
}

Deno.test("addSpan() refuses what does not fit, and changes nothing", async () => {
  const { cache, sequence } = await filled();
  const before = cache.stats();
  refuses("usage", () => cache.addSpan(sequence, "video", 3));
  refuses("usage", () => cache.addSpan(sequence, "image", 0));
  refuses("usage", () => cache.addSpan({ id: 7 }, "image", 3));
  refuses("capacity", () => cache.addSpan(sequence, "image", 101));
  assert.deepEqual(cache.stats(), before);
  cache.addSpan(sequence, "image", 60);
  refuses("capacity", () => cache.addSpan(sequence, "image", 41));
  cache.addSpan(sequence, "image", 40);
  refuses("capacity", () => cache.addSpan(sequence, "image", 1));
  cache.truncate(sequence, 2);
  assert.deepEqual(cache.stats().spans, before.spans);
  cache.destroy();
});

Deno.test("encodeSpan() refuses tokens that come twice, out of order or beyond the tensors, and records nothing", async () => {
  const { cache, sequence } = await filled();
  const span = cache.addSpan(sequence, "image", 3);
  const encoder = device.createCommandEncoder();
  const give = (tensors: object, layer = 0, own = span) => () =>
    cache.encodeSpan(encoder, own, layer, { ...TENSORS, ...tensors });
  refuses("usage", give({ indices: [0, 1] }));
  refuses("usage", give({ indices: [0, 1, 1] }));
  refuses("usage", give({ indices: [0, 2, 1] }));
  refuses("usage", give({ indices: [-1, 0, 1] }));
  refuses("usage", give({ indices: [0, 1, 1.5] }));
  refuses("shape", give({ indices: [0, 1, 80] }));
  refuses("usage", give({}, 2));
  refuses("usage", give({}, 0, { ...span }));
  refuses("usage", give({ keys: { buffer: cache.buffers(0).parts[0]!.exact } }));
  cache.encodeSpan(encoder, span, 0, { ...TENSORS, indices: [0, 41, 79] });
  refuses("usage", give({}));
  cache.encodeSpan(encoder, span, 1, TENSORS);
  device.queue.submit([encoder.finish()]);
  cache.truncate(sequence, 1);
  refuses("usage", give({}));
  // One that was never handed over, and is gone.
  const dropped = cache.addSpan(sequence, "image", 3);
  cache.truncate(sequence, 0);
  assert.match(refusal("usage", give({}, 0, dropped)), /was dropped/);
  cache.destroy();
});

Deno.test("a span that lacks a layer is not attended to, forked or kept; one that was dropped does not count", async () => {
  const { cache, sequence } = await filled();
  const span = cache.addSpan(sequence, "image", 3);
  const encoder = device.createCommandEncoder();
  cache.encodeSpan(encoder, span, 0, TENSORS);
  const step = cache.beginStep([{ sequence, tokens: 1 }]);
  const output = uploadBuffer(device, new Float32Array(4 * 64));
  const attention = { queries: vectors, output: { buffer: output } };
  for (const layer of [0, 1]) cache.encodeAppend(encoder, step, layer, TENSORS);
  cache.encodeAttend(encoder, step, 0, attention);
  refuses("usage", () => cache.encodeAttend(encoder, step, 1, attention));
  refuses("usage", () => cache.encodeFork(encoder, sequence));
  await rejects(storePrefix(cache, STORE, sequence, [1, 2, 3, 4]), "usage");
  cache.encodeSpan(encoder, span, 1, TENSORS);
  cache.encodeAttend(encoder, step, 1, attention);
  device.queue.submit([encoder.finish()]);
  await rejects(storePrefix(cache, STORE, sequence, [1, 2, 3, 4]), "usage");
  cache.truncate(sequence, 2);
  await storePrefix(cache, STORE, sequence, [1, 2]);
  cache.destroy();
});

Deno.test("forks share a span, which lives as long as one of them", async () => {
  const { cache, sequence } = await filled();
  give(cache, cache.addSpan(sequence, "image", 80));
  const wanted = await feed(device, cache, sequence, 1, { attend: true });
  cache.truncate(sequence, 3);
  const encoder = device.createCommandEncoder();
  const fork = cache.encodeFork(encoder, sequence);
  device.queue.submit([encoder.finish()]);
  const [{ count, tokens, pages }] = cache.stats().spans as [
    ReturnType<Cache["stats"]>["spans"][0],
  ];
  assert.deepEqual([count, tokens, pages.free], [1, 80, pages.total - 2]);
  cache.freeSequence(sequence);
  assert.deepEqual(await feed(device, cache, fork, 1, { attend: true }), wanted);
  cache.truncate(fork, 2);
  assert.equal(cache.stats().spans[0]!.count, 0);
  cache.destroy();
});

Deno.test("a step that began before a span does not see it", async () => {
  const { cache, sequence } = await filled();
  const wanted = await feed(device, cache, sequence, 1, { attend: true });
  cache.truncate(sequence, 3);
  const other = cache.createSequence();
  await feed(device, cache, other, 3);
  const step = cache.beginStep([{ sequence: other, tokens: 1 }]);
  give(cache, cache.addSpan(other, "image", 50));
  cache.truncate(other, 3);
  assert.deepEqual(await feed(device, cache, other, 1, { attend: true }), wanted);
  refuses("usage", () => cache.encodeAppend(device.createCommandEncoder(), step, 0, TENSORS));
  cache.destroy();
});

Deno.test("a ReferenceCache refuses the same spans", () => {
  const reference = createReferenceCache({ ...OPTIONS, capacity: { appendTokens: 9 } });
  const sequence = reference.createSequence();
  refuses("usage", () => reference.addSpan(sequence, "video", 3));
  const span = reference.addSpan(sequence, "image", 3);
  const numbers = new Float32Array(5 * 2 * 64);
  const give = (indices: readonly number[], layer = 0) => () =>
    reference.encodeSpan(span, layer, { keys: numbers, values: numbers, indices });
  refuses("shape", give([0, 1]));
  refuses("shape", give([0, 1, 1]));
  refuses("shape", give([0, 1, 5]));
  refuses("usage", give([0, 1, 2], 2));
  refuses("usage", () => reference.spanCodes(span, 0, "keys"));
  give([0, 1, 4])();
  refuses("usage", give([0, 1, 4]));
  reference.freeSequence(sequence);
  refuses("usage", () => reference.spanCodes(span, 0, "keys"));
});
