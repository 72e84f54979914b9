import assert from "node:assert/strict";
import { applyPatch } from "diff";
import {
  BASE_LIMITS,
  type KeyOptions,
  type KeySpace,
  parseKernelName,
  planCache,
  type PlanLimits,
  type SchemeId,
} from "../../mod.ts";
import type { KernelFacts } from "../../cli/kernel_facts.ts";
import { kernels } from "../../cli/kernels.ts";
import { readableWgsl } from "../../cli/readable_wgsl.ts";
import { candidateNames } from "../../src/plan/choose_attention.ts";
import { couplet, coupletJson } from "../helpers/cli.ts";

interface Row {
  readonly name: string;
}

const FILTERS: readonly {
  readonly args: string;
  readonly keeps: (name: string) => boolean;
}[] = [
  { args: "", keeps: () => true },
  { args: "attend_c8b8_*", keeps: (name) => name.startsWith("attend_c8b8_") },
  { args: "--family mix", keeps: (name) => name.startsWith("mix_") },
  { args: "--scheme c4b8", keeps: (name) => name.split("_").includes("c4b8") },
  { args: "--head-dim 80", keeps: (name) => /_d80(_|$)/.test(name) },
  {
    args: "*_rope --family score --scheme u8b8 --head-dim 64",
    keeps: (name) => name === "score_u8b8_d64_rope",
  },
];

for (const { args, keeps } of FILTERS) {
  Deno.test(`couplet kernels list ${args} gives what the filters keep`, async () => {
    const found = await coupletJson<Row[]>(["kernels", "list", ...args.split(" ").filter(Boolean)]);
    assert.deepEqual(
      found.map(({ name }) => name),
      kernels.map(({ name }) => name).filter(keeps),
    );
    assert.ok(found.length > 0);
  });
}

Deno.test("couplet kernels list prints one line a kernel, and their number", async () => {
  const { output } = await couplet(["kernels", "list", "combine_*"]);
  const lines = output.trimEnd().split("\n");
  const count = kernels.filter(({ name }) => name.startsWith("combine_")).length;
  assert.equal(lines.length, count + 2);
  assert.equal(lines.at(-1), `${count} of ${kernels.length} kernels`);
});

Deno.test("couplet kernels show tells of every kernel what it binds and needs", async () => {
  for (const { name, bindings, workgroupBytes } of kernels) {
    const facts = await coupletJson<KernelFacts>(["kernels", "show", name]);
    assert.deepEqual(facts.bindings.map((binding) => binding.name), bindings);
    assert.equal(facts.needs.maxComputeWorkgroupStorageSize, workgroupBytes);
    assert.equal(facts.records.length, parseKernelName(name).schemes.length);
    assert.ok(!/undefined|NaN/.test((await couplet(["kernels", "show", name])).output), name);
  }
});

const COSTS: readonly {
  readonly name: string;
  readonly traffic: readonly number[];
}[] = [
  // 16 codes of 8 bits for keys and for values.
  { name: "attend_c8b8_c8b8_d128_rope", traffic: [16, 16] },
  { name: "attend_c8b8_c8b8_d128_plain", traffic: [16, 16] },
  { name: "attend_c8b8_c8b8_d128_rope_f16", traffic: [16, 16] },
  // 64 channels in f16, and a score in f32.
  { name: "score_f16_d64_plain", traffic: [128, 4] },
  { name: "mix_c4b8_d64", traffic: [4, 16] },
  { name: "score_c4b8_d64_table", traffic: [16, 4] },
  { name: "table_c4b8_d64", traffic: [16 * 256 * 4] },
  { name: "encode_c4b8_d64", traffic: [128, 16] },
  { name: "store_d64", traffic: [128, 128] },
  { name: "load_d64", traffic: [128] },
  { name: "combine_d64", traffic: [] },
];

for (const { name, traffic } of COSTS) {
  Deno.test(`couplet kernels show ${name} gives its traffic`, async () => {
    const { cost } = await coupletJson<KernelFacts>(["kernels", "show", name]);
    assert.deepEqual(cost.traffic.map(({ bytes }) => bytes), traffic);
  });
}

Deno.test("couplet kernels show --wgsl prints the kernel's text alone", async () => {
  const kernel = kernels.find(({ name }) => name === "encode_c4b8_d64")!;
  const { output } = await couplet(["kernels", "show", kernel.name, "--wgsl"]);
  assert.equal(output.trim(), (await kernel.load()).wgsl.trim());
});

Deno.test("readableWgsl() gives every kernel of the package as the repository has it", async () => {
  const texts = await readableWgsl(kernels);
  for (const [index, kernel] of kernels.entries()) {
    assert.equal(texts[index], (await kernel.load()).wgsl.trimStart(), kernel.name);
  }
});

Deno.test("readableWgsl() gives a user's own kernel as it is, whatever its name", async () => {
  const own = { ...kernels[0]!, load: () => Promise.resolve({ wgsl: "\n// Mine\n" }) };
  assert.deepEqual(await readableWgsl([own]), ["// Mine\n"]);
});

interface Explained {
  readonly decode: readonly Candidate[];
  readonly prefill: readonly Candidate[];
}

interface Candidate {
  readonly kernels: readonly string[];
  readonly cost: number;
  readonly verdict: string;
  readonly why?: string;
}

const CHOICES: readonly {
  readonly keys: SchemeId;
  readonly values: SchemeId;
  readonly space: KeySpace;
  readonly limits?: Partial<PlanLimits>;
  readonly features?: readonly string[];
  /** Why one of the others is refused, where one must be. */
  readonly refusal?: RegExp;
}[] = [
  { keys: "c4b8", values: "c2b8", space: "pre-rope" },
  { keys: "c8b8", values: "c8b8", space: "anchored" },
  { keys: "c4b8", values: "c2b8", space: "anchored" },
  { keys: "c4b4", values: "c4b4", space: "as-scored" },
  { keys: "c4b8", values: "c4b8", space: "as-scored", refusal: /tables of q\.centroid would take/ },
  { keys: "c8b8", values: "c8b8", space: "pre-rope", refusal: /needs the feature/ },
  { keys: "c8b8", values: "c8b8", space: "pre-rope", features: ["shader-f16"] },
  {
    keys: "c8b8",
    values: "c8b8",
    space: "pre-rope",
    limits: { maxComputeWorkgroupStorageSize: 10000 },
    refusal: /bytes of workgroup memory/,
  },
];

for (const { keys, values, space, limits = {}, features = [], refusal } of CHOICES) {
  Deno.test(`couplet kernels explain agrees with the planner on ${keys}/${values} ${space} ${JSON.stringify(limits)} ${features}, ${refusal}`, async () => {
    const { decode, prefill } = await coupletJson<Explained>([
      ..."kernels explain --head-dim 64 --kv-heads 8 --query-heads 32 --tokens 4096".split(" "),
      ...["--keys", keys, "--values", values, "--space", space],
      ...Object.entries(limits).flatMap(([name, value]) => ["--limit", `${name}=${value}`]),
      ...features.flatMap((name) => ["--feature", name]),
    ]);
    const [layer] = planCache({
      shape: { layers: 1, queryHeads: 32, keyValueHeads: 8, headDim: 64 },
      policy: { keys, values },
      keys: space === "as-scored"
        ? { space }
        : { space, rope: { layout: "half", theta: 1 } } as KeyOptions,
      tiers: { sinks: 4, window: 64 },
      capacity: {
        sequences: 1,
        tokens: 4096,
        sequenceTokens: 4096,
        stepTokens: 64,
        appendTokens: 64,
      },
      kernels,
      limits: { ...BASE_LIMITS, ...limits },
      features: new Set(features),
    }).layers;
    for (
      const [candidates, chosen] of [[decode, layer!.decode], [prefill, layer!.prefill]] as const
    ) {
      const [taken, ...others] = candidates.filter(({ verdict }) => verdict === "chosen");
      assert.deepEqual(others, []);
      assert.deepEqual(taken!.kernels, candidateNames(chosen));
      for (const { verdict, cost, why } of candidates) {
        assert.equal(verdict === "refused", why !== undefined);
        if (verdict === "costs more") assert.ok(cost >= taken!.cost);
      }
      assert.ok(candidates.every(({ cost }, i) => i === 0 || cost >= candidates[i - 1]!.cost));
    }
    if (refusal !== undefined) assert.ok(prefill.some(({ why = "" }) => refusal.test(why)));
  });
}

Deno.test("couplet kernels explain says why nothing fits, and fails", async () => {
  const args = "kernels explain --head-dim 128 --scheme c8b8".split(" ");
  const { exitCode, output } = await couplet([
    ...args,
    "--limit",
    "maxComputeWorkgroupStorageSize=4096",
  ]);
  assert.equal(exitCode, 1);
  assert.match(
    output,
    /refused.*attend_c8b8_c8b8_d128_rope\n.*needs \d+ bytes of workgroup memory/,
  );
  assert.ok(!output.includes("chosen"));
});

Deno.test("couplet kernels diff gives a patch that makes one kernel of the other", async () => {
  const [from, to] = ["attend_c8b8_c8b8_d64_rope", "attend_c8b8_c8b8_d64_plain"] as const;
  const text = async (name: string) =>
    (await kernels.find((kernel) => kernel.name === name)!.load()).wgsl.trimStart();
  const { output } = await couplet(["kernels", "diff", from, to]);
  assert.equal(applyPatch(await text(from), output), await text(to));
  assert.match(output, new RegExp(`^--- ${from}`));
});

Deno.test("couplet kernels diff colours changes where the host has colours", async () => {
  const args = ["kernels", "diff", "store_d64", "store_d80"];
  const { output } = await couplet(args, { colour: true });
  assert.ok(output.includes("\x1b[31m-const HEAD_DIM: u32 = 64u;\x1b[0m"));
  assert.ok(output.includes("\x1b[32m+const HEAD_DIM: u32 = 80u;\x1b[0m"));
  assert.ok(!(await couplet(args)).output.includes("\x1b"));
});

Deno.test("couplet kernels diff says where two texts are the same", async () => {
  const { output } = await couplet(["kernels", "diff", "copy", "copy"]);
  assert.match(output, /same text/);
});
