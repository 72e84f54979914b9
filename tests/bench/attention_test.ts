import assert from "node:assert/strict";
import { CoupletError } from "@couplet/kv";
import { parseArguments } from "../../bench/arguments.ts";
import { chooseRows, measureAttention, rowKernels } from "../../bench/attention/attention.ts";
import {
  type AttentionBench,
  attentionPanels,
  type AttentionRow,
  formatAttentionBench,
  parseAttentionBench,
} from "../../bench/attention/results.ts";
import { movedBytes, planRow, withTuning } from "../../bench/attention/rows.ts";
import { formatAttentionTables } from "../../bench/attention/table.ts";
import { assertNarrow, NARROW } from "../helpers/width.ts";
import { modelKeys, MODELS, modelShape } from "../../bench/measure/models.ts";
import { profileOf } from "../../bench/attention/profile_row.ts";
import { attentionModel } from "../../bench/onnx/model.ts";
import { formatReport } from "../../bench/report/report.ts";
import { BASE_LIMITS, type KernelTime, type TuningRecord } from "../../mod.ts";
import { layerKind, tunedShape } from "../../src/plan/tuning_record.ts";
import { VERSION } from "../../src/base/version.ts";
import { rejects } from "../helpers/refusals.ts";

const BASE = { limits: BASE_LIMITS, features: new Set<string>() };

function row(
  context: number,
  scheme: string,
  space: AttentionRow["space"],
  samples: number[],
): AttentionRow {
  return {
    model: "Llama-3.1-8B",
    context,
    batch: 1,
    keys: scheme,
    values: scheme,
    space,
    kernels: [`attend_${scheme}`],
    layers: 1,
    repeats: 2,
    bytes: { records: 1e6, codebooks: 0, tensors: 0 },
    samples,
  };
}

const BENCH: AttentionBench = {
  format: "couplet-bench-attention",
  version: 1,
  environment: {
    adapter: { name: "an <adapter>", kind: "llvmpipe", f16: true },
    driver: null,
    features: ["timestamp-query"],
    limits: { maxBufferSize: 2 ** 28, maxStorageBufferBindingSize: 2 ** 27 },
    os: "linux x86_64",
    processors: 2,
    deno: "2.9.0",
    commit: "0123abc",
    modified: true,
    date: "2026-01-01T00:00:00.000Z",
  },
  clock: { method: "wall clock", reason: "the adapter has no timestamp queries" },
  bandwidth: [1e10, 2e10, 3e10],
  command: "attention --quick",
  rows: [512, 1024, 2048, 4096].flatMap((context) => [
    // As scored, f16 is the faster; at 512 tokens, by chance, the slower.
    row(context, "f16", "as-scored", [context === 512 ? 3 : context / 512, context / 512, 4000]),
    row(context, "f16", "pre-rope", [context / 256, context / 256, context / 256]),
    row(context, "c8b8", "as-scored", [1, context / 1024, context / 1024 + 1]),
    row(context, "c4b8", "as-scored", [context ** 2 / 1e5, context ** 2 / 1e5, context ** 2 / 1e5]),
  ]),
  refused: [{
    model: "Llama-3.1-8B",
    context: 131072,
    batch: 16,
    keys: "f16",
    values: "f16",
    space: "as-scored",
    why: "no <room>",
  }],
  seconds: 12.5,
};

// From the files' fields, not from the table: config.json of each repository.
for (
  const [name, config] of [
    ["SmolLM2-135M", { hidden_size: 576, heads: 9, kv: 3, layers: 30, positions: 8192 }],
    [
      "Qwen3-0.6B",
      { hidden_size: 1024, head_dim: 128, heads: 16, kv: 8, layers: 28, positions: 40960 },
    ],
    [
      "Gemma-3-1B",
      { hidden_size: 1152, head_dim: 256, heads: 4, kv: 1, layers: 26, positions: 32768 },
    ],
    ["Llama-3.2-1B", { hidden_size: 2048, heads: 32, kv: 8, layers: 16, positions: 131072 }],
    [
      "Phi-4-mini",
      { hidden_size: 3072, heads: 24, kv: 8, layers: 32, rotary: 0.75, positions: 131072 },
    ],
    [
      "Qwen3-4B",
      { hidden_size: 2560, head_dim: 128, heads: 32, kv: 8, layers: 36, positions: 40960 },
    ],
    ["Llama-3.1-8B", { hidden_size: 4096, heads: 32, kv: 8, layers: 32, positions: 131072 }],
  ] as const
) {
  Deno.test(`MODELS: ${name} has the shape its config.json gives`, () => {
    const model = MODELS.find((model) => model.name === name)!;
    const headDim = "head_dim" in config ? config.head_dim : config.hidden_size / config.heads;
    const { layers, queryHeads, keyValueHeads, rotaryDim, positions } = model;
    assert.deepEqual(
      { layers, queryHeads, keyValueHeads, headDim: model.headDim, rotaryDim, positions },
      {
        layers: config.layers,
        queryHeads: config.heads,
        keyValueHeads: config.kv,
        headDim,
        rotaryDim: headDim * ("rotary" in config ? config.rotary : 1),
        positions: config.positions,
      },
    );
  });
}

Deno.test("MODELS: every shape can be planned with every default scheme, in both spaces", () => {
  const parsed = parseArguments([]);
  assert.ok("command" in parsed && parsed.command.suite === "attention");
  const { choice } = parsed.command;
  assert.equal(choice.models.length, 7);
  assert.deepEqual([choice.contexts[0], choice.contexts.at(-1)], [512, 131072]);
  for (const model of choice.models) {
    for (const own of chooseRows(choice)) {
      const place = { model, context: 8192, batch: 4 };
      const { plan } = planRow(place, own, BASE, false);
      assert.equal(plan.options.shape.headDim, model.headDim);
    }
  }
});

Deno.test("planRow: layers are as many as outgrow caches, and no more than the model has", () => {
  const model = MODELS.find(({ name }) => name === "Llama-3.1-8B")!;
  const pair = { id: "f16", keys: "f16", values: "f16" } as const;
  const layers = (context: number, cold: boolean) =>
    planRow(
      { model, context, batch: 1 },
      { pair, space: "as-scored" },
      BASE,
      cold,
    ).plan.options.shape.layers;
  // 4 KiB a token.
  assert.equal(layers(4096, true), 8);
  assert.equal(layers(65536, true), 1);
  assert.equal(layers(512, true), 32);
  assert.equal(layers(4096, false), 1);
});

for (
  const [scheme, records, codebooks] of [
    // 1000 tokens of 2 sides, 8 heads, 128 channels.
    ["f16", 1000 * 2 * 8 * 128 * 2, 0],
    ["c8b8", 1000 * 2 * 8 * 128 / 8, 2 * 8 * 128 * (256 + 4)],
    ["c4b8", 1000 * 2 * 8 * 128 / 4, 2 * 8 * 128 * (256 + 4)],
  ] as const
) {
  Deno.test(`movedBytes: ${scheme} moves its records and its codebooks once`, () => {
    const model = MODELS.find(({ name }) => name === "Llama-3.1-8B")!;
    const pair = { id: scheme, keys: scheme, values: scheme };
    const { plan } = planRow(
      { model, context: 1000, batch: 2 },
      { pair, space: "as-scored" },
      BASE,
      false,
    );
    assert.deepEqual(movedBytes(plan, 1000, 2), {
      records: 2 * records,
      codebooks,
      tensors: 2 * 32 * 128 * 4 * 2,
    });
  });
}

/** A place, and its row of c8b8 planned by estimates. */
const PLACE = { model: MODELS.find(({ name }) => name === "Qwen3-0.6B")!, context: 8192, batch: 2 };
const ESTIMATED = planRow(
  PLACE,
  { pair: { id: "c8b8", keys: "c8b8", values: "c8b8" }, space: "as-scored" },
  BASE,
  true,
);

Deno.test("rowKernels: what the planner estimated, and how it is cut", () => {
  assert.deepEqual(rowKernels(ESTIMATED, PLACE), {
    kernels: ["table_c8b8_d128_table16", "attend_c8b8_c8b8_d128_table16", "combine_d128"],
    span: 8,
    workgroups: 256,
    // 16 tiles, and one of sinks and one of recent tokens at most; 16 blocks of queries.
    splits: 16,
  });
});

Deno.test("withTuning, rowKernels: every layer has the record's choice, and the row says so", () => {
  const candidates = [
    { kernels: ["attend_c8b8_c8b8_d128_plain"], span: 4, workgroups: 64, milliseconds: 2 },
    { kernels: ["attend_c8b8_c8b8_d128_plain"], span: 8, workgroups: 256, milliseconds: 3 },
  ];
  const kind = layerKind(ESTIMATED.plan.options.layers[0]!);
  const step = { sequences: 1, context: 8192, tokens: 1, candidates };
  const record: TuningRecord = {
    version: VERSION,
    adapter: { vendor: "", architecture: "", device: "", description: "" },
    shape: tunedShape(ESTIMATED.plan.options),
    clock: "timestamps",
    attention: [{ ...kind, way: "decode", ...step }, { ...kind, way: "prefill", ...step }],
  };
  const row = withTuning(ESTIMATED, record);
  assert.equal(row.plan.layers.length, ESTIMATED.plan.layers.length);
  for (const { decode } of row.plan.layers) {
    assert.deepEqual([decode.attend!.name, decode.span], [candidates[0]!.kernels[0], 4]);
  }
  assert.deepEqual(rowKernels(row, PLACE), {
    kernels: ["attend_c8b8_c8b8_d128_plain", "combine_d128"],
    span: 4,
    workgroups: 64,
    splits: 4,
    tuning: { sequences: 1, candidates },
  });
});

Deno.test("profileOf: medians by kernel, of one attention, longest first", () => {
  const round = (attend: number, combine: number): KernelTime[] => [
    { kernel: "attend", family: "attend", dispatches: 4, nanoseconds: attend },
    { kernel: "combine", family: "combine", dispatches: 4, nanoseconds: combine },
  ];
  assert.deepEqual(profileOf([round(8e6, 1e6), round(1e6, 4e6), round(4e6, 12e6)], 4), [
    { kernel: "attend", milliseconds: 1 },
    { kernel: "combine", milliseconds: 1 },
  ]);
  assert.deepEqual(profileOf([round(1e6, 2e6)], 1).map(({ kernel }) => kernel), [
    "combine",
    "attend",
  ]);
});

Deno.test("measureAttention refuses to profile on a device without timestamps", async () => {
  const parsed = parseArguments(["--profile"]);
  assert.ok("command" in parsed && parsed.command.suite === "attention");
  assert.ok(parsed.command.choice.profile && !parsed.command.choice.tune);
  const device = { features: new Set() } as unknown as GPUDevice;
  await rejects(measureAttention(device, parsed.command.choice, ""), "device");
});

Deno.test("modelKeys, modelShape: a partial rotary embedding reaches the plan", () => {
  const model = MODELS.find(({ name }) => name === "Phi-4-mini")!;
  const keys = modelKeys(model, "pre-rope");
  assert.equal(keys.space === "pre-rope" && keys.rope.rotaryDim, 96);
  assert.deepEqual(modelKeys(model, "as-scored"), { space: "as-scored" });
  assert.equal(modelShape(model, 3).layers, 3);
});

Deno.test("attentionPanels: ratios are to the fastest f16 row, rounds paired", () => {
  const panels = attentionPanels(BENCH);
  assert.deepEqual(panels.map(({ space }) => space), ["as-scored", "pre-rope"]);
  const [scored] = panels;
  const c8b8 = scored!.series.find(({ name }) => name === "c8b8")!;
  assert.equal(c8b8.bits, 1);
  // 4096 tokens: f16 takes 8, 8 and 4000 ms, c8b8 1, 4 and 5 ms.
  assert.equal(c8b8.figures.at(-1)!.speedup.median, 8);
  assert.equal(c8b8.breakEven, 512);
  // At 512 tokens, f16 pre-rope takes 2 ms and f16 as scored 3.
  assert.deepEqual(c8b8.figures[0]!.speedup.median, 2);
  const c4b8 = scored!.series.find(({ name }) => name === "c4b8")!;
  assert.equal(c4b8.breakEven, null);
  assert.equal(c4b8.linearity!.growth, "faster");
  // 1e6 bytes in 5.24 ms, where the copy kernel moves 2e10 bytes a second.
  const share = 1e6 / (1024 ** 2 / 1e5 / 1000) / 2e10;
  assert.ok(Math.abs(c4b8.figures[1]!.share / share - 1) < 1e-12);
});

Deno.test("attentionPanels refuses rows without a baseline", () => {
  const rows = BENCH.rows.filter(({ keys }) => keys !== "f16");
  assert.throws(() => attentionPanels({ ...BENCH, rows }), RangeError);
});

/** The same figures, tuned and profiled, with CPU times. */
const DETAILED: AttentionBench = {
  ...BENCH,
  rows: BENCH.rows.map((row) => ({
    ...row,
    span: 8,
    workgroups: 64,
    splits: 3,
    cpuSamples: row.samples.map((time) => row.keys === "f16" ? 2 * time : 8 * time),
    tuning: {
      sequences: 1,
      candidates: [
        { kernels: ["table_a", "attend_b"], span: 8, workgroups: 64, milliseconds: 1 },
        { kernels: ["attend_c"], span: 4, workgroups: 256, milliseconds: 2 },
      ],
    },
    profile: [
      { kernel: "attend_b", milliseconds: 0.75 },
      { kernel: "combine_d128", milliseconds: 0.25 },
    ],
  })),
};

for (const [name, bench] of [["estimated", BENCH], ["tuned and profiled", DETAILED]] as const) {
  Deno.test(`parseAttentionBench is the inverse of formatAttentionBench, ${name}`, () => {
    assert.deepEqual(parseAttentionBench(formatAttentionBench(bench)), bench);
  });
}

for (
  const [name, text] of [
    ["no JSON", "{"],
    ["another format", '{"format":"couplet-eval"}'],
    ["a model that is unknown", formatAttentionBench(BENCH).replace("Llama-3.1-8B", "Llama")],
    [
      "a time that is none",
      formatAttentionBench(BENCH).replace(/"samples": \[\s*3/, '"samples": [-3'),
    ],
  ] as const
) {
  Deno.test(`parseAttentionBench refuses ${name}`, () => {
    assert.throws(
      () => parseAttentionBench(text),
      (error) => error instanceof CoupletError && error.code === "file",
    );
  });
}

Deno.test("formatAttentionTables: figures, conclusions, refusals and the kind of adapter", () => {
  const text = formatAttentionTables(BENCH, 1000);
  assert.match(text, /software \(llvmpipe\)/);
  assert.match(text, /c8b8: faster than f16 from 512 tokens on/);
  assert.match(text, /c4b8: not faster than f16; time per token RISES by/);
  assert.match(text, /refused: Llama-3.1-8B, 131072 tokens, batch 16: no <room>/);
  assert.doesNotMatch(text, /NaN|undefined|Infinity/);
});

Deno.test("formatAttentionTables: what tuning chose, and the time by kernel, where there is any", () => {
  const text = formatAttentionTables(DETAILED, 1000);
  assert.match(text, /c8b8 +512 \| table_a \+ attend_b +512 +64 \(3\) +2/);
  assert.match(text, /c8b8 +512 \| +attend_b +0\.750 +75%/);
  assert.match(text, /c8b8 +512 \| combine_d128 +0\.250 +25%/);
  assert.doesNotMatch(text, /NaN|undefined|Infinity/);
  assert.doesNotMatch(formatAttentionTables(BENCH), /tuning|time by kernel/);
});

Deno.test("attentionPanels, formatAttentionTables: CPU times and their own ratio, where there are any", () => {
  const figures = (bench: AttentionBench) =>
    attentionPanels(bench)[0]!.series.find(({ name }) => name === "c8b8")!.figures[0]!;
  assert.equal(figures(BENCH).cpu, undefined);
  // At 512 tokens f16 takes 2 ms and twice that of the CPU, c8b8 1, 0.5 and 1.5 ms and eight times that.
  const { cpu } = figures(DETAILED);
  assert.deepEqual([cpu!.time.median, cpu!.speedup.median], [8, 0.5]);
  assert.match(formatAttentionTables(DETAILED, 1000), /cpu ms, x f16 +the same by CPU time/);
  assert.doesNotMatch(formatAttentionTables(BENCH, 1000), /cpu/);
});

Deno.test("formatAttentionTables fits 80 columns, and loses no figure", () => {
  const narrow = formatAttentionTables(DETAILED, NARROW);
  assertNarrow(narrow);
  const figures = (text: string) => new Set(text.match(/\d+\.\d+%?/g));
  assert.deepEqual(
    [...figures(formatAttentionTables(DETAILED, 1000))].filter((one) => !figures(narrow).has(one)),
    [],
  );
});

Deno.test("formatReport: what tuning chose, and the time by kernel, where there is any", async () => {
  const html = await formatReport(DETAILED);
  assert.match(html, /<td>512<\/td><td>64 \(3\)<\/td><td>tuning, of 2<\/td>/);
  assert.match(html, /<td>attend_b<\/td><td>0\.750<\/td><td>75<\/td>/);
  assert.doesNotMatch(html, /NaN|undefined|Infinity|\[object/);
  const plain = await formatReport(BENCH);
  assert.match(plain, /<td>–<\/td><td>–<\/td><td>estimate<\/td>/);
  assert.doesNotMatch(plain, /Time by kernel/);
});

Deno.test("formatReport: one page with a plot for each panel, and nothing from elsewhere", async () => {
  const html = await formatReport(BENCH);
  assert.equal(html.match(/<figure>\s*<svg/g)?.length, 2);
  assert.doesNotMatch(html, /<script|<link|@import|url\((?!#)|src=/);
  assert.doesNotMatch(html.replaceAll("http://www.w3.org/", ""), /https?:\/\//);
  assert.match(html, /an &lt;adapter&gt;, a software adapter/);
  assert.match(html, /no &lt;room&gt;/);
  assert.doesNotMatch(html, /NaN|undefined|Infinity|\[object/);
  assert.match(html, /c8b8 is faster than f16 from 512 tokens on/);
  assert.doesNotMatch(html, /c4b8 is faster/);
  const figures = html.slice(html.indexOf("All figures")).match(/<tr><th scope="row">/g);
  assert.equal(figures?.length, BENCH.rows.length);
});

Deno.test("formatReport: what was never faster has no ring", async () => {
  const rows = BENCH.rows.filter(({ keys }) => keys !== "c8b8");
  assert.doesNotMatch(await formatReport({ ...BENCH, rows }), /is faster than f16 from/);
});

Deno.test("parseArguments: without a suite's name it is attention, and lists are read", () => {
  const parsed = parseArguments(
    "--quick --models Phi-4-mini --contexts 64,128 --schemes c4b8/c8b8 --space as-scored".split(
      " ",
    ),
  );
  assert.ok("command" in parsed && parsed.command.suite === "attention");
  const { choice, files } = parsed.command;
  assert.deepEqual(choice.models.map(({ name }) => name), ["Phi-4-mini"]);
  assert.deepEqual(choice.contexts, [64, 128]);
  assert.deepEqual(choice.batches, [1]);
  assert.deepEqual(files, {});
  assert.deepEqual(
    chooseRows(choice).map(({ pair, space }) => `${pair.id} ${space}`),
    ["f16 as-scored", "c4b8/c8b8 as-scored"],
  );
});

for (
  const [line, words] of [
    ["--models GPT-5", /Choices are .*Llama-3.1-8B/],
    ["attention --contexts 1", /integer from 2/],
    ["attention --seconds 0", /positive/],
    ["attention --schemes c9x", /c9x/],
    ["report", /file/],
    ["atention", /atention|too many arguments/],
    ["encode --chunk 1", /integer from 2/],
  ] as const
) {
  Deno.test(`parseArguments refuses "${line}"`, () => {
    assert.throws(
      () => parseArguments(line.split(" ")),
      (error) => error instanceof CoupletError && words.test(error.message),
    );
  });
}

Deno.test("parseArguments: help names the suites, and a suite's own its options", () => {
  const help = (line: string) => {
    const parsed = parseArguments(line.split(" "));
    return "help" in parsed ? parsed.help : "";
  };
  for (const suite of ["attention", "encode", "prefill", "kmeans", "host", "onnx", "bandwidth"]) {
    assert.match(help("--help"), new RegExp(`^ {2}${suite} `, "m"));
  }
  assert.match(help("attention --help"), /--quick/);
});

Deno.test("attentionModel: one GroupQueryAttention node between the named tensors", () => {
  const bytes = attentionModel({
    queryHeads: 9,
    keyValueHeads: 3,
    headDim: 64,
    context: 512,
    type: "float16",
  });
  const text = new TextDecoder("latin1").decode(bytes);
  for (const name of ["query", "past_key", "seqlens_k", "present_value", "com.microsoft"]) {
    assert.ok(text.includes(name), name);
  }
  assert.equal(text.match(/GroupQueryAttention/g)?.length, 1);
  // ir_version 8, then the graph.
  assert.deepEqual([...bytes.subarray(0, 3)], [0x08, 8, 0x3a]);
});
