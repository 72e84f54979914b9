import assert from "node:assert/strict";
import { parseArguments } from "../../bench/arguments.ts";
import { PUBLISHED, readCounts } from "../../bench/count/results.ts";
import { agrees } from "../../bench/gpu/oracle.ts";
import { formatGpu, formatGpuSummary, rooflinePoints } from "../../bench/gpu/page.ts";
import { measureProbes, PROBES } from "../../bench/gpu/probes.ts";
import { adapterFolder, type GpuBench, readReported } from "../../bench/gpu/results.ts";
import { requestTestDevice } from "../../tools/adapter.ts";

function row(scheme: string, milliseconds: number, kernels: string[]) {
  return {
    model: "Llama-3.1-8B",
    context: 1024,
    batch: 1,
    keys: scheme,
    values: scheme,
    space: "as-scored" as const,
    kernels: [...kernels, "combine_d128"],
    layers: 1,
    repeats: 1,
    bytes: { records: 2e6, codebooks: 0, tensors: 0 },
    samples: [milliseconds, milliseconds, milliseconds],
  };
}

const BENCH: GpuBench = {
  format: "couplet-bench-gpu",
  version: 1,
  attention: {
    format: "couplet-bench-attention",
    version: 1,
    environment: {
      adapter: { name: "a <GPU>", kind: "hardware", f16: true },
      driver: null,
      features: [],
      limits: { maxBufferSize: 2 ** 28, maxStorageBufferBindingSize: 2 ** 27 },
      os: "linux x86_64",
      processors: 2,
      deno: "2.9.0",
      commit: null,
      modified: false,
      date: "2026-01-01T00:00:00.000Z",
    },
    clock: { method: "timestamps" },
    bandwidth: [1e11],
    command: "gpu",
    rows: [
      row("f16", 2, ["attend_f16_f16_d128_plain"]),
      row("c8b8", 1, ["score_c8b8_d128_plain", "mix_c8b8_d128"]),
      row("c4b8", 1, ["score_c4b8_d128_plain", "mix_c16b12_d128"]),
    ],
    refused: [],
    seconds: 1,
  },
  probes: PROBES.map((what) => ({ what, samples: [1e12] })),
  oracle: {
    headDim: 128,
    runnable: 4,
    kernels: [
      { kernel: "right", error: 1e-6, tolerance: 2e-5 },
      { kernel: "wrong", error: 1, tolerance: 2e-5 },
      { kernel: "refused", failure: "the <driver> refuses it" },
    ],
  },
};

Deno.test("adapterFolder() is a name that every file system takes", () => {
  assert.equal(adapterFolder({ name: "llvmpipe (LLVM 15.0.6)", kind: "llvmpipe" }), "llvmpipe");
  assert.equal(
    adapterFolder({ name: "AMD Radeon RX 6800 XT (RADV NAVI21)", kind: "hardware" }),
    "amd_radeon_rx_6800_xt",
  );
  assert.equal(adapterFolder({ name: "../../..", kind: "hardware" }), "unknown");
});

Deno.test("rooflinePoints() places rows all of whose kernels are counted, by the sum of their instructions", async () => {
  const counts = await readCounts(PUBLISHED);
  const of = (name: string) => counts.counts.find(({ kernel }) => kernel === name)!.instructions;
  const points = rooflinePoints(BENCH, counts);
  const instructions = 8 * 1024 * (of("score_c8b8_d128_plain") + of("mix_c8b8_d128"));
  assert.deepEqual(points.map(({ name }) => name), ["f16, as-scored", "c8b8, as-scored"]);
  assert.deepEqual(points[1], {
    name: "c8b8, as-scored",
    intensity: instructions / 2e6,
    rate: instructions / 1e-3,
  });
});

Deno.test("formatGpu() says which kernels are wrong, and that some were not reached", async () => {
  const page = await formatGpu(BENCH, await readCounts(PUBLISHED));
  assert.match(page, /<h2>Roofline<\/h2>/);
  assert.match(page, /3 of the 4 kernels .* 1 agree\. There was no time for the others\./);
  assert.match(page, /the &lt;driver&gt; refuses it/);
  assert.deepEqual(BENCH.oracle.kernels.map(agrees), [true, false, false]);
  assert.match(formatGpuSummary(BENCH), /WRONG: wrong: 1\nWRONG: refused: the <driver> refuses it/);
});

Deno.test("readReported() reads what the suites wrote, and refuses other files", async () => {
  const file = await Deno.makeTempFile();
  try {
    for (const bench of [BENCH, BENCH.attention]) {
      await Deno.writeTextFile(file, JSON.stringify(bench));
      assert.deepEqual(await readReported(file), bench);
    }
    await Deno.writeTextFile(file, JSON.stringify({ ...BENCH, probes: [], oracle: {} }));
    await assert.rejects(() => readReported(file), /Give a file that/);
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("measureProbes() counts the operations of every probe in a given time", async () => {
  const device = await requestTestDevice();
  // Every sample takes a second, whatever the device did.
  const clock = { method: "wall clock" as const, time: () => Promise.resolve(1000) };
  const found = await measureProbes(device, clock, 0);
  assert.deepEqual(found.map(({ what }) => what), [...PROBES]);
  for (const { samples } of found) assert.ok(samples.every((rate) => rate === 64 * 1024 * 256));
  device.destroy();
});

Deno.test("bench gpu takes ten minutes for 1k to 128k tokens where nothing else is said", () => {
  const parsed = parseArguments(["gpu"]);
  assert.ok("command" in parsed && parsed.command.suite === "gpu");
  const { choice, folder } = parsed.command;
  assert.equal(choice.minutes, 10);
  assert.deepEqual([choice.contexts[0], choice.contexts.at(-1)], [1024, 131072]);
  assert.equal(choice.model.name, "Llama-3.1-8B");
  assert.equal(folder, "bench/results");
});
