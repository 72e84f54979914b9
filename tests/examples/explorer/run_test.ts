import assert from "node:assert/strict";
import { centroidNumbers, type KernelInfo, SIDES } from "@couplet/kv";
import { findKernel, kernels } from "../../../examples/explorer/page/kernels.ts";
import { checkKernel } from "../../../examples/explorer/page/run/check_kernel.ts";
import { exactCodebooks } from "../../../examples/explorer/page/run/exact_data.ts";
import { runKernel } from "../../../examples/explorer/page/run/run_kernel.ts";
import {
  isCacheFamily,
  plannedKernels,
  planWorkload,
  workloadOf,
} from "../../../examples/explorer/page/run/workload.ts";
import { requestTestDevice } from "../../../tools/adapter.ts";

const all = kernels.map(({ info }) => info);

Deno.test("exactCodebooks are multiples of 1/64 of at most 3, on every channel's own grid", () => {
  const shape = { layers: 1, queryHeads: 8, keyValueHeads: 2, headDim: 64 };
  const policy = { keys: "c8b8", values: "c1b1" } as const;
  const keys = { space: "as-scored" } as const;
  const { codebooks } = exactCodebooks({ shape, policy, keys }, 1);
  assert.deepEqual(codebooks.map(({ side }) => side), SIDES);
  for (const codebook of codebooks) {
    const numbers = centroidNumbers(codebook);
    assert.ok(numbers.every((x) => Number.isInteger(x * 64) && Math.abs(x) <= 3));
    assert.ok(new Set(numbers).size > 10);
  }
});

Deno.test("workloadOf finds a cache whose plan needs the kernel, for every kernel of the largest heads", () => {
  for (const { info, parts } of kernels) {
    if (!isCacheFamily(parts.family) || ![undefined, 256].includes(parts.size)) continue;
    const plan = planWorkload(workloadOf(info, all), 512);
    assert.ok(plannedKernels(plan).includes(info.name), info.name);
  }
});

Deno.test("runKernel refuses kernels of spans in words that say what to do", async () => {
  const device = {} as GPUDevice;
  const options = { tokens: 512, seed: 1, onProgress: () => {} };
  for (const name of ["fit_sc1_d64", "attend_sc1_sc1_d64_plain", "remap"]) {
    const { info } = findKernel(name)!;
    await assert.rejects(runKernel(device, info, all, options), /serves spans.*deno task test/);
  }
});

/** A kernel with another text. */
function changed(name: string, from: string, to: string): KernelInfo {
  const { info } = findKernel(name)!;
  return {
    ...info,
    async load() {
      const { wgsl } = await info.load();
      assert.ok(wgsl.includes(from), `${name} has no "${from}"`);
      return { wgsl: wgsl.replaceAll(from, to) };
    },
  };
}

Deno.test("runKernel and checkKernel on a device", async (t) => {
  /** A step with a device of its own: a device keeps the pipelines of kernels by their names. */
  const step = (name: string, run: (device: GPUDevice) => Promise<void>) =>
    t.step(name, async () => {
      const device = await requestTestDevice();
      try {
        await run(device);
      } finally {
        device.destroy();
      }
    });
  await step("runKernel passes an intact kernel and times it beside f16", async (device) => {
    const { info } = findKernel("encode_c8b8_d64")!;
    const progress: string[] = [];
    const result = await runKernel(device, info, all, {
      tokens: 512,
      seed: 1,
      onProgress: (text) => progress.push(text),
    });
    assert.deepEqual(result.checks.map(({ what, passed }) => [what, passed]), [
      ["Attention", true],
      ["Records", true],
    ]);
    assert.deepEqual(result.times.map(({ label, kernels }) => [label, kernels]), [
      ["c8b8", ["page_table", "store_d64", "encode_c8b8_d64"]],
      ["f16", ["page_table", "store_d64", "encode_f16_d64"]],
    ]);
    for (const { milliseconds: { least, median, most } } of result.times) {
      assert.ok(least > 0 && least <= median && median <= most);
    }
    assert.equal(progress.length, 2);
  });
  for (
    const [name, from, to, failing] of [
      ["attend_c8b8_c8b8_d64_plain", "grids.first.low +", "0.01 + grids.first.low +", [
        "Attention",
      ]],
      ["encode_c8b8_d64", "distance < best[token]", "false", ["Attention", "Records"]],
      ["decode_c8b8_d64", "grid.low +", "0.01 + grid.low +", ["Vectors"]],
      ["copy", "entry.slot * UNIT + word", "entry.slot * UNIT", ["Attention", "Records"]],
    ] satisfies [string, string, string, string[]][]
  ) {
    await step(`checkKernel finds the fault of a changed ${name}`, async (device) => {
      const kernel = changed(name, from, to);
      const others = all.map((other) => other.name === name ? kernel : other);
      const checks = await checkKernel(device, workloadOf(kernel, others), 1);
      assert.deepEqual(checks.filter(({ passed }) => !passed).map(({ what }) => what), failing);
    });
  }
  for (const name of ["kmeans_assign_c2", "kmeans_search_c8"]) {
    await step(
      `runKernel compares codebooks of the device and of the CPU: ${name}`,
      async (device) => {
        const { info } = findKernel(name)!;
        const options = { tokens: 512, seed: 1, onProgress: () => {} };
        const { checks, times } = await runKernel(device, info, all, options);
        assert.deepEqual(checks.map(({ passed }) => passed), [true]);
        assert.deepEqual(times.map(({ label }) => label), ["device", "CPU"]);
        assert.ok(times[0]!.kernels.includes(name));
      },
    );
  }
});
