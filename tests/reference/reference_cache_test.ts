import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type CodebookSet,
  CoupletError,
  parseScheme,
  type SchemeId,
  type Side,
} from "../../mod.ts";
import { centroidNumbers, roundToGrid } from "../../src/codebooks/grid.ts";
import { roundToFloat16 } from "../../src/base/float16.ts";
import { attend } from "../../src/reference/attention.ts";
import {
  createReferenceCache,
  type ReferenceCache,
  type ReferenceSequence,
} from "../../src/reference/reference_cache.ts";
import { layerKeys } from "../../src/plan/options.ts";
import type { ReferenceCacheOptions } from "../../src/plan/reference_options.ts";
import { close, naiveAttention, numbers } from "../helpers/reference.ts";
import { roundTrip } from "../../src/schemes/round_trip.ts";

const shape = { layers: 2, queryHeads: 4, keyValueHeads: 2, headDim: 8 };
const TOKENS = 23;
const KV = shape.keyValueHeads * shape.headDim;
const Q = shape.queryHeads * shape.headDim;

const codebooks: CodebookSet = {
  model: { name: "none", digest: "0" },
  keySpace: "pre-rope",
  provenance: { source: "random", tokens: 0, seed: 0, iterations: 0 },
  codebooks: [0, 1].flatMap((layer) =>
    (["keys", "values"] as const).flatMap((side, i) =>
      (["c4b8", "c2b5", "c8b10"] as const).map((scheme, j) => ({
        layer,
        side,
        scheme,
        keyValueHeads: shape.keyValueHeads,
        headDim: shape.headDim,
        ...roundToGrid(
          numbers(100 + 16 * layer + 4 * i + j, KV * parseScheme(scheme).centroids),
          scheme,
        ),
        ...(scheme === "c2b5" ? { scale: numbers(99, KV).map((x) => x + 2) } : {}),
      }))
    )
  ),
};

function options(more: Partial<ReferenceCacheOptions> = {}): ReferenceCacheOptions {
  return {
    shape,
    policy: { keys: "c4b8", values: "c2b5" },
    keys: { space: "pre-rope", rope: { layout: "half", theta: 100 } },
    tiers: { sinks: 2, window: 5 },
    capacity: { appendTokens: TOKENS },
    codebooks,
    ...more,
  };
}

/** The numbers of one sequence, by layer. */
function sequenceData(seed: number) {
  return Array.from({ length: shape.layers }, (_, layer) => ({
    keys: numbers(seed + 10 * layer + 1, TOKENS * KV),
    values: numbers(seed + 10 * layer + 2, TOKENS * KV),
    queries: numbers(seed + 10 * layer + 3, TOKENS * Q),
  }));
}

type SequenceData = ReturnType<typeof sequenceData>;

/** Feeds tokens `[from, to)` in one step; returns the outputs, by layer. */
function feed(
  cache: ReferenceCache,
  sequence: ReferenceSequence,
  data: SequenceData,
  from: number,
  to: number,
): number[][] {
  assert.equal(cache.length(sequence), from);
  const step = cache.beginStep([{ sequence, tokens: to - from }]);
  return data.map(({ keys, values, queries }, layer) => {
    cache.append(step, layer, {
      keys: keys.subarray(from * KV, to * KV),
      values: values.subarray(from * KV, to * KV),
    });
    return [...cache.attend(step, layer, { queries: queries.subarray(from * Q, to * Q) })];
  });
}

/** The outputs of all tokens, by layer, where the tokens come in steps that end at `ends`. */
function feedInSteps(
  cache: ReferenceCache,
  sequence: ReferenceSequence,
  data: SequenceData,
  ends: readonly number[],
): number[][] {
  const outputs: number[][] = data.map(() => []);
  for (const end of ends) {
    feed(cache, sequence, data, cache.length(sequence), end)
      .forEach((output, layer) => outputs[layer]!.push(...output));
  }
  return outputs;
}

Deno.test("ReferenceCache with f16 is dense attention on f16-rounded keys and values", () => {
  for (const tiers of [{ sinks: 0, window: 0 }, { sinks: 2, window: 5 }]) {
    const { codebooks: _, ...rest } = options({ policy: { keys: "f16", values: "f16" }, tiers });
    const cache = createReferenceCache({ ...rest, scale: 0.4, softcap: 3 });
    const data = sequenceData(1);
    const outputs = feedInSteps(cache, cache.createSequence(), data, [4, 5, TOKENS]);
    data.forEach(({ keys, values, queries }, layer) => {
      const expected = naiveAttention({
        ...shape,
        queries,
        firstPosition: 0,
        exact: { keys: keys.map(roundToFloat16), values: values.map(roundToFloat16) },
        keySpace: layerKeys(rest.keys, 0),
        scale: 0.4,
        softcap: 3,
      });
      close(outputs[layer]!, expected, 1e-6);
    });
  }
});

Deno.test("ReferenceCache with codes is attention on vectors coded and decoded by the scheme", () => {
  const given = options({
    policy: {
      keys: "c4b8",
      values: "c2b5",
      layers: { 1: { keys: "c8b10", values: "f16" } },
    },
  });
  const cache = createReferenceCache(given);
  const data = sequenceData(2);
  const outputs = feedInSteps(cache, cache.createSequence(), data, [1, 9, TOKENS]);
  data.forEach(({ keys, values, queries }, layer) => {
    const exact = { keys: keys.map(roundToFloat16), values: values.map(roundToFloat16) };
    const policy = given.policy.layers?.[layer] ?? given.policy;
    const coded = {
      keys: codedAndDecoded(exact.keys, layer, "keys", policy.keys),
      values: codedAndDecoded(exact.values, layer, "values", policy.values),
    };
    const expected = attend({
      ...shape,
      queries,
      firstPosition: 0,
      exact,
      coded,
      tiers: given.tiers,
      keySpace: layerKeys(given.keys, 0),
    });
    close(outputs[layer]!, expected.output, 1e-6);
    const withoutCodes = attend({
      ...shape,
      queries,
      firstPosition: 0,
      exact,
      keySpace: layerKeys(given.keys, 0),
    });
    const last = outputs[layer]!.length - 1;
    assert.notEqual(Math.fround(withoutCodes.output[last]!), outputs[layer]![last]);
  });
});

/** What the scheme makes of every vector, `[tokens][keyValueHeads][headDim]`. */
function codedAndDecoded(
  vectors: Float32Array,
  layer: number,
  side: Side,
  id: string,
): number[] {
  const scheme = parseScheme(id);
  const book = codebooks.codebooks.find((book) =>
    book.layer === layer && book.side === side && book.scheme === id
  );
  return Array.from({ length: TOKENS * shape.keyValueHeads }, (_, row) => {
    const head = row % shape.keyValueHeads;
    const perHead = shape.headDim * scheme.centroids;
    const centroids = book === undefined
      ? []
      : centroidNumbers(book).subarray(head * perHead, (head + 1) * perHead);
    const scale = book?.scale?.subarray(head * shape.headDim, (head + 1) * shape.headDim);
    const vector = vectors.subarray(row * shape.headDim, (row + 1) * shape.headDim);
    const codebook = { centroids, ...(scale === undefined ? {} : { scale }) };
    return [...roundTrip(scheme, [vector], codebook)[0]!];
  }).flat();
}

Deno.test("ReferenceCache: results do not depend on how tokens are split into steps", () => {
  fc.assert(
    fc.property(
      fc.record({ sinks: fc.nat(8), window: fc.nat(12) }),
      fc.uniqueArray(fc.integer({ min: 1, max: TOKENS - 1 }), { maxLength: TOKENS }),
      (tiers, cuts) => {
        const ends = [...cuts.toSorted((a, b) => a - b), TOKENS];
        const longest = Math.max(...ends.map((end, i) => end - (ends[i - 1] ?? 0)));
        const split = createReferenceCache(
          options({ tiers, capacity: { appendTokens: longest } }),
        );
        const whole = createReferenceCache(options({ tiers }));
        const data = sequenceData(3);
        assert.deepEqual(
          feedInSteps(split, split.createSequence(), data, ends),
          feedInSteps(whole, whole.createSequence(), data, [TOKENS]),
        );
      },
    ),
    { seed: 4, numRuns: 30 },
  );
});

Deno.test("ReferenceCache.truncate: what was taken back leaves no trace", () => {
  fc.assert(
    fc.property(
      fc.record({ sinks: fc.nat(4), window: fc.nat(6) }),
      fc.integer({ min: 1, max: TOKENS - 1 }),
      fc.integer({ min: 1, max: TOKENS }),
      (tiers, kept, appendTokens) => {
        const cache = createReferenceCache(options({ tiers, capacity: { appendTokens } }));
        const sequence = cache.createSequence();
        const data = sequenceData(5);
        const steps = (from: number, to: number): number[] =>
          Array.from({ length: to - from }, (_, i) => from + i + 1)
            .filter((end) => end === to || (end - from) % appendTokens === 0);
        const first = feedInSteps(cache, sequence, data, steps(0, kept));

        const wrong = sequenceData(6);
        feed(cache, sequence, wrong, kept, Math.min(TOKENS, kept + appendTokens));
        cache.truncate(sequence, kept);
        assert.equal(cache.length(sequence), kept);
        const rest = feedInSteps(cache, sequence, data, steps(kept, TOKENS));

        const fresh = createReferenceCache(options({ tiers }));
        const expected = feedInSteps(fresh, fresh.createSequence(), data, [TOKENS]);
        assert.deepEqual(first.map((output, layer) => [...output, ...rest[layer]!]), expected);
      },
    ),
    { seed: 6, numRuns: 60 },
  );
});

Deno.test("ReferenceCache.truncate beyond the kept exact tokens leaves the window to their codes", () => {
  const given = options({ capacity: { appendTokens: 2 } });
  const cache = createReferenceCache(given);
  const sequence = cache.createSequence();
  const data = sequenceData(7);
  const twoByTwo = [2, 4, 6, 8, 10, 12, 14, 16, 18, 20];
  feedInSteps(cache, sequence, data, twoByTwo);
  assert.throws(() => cache.truncate(sequence, 21), isError("usage"));
  assert.throws(() => cache.truncate(sequence, -1), isError("usage"));
  assert.equal(cache.length(sequence), 20);

  // Tokens from 20 - 5 - 2 on are held exactly, so that of a sequence of 12 only the sinks are.
  cache.truncate(sequence, 12);
  const outputs = feedInSteps(cache, sequence, data, [13, 15]);
  data.forEach(({ keys, values, queries }, layer) => {
    const rounded = { keys: keys.map(roundToFloat16), values: values.map(roundToFloat16) };
    const coded = {
      keys: codedAndDecoded(rounded.keys, layer, "keys", given.policy.keys),
      values: codedAndDecoded(rounded.values, layer, "values", given.policy.values),
    };
    const lost = (i: number) => i >= given.tiers.sinks * KV && i < 12 * KV;
    const expected = naiveAttention({
      ...shape,
      queries: queries.subarray(12 * Q, 15 * Q),
      firstPosition: 12,
      exact: {
        keys: rounded.keys.map((x, i) => lost(i) ? coded.keys[i]! : x),
        values: rounded.values.map((x, i) => lost(i) ? coded.values[i]! : x),
      },
      coded,
      tiers: given.tiers,
      keySpace: layerKeys(given.keys, 0),
    });
    close(outputs[layer]!, expected, 1e-6);
  });

  cache.truncate(sequence, 0);
  const fresh = createReferenceCache(options());
  const expected = feedInSteps(fresh, fresh.createSequence(), data, [20]);
  assert.deepEqual(feedInSteps(cache, sequence, data, twoByTwo), expected);
});

Deno.test("ReferenceCache: sequences of one step do not see each other", () => {
  const cache = createReferenceCache(options());
  const alone = createReferenceCache(options());
  const parts = [{ seed: 8, tokens: 7 }, { seed: 9, tokens: 13 }, { seed: 10, tokens: 1 }].map((
    part,
  ) => ({
    ...part,
    sequence: cache.createSequence(),
    data: sequenceData(part.seed),
    expected: feed(alone, alone.createSequence(), sequenceData(part.seed), 0, part.tokens),
  }));
  const step = cache.beginStep(parts);
  const join = (pick: (data: SequenceData[number]) => Float32Array, size: number, layer: number) =>
    Float32Array.from(
      parts.flatMap(({ data, tokens }) => [...pick(data[layer]!).subarray(0, tokens * size)]),
    );
  for (let layer = 0; layer < shape.layers; layer++) {
    cache.append(step, layer, {
      keys: join((data) => data.keys, KV, layer),
      values: join((data) => data.values, KV, layer),
    });
    const output = cache.attend(step, layer, { queries: join((data) => data.queries, Q, layer) });
    assert.deepEqual([...output], parts.flatMap(({ expected }) => expected[layer]!));
  }
});

Deno.test("ReferenceCache refuses calls out of order and leaves all as it was", () => {
  const cache = createReferenceCache(options({ capacity: { appendTokens: 4 } }));
  const sequence = cache.createSequence();
  const vectors = { keys: new Float32Array(2 * KV), values: new Float32Array(2 * KV) };
  const queries = new Float32Array(2 * Q);
  const twice = [{ sequence, tokens: 1 }, { sequence, tokens: 1 }];
  assert.throws(() => cache.beginStep(twice), isError("usage"));
  assert.throws(() => cache.beginStep([{ sequence, tokens: 5 }]), isError("capacity"));
  assert.throws(() => cache.beginStep([{ sequence, tokens: 0 }]), isError("capacity"));
  assert.equal(cache.length(sequence), 0);

  const step = cache.beginStep([{ sequence, tokens: 2 }]);
  assert.throws(() => cache.attend(step, 0, { queries }), isError("usage"));
  assert.throws(
    () => cache.append(step, 0, { ...vectors, keys: new Float32Array(KV) }),
    isError("shape"),
  );
  assert.throws(() => cache.append(step, 2, vectors), isError("usage"));
  cache.append(step, 0, vectors);
  assert.throws(() => cache.append(step, 0, vectors), isError("usage"));
  assert.throws(() => cache.attend(step, 0, { queries: new Float32Array(Q) }), isError("shape"));
  cache.attend(step, 0, { queries });

  const later = cache.beginStep([{ sequence, tokens: 2 }]);
  assert.throws(() => cache.append(later, 1, vectors), isError("usage"));
  cache.append(later, 0, vectors);
  const last = cache.beginStep([{ sequence, tokens: 2 }]);
  assert.throws(() => cache.append(last, 0, vectors), isError("usage"));
  cache.append(step, 1, vectors);
  cache.append(last, 0, vectors);
  assert.throws(() => cache.truncate(sequence, 3), isError("usage"));
  cache.truncate(sequence, 2);
  assert.throws(() => cache.append(later, 1, vectors), isError("usage"));
  cache.freeSequence(sequence);
  assert.throws(() => cache.attend(later, 0, { queries }), isError("usage"));
  assert.throws(() => cache.length(sequence), isError("usage"));
});

Deno.test("createReferenceCache refuses options that do not fit together", () => {
  const { codebooks: _, ...none } = options();
  assert.throws(() => createReferenceCache(none), isError("codebook"));
  const asScored = options({ keys: { space: "as-scored" } });
  assert.throws(() => createReferenceCache(asScored), isError("codebook"));
  const otherModel = options({ model: { name: "another", digest: "1" } });
  assert.throws(() => createReferenceCache(otherModel), isError("codebook"));
  const missing = options({ policy: { keys: "c4b4", values: "f16" } });
  assert.throws(() => createReferenceCache(missing), isError("codebook"));
  const unknown = options({ policy: { keys: "c3b8" as SchemeId, values: "f16" } });
  assert.throws(() => createReferenceCache(unknown), isError("scheme"));
  const foreign = options({ shape: { ...shape, headDim: 16 } });
  assert.throws(() => createReferenceCache(foreign), isError("codebook"));
  const heads = options({ shape: { ...shape, queryHeads: 3 } });
  assert.throws(() => createReferenceCache(heads), isError("shape"));
  const undividable = options({ shape: { ...shape, headDim: 6 } });
  assert.throws(() => createReferenceCache(undividable), isError("shape"));
  for (const tiers of [{ sinks: -1, window: 0 }, { sinks: 0, window: 1.5 }]) {
    assert.throws(() => createReferenceCache(options({ tiers })), isError("shape"));
  }
  const appendTokens = options({ capacity: { appendTokens: 0 } });
  assert.throws(() => createReferenceCache(appendTokens), isError("shape"));
});

function isError(code: string): (error: unknown) => boolean {
  return (error) => error instanceof CoupletError && error.code === code;
}
