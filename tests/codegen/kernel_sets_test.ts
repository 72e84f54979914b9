import assert from "node:assert/strict";
import { expandTable } from "../../codegen/rows/expand.ts";
import { kernelSets, setPath } from "../../codegen/write/kernel_sets.ts";
import { kernelEntries, withKernelEntries } from "../../codegen/write/package_entries.ts";
import { TABLE } from "../../codegen/package_table.ts";
import {
  CoupletError,
  type KernelInfo,
  parseKernelName,
  parseScheme,
  planCache,
  type PlanOptions,
  type SchemeId,
  spanKinds,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { kernels as c4b8 } from "../../generated/c4b8/c4b8_d64.ts";
import { kernels as c8b8 } from "../../generated/c8b8/c8b8_d64.ts";

const ROOT = new URL("../../", import.meta.url);
const sets = kernelSets(expandTable(TABLE));
const entries = sets.filter((set) => set.isEntry);

/** A set's kernels, by the entry that a program imports them from. */
async function loadSet(name: string): Promise<readonly KernelInfo[]> {
  const file = new URL(kernelEntries(sets)[`./kernels/${name}`]!, ROOT);
  const { kernels }: { kernels: readonly KernelInfo[] } = await import(file.href);
  return kernels;
}

function isForSpans(id: string): boolean {
  return parseScheme(id).forSpans === true;
}

function options(
  keys: SchemeId,
  values: SchemeId,
  headDim: number,
  kernels: readonly KernelInfo[],
): PlanOptions {
  return {
    shape: { layers: 1, queryHeads: 8, keyValueHeads: 2, headDim },
    ...(isForSpans(keys)
      ? {
        policy: { keys: "f16", values: "f16" },
        spans: spanKinds({ image: { keys, values, tokens: 576, count: 1 } }),
      }
      : { policy: { keys, values } }),
    keys: { space: "as-scored" },
    tiers: { sinks: 4, window: 64 },
    capacity: {
      sequences: 1,
      tokens: 4096,
      sequenceTokens: 4096,
      stepTokens: 64,
      appendTokens: 64,
    },
    kernels,
  };
}

function names(kernels: readonly KernelInfo[]): string[] {
  return kernels.map(({ name }) => name);
}

Deno.test("each kernel is one set's own, and the manifest has each once, by name", () => {
  const own = sets.flatMap(({ rows }) => rows.map(({ name }) => name)).sort();
  assert.deepEqual(names(manifest), own);
  assert.equal(new Set(own).size, own.length);
});

Deno.test("a set alone plans its schemes as all kernels of its head dimension do, in either space of keys", async () => {
  // Planning parses the name of every row it is given, and rows of other sizes never fit.
  const headDims = new Map(manifest.map((kernel) => [kernel, parseKernelName(kernel.name).size]));
  for (const { name, rows } of entries) {
    if (name === "kmeans") continue;
    const { schemes, size } = parseKernelName(
      rows.find(({ template }) => template !== "copy")!.name,
    );
    const [keys, values = keys] = schemes;
    const beside = isForSpans(keys!) ? await loadSet(`f16_d${size}`) : [];
    const kernels = [...await loadSet(name), ...beside];
    const all = manifest.filter((kernel) => [undefined, size].includes(headDims.get(kernel)));
    for (
      const space of [
        { space: "as-scored" },
        { space: "pre-rope", rope: { layout: "half", theta: 10000 } },
      ] as const
    ) {
      // Spans have no positions.
      if (isForSpans(keys!) && space.space === "pre-rope") continue;
      const plan = (kernels: readonly KernelInfo[]) =>
        planCache({ ...options(keys!, values!, size!, kernels), keys: space }).describe();
      assert.equal(plan(kernels), plan(all), `${name}, ${space.space}`);
    }
  }
});

Deno.test("a set holds its own schemes' kernels at its own head dimension, and those every cache needs", async () => {
  for (const { name } of entries) {
    for (const { name: kernel } of await loadSet(name)) {
      const { family, schemes, size } = parseKernelName(kernel);
      if (name === "kmeans") {
        assert.ok(family.startsWith("kmeans"), kernel);
        continue;
      }
      const parts = name.split("_");
      assert.ok(size === undefined || parts.at(-1) === `d${size}`, `${kernel} in ${name}`);
      assert.ok(schemes.every((scheme) => parts.includes(scheme)), `${kernel} in ${name}`);
    }
  }
});

Deno.test("planCache() takes sets together, whose common kernels come twice", () => {
  const twice = [...c4b8, ...c8b8];
  assert.ok(new Set(names(twice)).size < twice.length);
  const once = manifest.filter((kernel) => twice.includes(kernel));
  const plan = (kernels: readonly KernelInfo[]) =>
    planCache(options("c4b8", "c8b8", 64, kernels)).describe();
  assert.equal(plan(twice), plan(once));
});

Deno.test("planCache() names the set that has the kernels it lacks", () => {
  const lacking: readonly [string, PlanOptions][] = [
    ["@couplet/kv/kernels/c4b8_d64", options("c4b8", "c8b8", 64, c8b8)],
    ["@couplet/kv/kernels/c8b8_d128", options("c8b8", "c8b8", 128, c8b8)],
    ["@couplet/kv/kernels/c8b8_d64", options("c8b8", "c8b8", 64, [])],
    [
      "@couplet/kv/kernels/f16_d64",
      options("c8b8", "c8b8", 64, c8b8.filter(({ name }) => name !== "combine_d64")),
    ],
  ];
  for (const [entry, planOptions] of lacking) {
    assert.throws(() => planCache(planOptions), (error) => {
      assert.ok(error instanceof CoupletError && error.code === "kernel", String(error));
      assert.ok(error.message.includes(`"${entry}"`), error.message);
      return true;
    });
  }
});

Deno.test("deno.json exports the manifest and every set, and nothing else of kernels", () => {
  const config = Deno.readTextFileSync(new URL("deno.json", ROOT));
  assert.equal(withKernelEntries(config, sets), config);
});

Deno.test("withKernelEntries() replaces the entries for kernels and keeps the others", () => {
  const config = '{"exports":{".":"./a.ts","./kernels/old":"./b.ts","./kernelsize":"./c.ts"}}';
  const { exports } = JSON.parse(withKernelEntries(config, entries.slice(0, 1)));
  const [{ name }] = entries as [typeof entries[0]];
  assert.deepEqual(exports, {
    ".": "./a.ts",
    "./kernelsize": "./c.ts",
    "./kernels": "./generated/manifest.ts",
    [`./kernels/${name}`]: `./generated/${setPath(name)}`,
  });
});

Deno.test("kernelSets() refuses a pair whose schemes have no kernels of their own", () => {
  const alone = { keys: "c4b8", values: "c8b8", headDims: [64], reason: "none" } as const;
  assert.throws(
    () =>
      kernelSets(
        expandTable({ sizes: [], pairs: [alone], anchored: [], mrope: [], ladder: [], kmeans: [] }),
      ),
    (error) =>
      error instanceof CoupletError && error.message.includes("holds the kernels of c8b8_d64"),
  );
});
