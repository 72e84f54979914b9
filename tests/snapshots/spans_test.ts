/** Spans in snapshots: what is restored attends alike, whatever becomes of the first steps. */
import assert from "node:assert/strict";
import {
  type Cache,
  type CacheOptions,
  CoupletError,
  inspectSnapshot,
  restoreSequence,
  type Sequence,
  snapshotSequence,
  spanKinds,
  type SpanPolicies,
} from "../../mod.ts";
import { seededRandom } from "../../src/base/random.ts";
import { resolveOptions } from "../../src/plan/options.ts";
import { spanObstacle } from "../../src/snapshots/span_content.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { uploadBuffer } from "../helpers/cache_oracle.ts";
import { gridVectors } from "../helpers/grid_numbers.ts";
import { feed, gridCache } from "../helpers/snapshots.ts";

const device = await requestTestDevice();

const KINDS: SpanPolicies = {
  image: { keys: "sc1", values: "sc2", tokens: 300, count: 3 },
  text: { keys: "c8b8", values: "kt2", tokens: 100, count: 2 },
};

const OPTIONS: CacheOptions = {
  shape: { layers: 2, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
  policy: { keys: "c8b8", values: "c8b8" },
  keys: { space: "as-scored" },
  tiers: { sinks: 1, window: 3 },
  capacity: { sequences: 3, tokens: 200, sequenceTokens: 90, stepTokens: 9, appendTokens: 9 },
  spans: spanKinds(KINDS),
};

/** Hands over a span of random vectors. */
function give(cache: Cache, sequence: Sequence, name: string, tokens: number): void {
  const span = cache.addSpan(sequence, name, tokens);
  const encoder = device.createCommandEncoder();
  const random = seededRandom(tokens);
  cache.plan.layers.forEach((_, layer) => {
    const [keys, values] = [0, 1].map(() => ({
      buffer: uploadBuffer(device, gridVectors(random, tokens * 2 * 64)),
    }));
    cache.encodeSpan(encoder, span, layer, { keys: keys!, values: values! });
  });
  device.queue.submit([encoder.finish()]);
}

/** A sequence with two spans and 12 tokens. */
async function filled(cache: Cache): Promise<Sequence> {
  const sequence = cache.createSequence();
  await feed(device, cache, sequence, 6);
  give(cache, sequence, "image", 150);
  await feed(device, cache, sequence, 3);
  give(cache, sequence, "text", 70);
  await feed(device, cache, sequence, 3);
  return sequence;
}

Deno.test("restoreSequence() brings spans back, into a cache of other capacities that has others", async () => {
  const cache = await gridCache(device, OPTIONS);
  // So that no span of the sequence lies in the first place.
  for (const name of ["image", "text"]) give(cache, cache.createSequence(), name, 20);
  const sequence = await filled(cache);
  const bytes = await snapshotSequence(cache, sequence);
  assert.deepEqual((await inspectSnapshot(bytes)).spans, [
    { name: "image", tokens: 150, place: 6 },
    { name: "text", tokens: 70, place: 9 },
  ]);
  const wanted = await feed(device, cache, sequence, 4, { attend: true });

  const { image, text } = KINDS;
  const other = await gridCache(device, {
    ...OPTIONS,
    spans: spanKinds({ image: { ...image!, tokens: 500, count: 4 }, text: text! }),
  });
  give(other, other.createSequence(), "image", 80);
  const restored = await restoreSequence(other, bytes);
  // What waits to be put in place is read where it waits.
  assert.deepEqual(await snapshotSequence(other, restored), bytes);
  assert.deepEqual(await feed(device, other, restored, 4, { attend: true }), wanted);
  other.truncate(restored, 12);
  assert.deepEqual(await feed(device, other, restored, 4, { attend: true }), wanted);
  assert.deepEqual(other.stats().spans.map(({ count, tokens }) => ({ count, tokens })), [
    { count: 2, tokens: 230 },
    { count: 1, tokens: 70 },
  ]);
  other.truncate(restored, 5);
  assert.deepEqual(other.stats().spans.map(({ count }) => count), [1, 0]);
  other.destroy();
  cache.destroy();
});

Deno.test("a restored span is put in place by whichever step runs, and by a fork", async () => {
  const first = await gridCache(device, OPTIONS);
  const sequence = await filled(first);
  const bytes = await snapshotSequence(first, sequence);
  const wanted = await feed(device, first, sequence, 2, { attend: true });
  first.destroy();

  // Another, whose pages do not hold the span by chance.
  const cache = await gridCache(device, OPTIONS);
  const restored = await restoreSequence(cache, bytes);
  // A step that was recorded into an encoder nobody submits, and given up.
  const step = cache.beginStep([{ sequence: restored, tokens: 1 }]);
  const vectors = { buffer: uploadBuffer(device, new Float32Array(2 * 64)) };
  cache.encodeAppend(device.createCommandEncoder(), step, 0, { keys: vectors, values: vectors });
  cache.truncate(restored, 12);
  const encoder = device.createCommandEncoder();
  const fork = cache.encodeFork(encoder, restored);
  device.queue.submit([encoder.finish()]);
  assert.deepEqual(await feed(device, cache, fork, 2, { attend: true }), wanted);
  assert.deepEqual(await feed(device, cache, restored, 2, { attend: true }), wanted);
  assert.equal(cache.stats().spans[0]!.count, 1);
  cache.freeSequence(restored);
  assert.equal(cache.stats().spans[0]!.count, 1);
  cache.freeSequence(fork);
  assert.equal(cache.stats().spans[0]!.count, 0);
  cache.destroy();
});

Deno.test("restoreSequence() refuses spans that do not fit, and takes nothing", async () => {
  const cache = await gridCache(device, OPTIONS);
  const bytes = await snapshotSequence(cache, await filled(cache));
  const { image, text } = KINDS;
  const shorter = { ...text!, tokens: 69 };
  for (
    const kinds of [
      { image: { ...image!, tokens: 149 }, text: text! },
      { image: image!, text: shorter },
      { image: image! },
    ]
  ) {
    const other = await gridCache(device, { ...OPTIONS, spans: spanKinds(kinds) });
    const before = other.stats();
    await assert.rejects(restoreSequence(other, bytes), CoupletError);
    assert.deepEqual(other.stats(), before);
    other.destroy();
  }
  cache.destroy();
});

Deno.test("spanObstacle() finds spans of no kind, behind the tokens or out of order", () => {
  const options = resolveOptions(OPTIONS);
  const image = (place: number) => ({ name: "image", tokens: 10, place });
  for (const spans of [[], [image(0), image(0)], [image(3), { ...image(7), name: "text" }]]) {
    assert.equal(spanObstacle(options, spans, 7), undefined);
  }
  const wrong: [number, Parameters<typeof spanObstacle>[1]][] = [
    [0, [{ ...image(0), name: "sound" }]],
    [0, [image(8)]],
    [1, [image(3), image(8)]],
    [1, [image(3), image(2)]],
    [2, [image(1), image(4), image(3)]],
  ];
  for (const [index, spans] of wrong) {
    assert.match(spanObstacle(options, spans, 7)!, new RegExp(`its span ${index} is`));
  }
});
