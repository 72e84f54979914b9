import assert from "node:assert/strict";
import { compareAttention } from "../../src/tuning/compare.ts";
import type { Stopwatch } from "../../src/tuning/stopwatch.ts";

/** A candidate whose attention takes `milliseconds`; its kernels' name, and workgroups. */
interface Simulated {
  readonly name: string;
  readonly milliseconds: number;
}

/** A pass that only counts the time that is recorded into it. */
interface SimulatedPass {
  milliseconds: number;
}

/** A device that takes as long as candidates say, times `slowdown` of the sample, and what was done on it. */
function simulate(slowdown: (sample: number) => number = () => 1, least = 5) {
  const alive = new Set<string>();
  const samples = new Map<string, number>();
  let count = 0;
  const stopwatch: Stopwatch = {
    clock: "timestamps",
    least,
    time(record) {
      const pass: SimulatedPass = { milliseconds: 0 };
      record(pass as unknown as GPUComputePassEncoder);
      return Promise.resolve(pass.milliseconds * slowdown(count++));
    },
    destroy() {},
  };
  const prepare = ({ name, milliseconds }: Simulated) => {
    alive.add(name);
    return Promise.resolve({
      record(pass: unknown, times: number) {
        (pass as SimulatedPass).milliseconds += times * milliseconds;
        samples.set(name, (samples.get(name) ?? 0) + 1);
      },
      destroy: () => void alive.delete(name),
    });
  };
  return { stopwatch, prepare, alive, samples };
}

/** Times by name. */
function named(times: Readonly<Record<string, number>>): Simulated[] {
  return Object.entries(times).map(([name, milliseconds]) => ({ name, milliseconds }));
}

/** What is found, fastest first. */
interface Case {
  readonly what: string;
  readonly times: Readonly<Record<string, number>>;
  /** Other splits of a candidate, by its name. */
  readonly splits?: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly slowdown?: (sample: number) => number;
  readonly found: readonly string[];
}

const CASES: readonly Case[] = [
  {
    what: "orders candidates by their times",
    times: { table: 7, plain: 9, lut: 6 },
    found: ["lut", "table", "plain"],
  },
  {
    what: "finds that the second becomes the first by other splits",
    times: { table: 6, plain: 7 },
    splits: { table: { "table 16": 6.5 }, plain: { "plain 16": 5, "plain 64": 5.5 } },
    found: ["plain 16", "plain 64", "table", "table 16", "plain"],
  },
  {
    what: "cuts only the best two in other ways",
    times: { table: 6, plain: 7, lut: 8 },
    splits: { lut: { "lut 16": 1 } },
    found: ["table", "plain", "lut"],
  },
  {
    what: "is not misled by a device that slows down while it measures",
    times: { table: 6, plain: 7, lut: 8 },
    splits: { table: { "table 16": 5 }, plain: { "plain 16": 6.5 } },
    // The last rounds take three times as long as the first.
    slowdown: (sample) => sample < 12 ? 1 : 3,
    found: ["table 16", "table", "plain 16", "plain", "lut"],
  },
];

for (const { what, times, splits = {}, slowdown, found } of CASES) {
  Deno.test(`compareAttention() ${what}`, async () => {
    const { stopwatch, prepare, alive } = simulate(slowdown);
    const compared = await compareAttention({
      stopwatch,
      candidates: named(times),
      prepare,
      otherSplits: ({ name }) => named(splits[name] ?? {}),
      budget: 1,
    });
    assert.deepEqual(compared.map(({ candidate }) => candidate.name), found);
    for (const { candidate, milliseconds } of compared) {
      const ratio = milliseconds / candidate.milliseconds;
      assert.ok(Math.abs(ratio - 1) < 1e-9 || Math.abs(ratio - 3) < 1e-9, `${ratio}`);
    }
    assert.equal(alive.size, 0, "every run is destroyed");
  });
}

Deno.test("compareAttention() repeats what is too short for the clock, and gives the time of one", async () => {
  const { stopwatch, prepare } = simulate();
  const [fastest] = await compareAttention({
    stopwatch,
    candidates: named({ short: 0.01, long: 0.015 }),
    prepare,
    otherSplits: () => [],
    budget: 1,
  });
  assert.equal(fastest!.candidate.name, "short");
  assert.ok(Math.abs(fastest!.milliseconds - 0.01) < 1e-9, String(fastest!.milliseconds));
});

Deno.test("compareAttention() measures what takes twice as long as the best only once", async () => {
  const { stopwatch, prepare, samples } = simulate();
  await compareAttention({
    stopwatch,
    candidates: named({ best: 10, near: 19, slow: 21 }),
    prepare,
    otherSplits: () => [],
    budget: 1,
  });
  // Each ran once before.
  assert.equal(samples.get("slow"), 2);
  assert.ok(samples.get("near")! >= 4, String(samples.get("near")));
  assert.equal(samples.get("best"), samples.get("near"));
});

Deno.test("compareAttention() refuses a clock that stands still", async () => {
  const { stopwatch, prepare, alive } = simulate(() => 0);
  await assert.rejects(
    compareAttention({
      stopwatch,
      candidates: named({ any: 1 }),
      prepare,
      otherSplits: () => [],
      budget: 1,
    }),
    /1024 attentions take no time/,
  );
  assert.equal(alive.size, 0);
});

Deno.test("compareAttention() destroys every run where another split cannot be prepared", async () => {
  const { stopwatch, prepare, alive } = simulate();
  await assert.rejects(
    compareAttention({
      stopwatch,
      candidates: named({ first: 6, second: 7 }),
      prepare: (candidate) =>
        candidate.name === "broken" ? Promise.reject(new Error("no room")) : prepare(candidate),
      otherSplits: () => named({ other: 5, broken: 5 }),
      budget: 1,
    }),
    /no room/,
  );
  assert.equal(alive.size, 0);
});
