import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type Cache,
  type CacheOptions,
  CoupletError,
  createCache,
  inspectSnapshot,
  planCache,
  readSafetensors,
  restoreSequence,
  type Sequence,
  type Side,
  SIDES,
  snapshotSequence,
  writeSafetensors,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { seededRandom } from "../../src/base/random.ts";
import { decodeSnapshot, encodeSnapshot, type SnapshotContent } from "../../src/snapshots/file.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { readBuffer } from "../../tools/read_buffer.ts";
import { deviceRecords, uploadBuffer } from "../helpers/cache_oracle.ts";
import { gridCodebooks } from "../helpers/grid_numbers.ts";
import { feed, gridCache, occupancy } from "../helpers/snapshots.ts";
import { rejects } from "../helpers/refusals.ts";

const device = await requestTestDevice();

/** Mixed schemes, among them records of eight tokens and of two, and pages that a sequence fills in part. */
const mixed: CacheOptions = {
  shape: { layers: 2, queryHeads: 4, keyValueHeads: 2, headDim: 80 },
  policy: { keys: "c8b10", values: "c2b10", layers: { 1: { keys: "f16", values: "c4b8" } } },
  keys: { space: "pre-rope", rope: { layout: "half", theta: 10000 } },
  tiers: { sinks: 3, window: 10 },
  capacity: { sequences: 3, tokens: 512, sequenceTokens: 300, stepTokens: 80, appendTokens: 70 },
};

const tiny: CacheOptions = {
  shape: { layers: 1, queryHeads: 1, keyValueHeads: 1, headDim: 64 },
  policy: { keys: "c8b8", values: "c8b8" },
  keys: { space: "as-scored" },
  tiers: { sinks: 1, window: 1 },
  capacity: { sequences: 2, tokens: 128, sequenceTokens: 128, stepTokens: 8, appendTokens: 4 },
};

/** Appends and rollbacks: positive numbers append, negative ones take back. */
const moves = fc.array(
  fc.oneof(fc.integer({ min: 1, max: 70 }), fc.integer({ min: -100, max: -1 })),
  { minLength: 1, maxLength: 5 },
);

async function play(cache: Cache, sequence: Sequence, list: readonly number[]): Promise<void> {
  let seed = 1;
  for (const move of list) {
    const length = cache.length(sequence);
    if (move > 0) {
      const tokens = Math.min(move, cache.plan.options.capacity.sequenceTokens - 8 - length);
      if (tokens > 0) await feed(device, cache, sequence, tokens, { seed: seed++ });
    } else {
      cache.truncate(sequence, Math.max(0, length + move));
    }
  }
}

async function checkRoundTrips(options: CacheOptions, numRuns: number): Promise<void> {
  const source = await gridCache(device, options);
  const same = await gridCache(device, options);
  const capacity = {
    sequences: 5,
    tokens: 2048,
    sequenceTokens: 700,
    stepTokens: 100,
    appendTokens: 90,
  };
  const larger = await gridCache(device, { ...options, capacity });
  await fc.assert(
    fc.asyncProperty(moves, fc.integer({ min: 1, max: 70 }), async (list, filler) => {
      const alive: [Cache, Sequence][] = [];
      const keep = (cache: Cache, sequence: Sequence) => {
        alive.push([cache, sequence]);
        return sequence;
      };
      try {
        const original = keep(source, source.createSequence());
        await play(source, original, list);
        const bytes = await snapshotSequence(source, original);
        // The last one grows, and the original with it.
        for (const cache of [larger, same]) {
          // Moves slots and pages out of their order.
          const before = cache.createSequence();
          keep(cache, cache.createSequence());
          await feed(device, cache, before, filler, { step: 50 });
          cache.freeSequence(before);
          const restored = keep(cache, await restoreSequence(cache, bytes));
          assert.equal(cache.length(restored), source.length(original));
          assert.equal(cache.codedTokens(restored), source.codedTokens(original));
          assert.deepEqual(await snapshotSequence(cache, restored), bytes);
          if (cache === larger) continue;
          const wanted = await feed(device, source, original, 5, { seed: 9, attend: true });
          const found = await feed(device, same, restored, 5, { seed: 9, attend: true });
          assert.deepEqual(found, wanted);
          const length = source.length(original) - 4;
          source.truncate(original, length);
          same.truncate(restored, length);
          assert.deepEqual(
            await snapshotSequence(same, restored),
            await snapshotSequence(source, original),
          );
        }
      } finally {
        for (const [cache, sequence] of alive) cache.freeSequence(sequence);
      }
      for (const cache of [source, larger, same]) {
        const { pages } = cache.stats();
        assert.equal(pages.free, pages.total);
      }
    }),
    { seed: 3, numRuns },
  );
  for (const cache of [source, same, larger]) cache.destroy();
}

Deno.test("restoreSequence gives what snapshotSequence took, bit for bit, wherever pages lie", async () => {
  await checkRoundTrips(mixed, 6);
});

/** Tiers at their ends. */
const TIERS: Readonly<Record<string, CacheOptions["tiers"]>> = {
  "codes alone": { sinks: 0, window: 0 },
  "sinks alone": { sinks: 80, window: 0 },
  "a window without sinks": { sinks: 0, window: 20 },
  "a window beyond the sequence": { sinks: 2, window: 400 },
};

for (const [name, tiers] of Object.entries(TIERS)) {
  Deno.test(`restoreSequence gives what snapshotSequence took with ${name}`, async () => {
    await checkRoundTrips({ ...tiny, capacity: mixed.capacity, tiers }, 4);
  });
}

Deno.test("restoreSequence takes a snapshot into a cache of smaller steps, and decoding goes on alike", async () => {
  const source = await gridCache(device, mixed);
  const capacity = { ...mixed.capacity, appendTokens: 2 };
  const smaller = await gridCache(device, { ...mixed, capacity });
  const original = source.createSequence();
  await feed(device, source, original, 90, { step: 70 });
  const bytes = await snapshotSequence(source, original);
  const restored = await restoreSequence(smaller, bytes);
  assert.equal((await inspectSnapshot(bytes)).exactFrom, 10);
  assert.equal((await inspectSnapshot(await snapshotSequence(smaller, restored))).exactFrom, 78);
  await feed(device, source, original, 20, { seed: 5 });
  await feed(device, smaller, restored, 20, { seed: 5, step: 1 });
  for (const layer of [0, 1]) {
    for (const side of ["keys", "values"] as const) {
      assert.deepEqual(
        await deviceRecords(device, smaller, restored, layer, side),
        await deviceRecords(device, source, original, layer, side),
      );
    }
  }
  const [wanted] = await feed(device, source, original, 1, { seed: 6, attend: true });
  const [found] = await feed(device, smaller, restored, 1, { seed: 6, attend: true });
  found!.forEach((value, i) => assert.ok(Math.abs(value - wanted![i]!) < 1e-4));
  source.destroy();
  smaller.destroy();
});

/** Everything that a sequence holds of one side of a layer from a position on, as encodeRead() gives it. */
async function readFrom(
  cache: Cache,
  sequence: Sequence,
  layer: number,
  side: Side,
  first: number,
): Promise<Float32Array> {
  const { keyValueHeads, headDim } = cache.plan.options.layers[layer]!;
  const count = cache.length(sequence) - first;
  const numbers = count * keyValueHeads * headDim;
  const buffer = uploadBuffer(device, new Float32Array(numbers));
  const encoder = device.createCommandEncoder();
  cache.encodeRead(encoder, sequence, layer, { side, first, count, output: { buffer } });
  device.queue.submit([encoder.finish()]);
  const found = new Float32Array(await readBuffer(device, buffer));
  buffer.destroy();
  return found;
}

for (const [from, to] of [[100, 10], [10, 100], [50, 51]] as const) {
  Deno.test(`restoreSequence takes a sliding window's snapshot from a cache of steps of ${from} into one of ${to}, wherever pages were given up`, async () => {
    const sliding = (appendTokens: number): CacheOptions => ({
      shape: { layers: 2, queryHeads: 2, keyValueHeads: 2, headDim: 64, slidingWindow: [0, 48] },
      policy: { keys: "c8b10", values: "c4b8" },
      keys: { space: "as-scored" },
      tiers: { sinks: 2, window: 9 },
      capacity: {
        sequences: 2,
        tokens: 1200,
        sequenceTokens: 600,
        stepTokens: 100,
        appendTokens,
      },
    });
    const [source, target] = [
      await gridCache(device, sliding(from)),
      await gridCache(device, sliding(to)),
    ];
    const original = source.createSequence();
    const firsts = new Set<string>();
    for (let fed = 61; fed < 400; fed += 61) {
      await feed(device, source, original, 61, { step: Math.min(from, 61) });
      const bytes = await snapshotSequence(source, original);
      const restored = await restoreSequence(target, bytes);
      // Whatever is in both, a snapshot of the restored one gives on.
      const again = await restoreSequence(target, await snapshotSequence(target, restored));
      for (const layer of [0, 1]) {
        const pages = [source.pages(original, layer), target.pages(restored, layer)];
        if (layer === 1) firsts.add(pages.map(({ first }) => first).join());
        const first = 2 + Math.max(...pages.map(({ first }) => first)) * 64;
        for (const side of SIDES) {
          const wanted = await readFrom(source, original, layer, side, first);
          assert.deepEqual(await readFrom(target, restored, layer, side, first), wanted);
          assert.deepEqual(await readFrom(target, again, layer, side, first), wanted);
        }
      }
      for (const sequence of [restored, again]) target.freeSequence(sequence);
    }
    assert.ok(firsts.size > 1, "pages were given up");
    if (from > to) {
      assert.ok(
        [...firsts].some((one) => new Set(one.split(",")).size > 1),
        "and some by one alone",
      );
    }
    const restored = await restoreSequence(target, await snapshotSequence(source, original));
    const step = Math.min(from, to);
    await feed(device, source, original, 20, { seed: 5, step });
    await feed(device, target, restored, 20, { seed: 5, step });
    const wanted = await feed(device, source, original, 1, { seed: 6, attend: true });
    const found = await feed(device, target, restored, 1, { seed: 6, attend: true });
    found.forEach((layer, i) =>
      layer.forEach((value, j) => assert.ok(Math.abs(value - wanted[i]![j]!) < 1e-4))
    );
    source.destroy();
    target.destroy();
  });
}

Deno.test("snapshotSequence gives the same bytes however the tokens were split into steps", async () => {
  const cache = await gridCache(device, mixed);
  const snapshots: Uint8Array[] = [];
  for (const step of [1, 7, 70]) {
    const sequence = cache.createSequence();
    await feed(device, cache, sequence, 90, { step });
    snapshots.push(await snapshotSequence(cache, sequence));
  }
  assert.deepEqual(snapshots[1], snapshots[0]);
  assert.deepEqual(snapshots[2], snapshots[0]);
  cache.destroy();
});

Deno.test("snapshotSequence copies before it returns: later steps, and the cache's end, change nothing", async () => {
  const cache = await gridCache(device, mixed);
  const sequence = cache.createSequence();
  await feed(device, cache, sequence, 100, { step: 50 });
  const wanted = await snapshotSequence(cache, sequence);
  const pending = snapshotSequence(cache, sequence);
  cache.truncate(sequence, 20);
  await feed(device, cache, sequence, 60, { seed: 7 });
  const last = snapshotSequence(cache, sequence);
  cache.destroy();
  assert.deepEqual(await pending, wanted);
  assert.equal((await inspectSnapshot(await last)).length, 80);
});

Deno.test("snapshotSequence holds the words of coded tokens and the exact vectors, and no more", async () => {
  const cache = await gridCache(device, mixed);
  const sequence = cache.createSequence();
  assert.equal((await inspectSnapshot(await snapshotSequence(cache, sequence))).length, 0);
  await feed(device, cache, sequence, 63);
  cache.truncate(sequence, 62);
  const bytes = await snapshotSequence(cache, sequence);
  const { tensors } = readSafetensors(bytes);
  const shape = (name: string) => tensors.get(name)?.shape;
  const coded = 62 - 3 - 10;
  // Eight tokens of 80 / 8 codes of 10 bits fill 25 words, and two of 80 / 2 such codes.
  assert.deepEqual(shape("layers.0.keys.codes"), [2, Math.ceil(coded / 8) * 25]);
  assert.deepEqual(shape("layers.0.values.codes"), [2, Math.ceil(coded / 2) * 25]);
  assert.deepEqual(shape("layers.1.keys.codes"), [2, coded * 40]);
  assert.deepEqual(shape("layers.0.keys.exact"), [62, 2, 80]);
  const [head] = await deviceRecords(device, cache, sequence, 0, "keys");
  const { data } = tensors.get("layers.0.keys.codes")!;
  const words = new Uint32Array(data.slice().buffer).subarray(0, 7 * 25);
  // The last record holds one token, 100 bits, whatever a token rolled back had left behind.
  assert.deepEqual(words.slice(0, 6 * 25 + 3), head!.slice(0, 6 * 25 + 3));
  assert.equal(words[6 * 25 + 3], head![6 * 25 + 3]! & 0xf);
  assert.ok(words.subarray(6 * 25 + 4).every((word) => word === 0));
  assert.ok(head!.subarray(6 * 25 + 4).some((word) => word !== 0));
  cache.destroy();
});

Deno.test("restoreSequence refuses a snapshot with any byte changed, cut or added, and changes nothing", async () => {
  const cache = await gridCache(device, tiny);
  const sequence = cache.createSequence();
  await feed(device, cache, sequence, 6, { step: 4 });
  const bytes = await snapshotSequence(cache, sequence);
  const before = occupancy(cache);
  const refuses = async (damaged: Uint8Array, what: string) => {
    const error = await restoreSequence(cache, damaged).then(() => undefined, (error) => error);
    assert.ok(error instanceof CoupletError, `${what}: ${error}`);
    assert.ok(["file", "snapshot"].includes(error.code), `${what}: ${error.code}`);
  };
  const random = seededRandom(11);
  for (let at = 0; at < bytes.length; at++) {
    const damaged = bytes.slice();
    damaged[at]! ^= 1 + Math.floor(random.next() * 255);
    await refuses(damaged, `byte ${at}`);
  }
  for (let length = 0; length < bytes.length; length += 7) {
    await refuses(bytes.slice(0, length), `the first ${length} bytes`);
  }
  await refuses(new Uint8Array([...bytes, 0]), "a byte more");
  await refuses(new Uint8Array([0, ...bytes]), "a byte in front");
  assert.deepEqual(occupancy(cache), before);
  // At an odd offset of a larger buffer it is still the same snapshot.
  const shifted = new Uint8Array([0, ...bytes]).subarray(1);
  const restored = await restoreSequence(cache, shifted);
  assert.deepEqual(await snapshotSequence(cache, restored), bytes);
  cache.destroy();
});

/** Ways in which a whole file, with the right checksum, can still be no snapshot that a cache wrote. */
const FORGERIES: Readonly<Record<string, (content: SnapshotContent) => SnapshotContent>> = {
  "exact from behind its end": (content) => ({
    ...content,
    info: { ...content.info, exactFrom: 7 },
  }),
  "of another length": (content) => ({ ...content, info: { ...content.info, length: 5 } }),
  "of a length beyond all numbers": (content) => ({
    ...content,
    info: { ...content.info, length: 2 ** 60 },
  }),
  "exact from elsewhere": (content) => ({ ...content, info: { ...content.info, exactFrom: 5 } }),
  "without a tensor": ({ info, tensors }) => ({ info, tensors: new Map([...tensors].slice(1)) }),
  "with a tensor more": ({ info, tensors }) => ({
    info,
    tensors: new Map([...tensors, ["more", [...tensors.values()][0]!]]),
  }),
  "of another dtype": ({ info, tensors }) => ({
    info,
    tensors: new Map([...tensors].map(([name, tensor]) => [
      name,
      { ...tensor, dtype: tensor.dtype === "U32" ? "I32" : tensor.dtype },
    ])),
  }),
  "coded from beyond its coded tokens": (content) => ({
    ...content,
    info: { ...content.info, codedFrom: [128] },
  }),
  "coded from the middle of a tile": (content) => ({
    ...content,
    info: { ...content.info, codedFrom: [64] },
  }),
  "coded from two places": (content) => ({
    ...content,
    info: { ...content.info, codedFrom: [0, 0] },
  }),
  "with a false plan fingerprint": (content) => ({
    ...content,
    info: { ...content.info, planFingerprint: "0" },
  }),
};

Deno.test("restoreSequence refuses whole files that no cache wrote, and changes nothing", async (t) => {
  // Behind a sliding window, so that coded tokens may begin later.
  const cache = await gridCache(device, { ...tiny, shape: { ...tiny.shape, slidingWindow: 20 } });
  const sequence = cache.createSequence();
  await feed(device, cache, sequence, 6, { step: 4 });
  const bytes = await snapshotSequence(cache, sequence);
  const before = occupancy(cache);
  for (const [name, forge] of Object.entries(FORGERIES)) {
    await t.step(`restoreSequence refuses a file ${name}`, async () => {
      const forged = await encodeSnapshot(forge(await decodeSnapshot(bytes)));
      await rejects(restoreSequence(cache, forged), "file");
    });
  }
  const { metadata, tensors } = readSafetensors(bytes);
  const next = writeSafetensors({ metadata: { ...metadata, version: "4" }, tensors });
  await rejects(restoreSequence(cache, next), "snapshot");
  const other = writeSafetensors({ metadata: { ...metadata, format: "other" }, tensors });
  await rejects(restoreSequence(cache, other), "file");
  assert.deepEqual(occupancy(cache), before);
  cache.destroy();
});

Deno.test("restoreSequence refuses snapshots of another model, plan or set of codebooks, and says which", async (t) => {
  const source = await gridCache(device, tiny);
  const sequence = source.createSequence();
  await feed(device, source, sequence, 6, { step: 4 });
  const bytes = await snapshotSequence(source, sequence);
  const model = { name: "other", digest: "other" };
  const codebooks = { ...gridCodebooks(tiny, seededRandom(1), true), model };
  const cases: Record<string, { cache: Promise<Cache>; why: RegExp }> = {
    model: { cache: gridCache(device, tiny, { model, codebooks }), why: /grid.*other/ },
    codebooks: { cache: gridCache(device, tiny, { seed: 2 }), why: /codebooks/ },
    policy: {
      cache: gridCache(device, { ...tiny, policy: { keys: "c8b8", values: "c4b8" } }),
      why: /policy/,
    },
    tiers: { cache: gridCache(device, { ...tiny, tiers: { sinks: 2, window: 1 } }), why: /tiers/ },
    shape: {
      cache: gridCache(device, { ...tiny, shape: { ...tiny.shape, queryHeads: 2 } }),
      why: /queryHeads/,
    },
    "sliding window": {
      cache: gridCache(device, { ...tiny, shape: { ...tiny.shape, slidingWindow: 5 } }),
      why: /shape|attention/,
    },
    "set of learned sinks": {
      cache: gridCache(device, tiny, { sinkLogits: new Float32Array(1) }),
      why: /codebooks or learned sinks/,
    },
    softcap: { cache: gridCache(device, { ...tiny, softcap: 30 }), why: /attention/ },
    space: {
      cache: gridCache(device, {
        ...tiny,
        keys: { space: "pre-rope", rope: { layout: "half", theta: 10000 } },
      }),
      why: /keys/,
    },
  };
  for (const [name, { cache: creating, why }] of Object.entries(cases)) {
    await t.step(`restoreSequence refuses another ${name}`, async () => {
      const cache = await creating;
      const before = occupancy(cache);
      await assert.rejects(restoreSequence(cache, bytes), (error) => {
        assert.ok(error instanceof CoupletError);
        assert.equal(error.code, "snapshot");
        assert.match(error.parts.why, why);
        return true;
      });
      assert.deepEqual(occupancy(cache), before);
      cache.destroy();
    });
  }
  source.destroy();
});

Deno.test("restoreSequence refuses a file whose codes begin a token behind its coded tokens, and which has none", async () => {
  const cache = await gridCache(device, {
    ...tiny,
    shape: { ...tiny.shape, slidingWindow: 20 },
    // Records of two tokens, so that one token less than none is none.
    policy: { keys: "c8b10", values: "c8b10" },
    capacity: { ...tiny.capacity, tokens: 400, sequenceTokens: 200 },
  });
  const sequence = cache.createSequence();
  await feed(device, cache, sequence, 129, { step: 4 });
  assert.equal(cache.codedTokens(sequence), 127);
  const { info, tensors } = await decodeSnapshot(await snapshotSequence(cache, sequence));
  const forged = await encodeSnapshot({
    info: { ...info, codedFrom: [128] },
    tensors: new Map(
      [...tensors].map(([name, tensor]) => [
        name,
        tensor.dtype === "U32" ? { ...tensor, shape: [1, 0], data: new Uint8Array(0) } : tensor,
      ]),
    ),
  });
  const before = occupancy(cache);
  await rejects(restoreSequence(cache, forged), "file");
  assert.deepEqual(occupancy(cache), before);
  cache.destroy();
});

Deno.test("restoreSequence refuses a snapshot that names no model in a cache that has one, and the other way round", async () => {
  const uncompressed: CacheOptions = { ...tiny, policy: { keys: "f16", values: "f16" } };
  const plan = planCache({ ...uncompressed, kernels: manifest });
  const named = await createCache({ device, plan, model: { name: "own", digest: "own" } });
  const unnamed = await createCache({ device, plan });
  for (const [source, other] of [[named, unnamed], [unnamed, named]] as const) {
    const sequence = source.createSequence();
    await feed(device, source, sequence, 3);
    const bytes = await snapshotSequence(source, sequence);
    await rejects(restoreSequence(other, bytes), "snapshot");
    assert.equal(other.stats().sequences, other === named ? 1 : 0);
    await restoreSequence(source, bytes);
    source.freeSequence(sequence);
  }
  for (const cache of [named, unnamed]) cache.destroy();
});

Deno.test("createCache copies learned sinks: a host may change its own", async () => {
  const options: CacheOptions = { ...tiny, policy: { keys: "f16", values: "f16" } };
  const plan = planCache({ ...options, kernels: manifest });
  const given = Float32Array.of(1);
  const changed = await createCache({ device, plan, sinkLogits: given });
  given.fill(9);
  const same = await createCache({ device, plan, sinkLogits: Float32Array.of(1) });
  const sequences = [changed.createSequence(), same.createSequence()];
  const outputs = [
    await feed(device, changed, sequences[0]!, 3, { attend: true }),
    await feed(device, same, sequences[1]!, 3, { attend: true }),
  ];
  assert.deepEqual(outputs[0], outputs[1]);
  await restoreSequence(same, await snapshotSequence(changed, sequences[0]!));
  for (const cache of [changed, same]) cache.destroy();
});

Deno.test("restoreSequence reports capacity where sequences, pages or tokens do not suffice, and changes nothing", async () => {
  const source = await gridCache(device, tiny);
  const sequence = source.createSequence();
  await feed(device, source, sequence, 100, { step: 4 });
  const bytes = await snapshotSequence(source, sequence);

  const alive = await gridCache(device, tiny);
  alive.createSequence();
  alive.createSequence();
  const short = await gridCache(device, {
    ...tiny,
    capacity: { ...tiny.capacity, sequenceTokens: 99 },
  });
  const full = await gridCache(device, {
    ...tiny,
    capacity: { ...tiny.capacity, sequences: 3, tokens: 128 },
  });
  for (const _ of [1, 2]) {
    await feed(device, full, full.createSequence(), 128, { step: 4 });
  }
  for (const cache of [alive, short, full]) {
    const before = occupancy(cache);
    await rejects(restoreSequence(cache, bytes), "capacity");
    assert.deepEqual(occupancy(cache), before);
    cache.destroy();
  }
  source.destroy();
});

Deno.test("snapshotSequence refuses unknown options, and sequences that are freed, foreign or in the middle of a step", async () => {
  const cache = await gridCache(device, tiny);
  const sequence = cache.createSequence();
  await feed(device, cache, sequence, 3);
  cache.beginStep([{ sequence, tokens: 1 }]);
  await rejects(snapshotSequence(cache, sequence), "usage");
  cache.truncate(sequence, 3);
  assert.equal((await inspectSnapshot(await snapshotSequence(cache, sequence))).length, 3);
  const misspelt: object = { promt: "a key" };
  await rejects(snapshotSequence(cache, sequence, misspelt), "usage");
  cache.freeSequence(sequence);
  await rejects(snapshotSequence(cache, sequence), "usage");
  await rejects(snapshotSequence({ ...cache }, sequence), "usage");
  cache.destroy();
});

Deno.test("A snapshot outlives its device: restoreSequence continues it on another", async () => {
  const first = await requestTestDevice();
  const lost = await gridCache(first, tiny);
  const sequence = lost.createSequence();
  await feed(first, lost, sequence, 6, { step: 4 });
  const bytes = await snapshotSequence(lost, sequence);
  first.destroy();
  await rejects(snapshotSequence(lost, sequence), "lost");
  const before = occupancy(lost);
  await rejects(restoreSequence(lost, bytes), "lost");
  assert.deepEqual(occupancy(lost), before);

  const cache = await gridCache(device, tiny);
  const restored = await restoreSequence(cache, bytes);
  assert.deepEqual(await snapshotSequence(cache, restored), bytes);
  cache.destroy();
});

Deno.test("snapshotSequence gives a fork what it gives the original, also after a page was copied", async () => {
  const cache = await gridCache(device, tiny);
  const original = cache.createSequence();
  await feed(device, cache, original, 70, { step: 4 });
  const encoder = device.createCommandEncoder();
  const fork = cache.encodeFork(encoder, original);
  device.queue.submit([encoder.finish()]);
  assert.deepEqual(await snapshotSequence(cache, fork), await snapshotSequence(cache, original));
  for (const sequence of [original, fork]) await feed(device, cache, sequence, 3, { seed: 4 });
  assert.deepEqual(await snapshotSequence(cache, fork), await snapshotSequence(cache, original));
  cache.destroy();
});
