import assert from "node:assert/strict";
import { requestAdapter } from "../../tools/adapter.ts";
import { BASE_LIMITS } from "../../src/plan/limits.ts";
import { kernels } from "../../cli/kernels.ts";
import { couplet, coupletJson } from "../helpers/cli.ts";

interface Findings {
  readonly adapters: readonly {
    readonly name: string;
    readonly kernels: number;
    readonly refused: readonly string[];
    readonly check: { readonly error: number; readonly failed?: string };
  }[];
}

Deno.test("couplet doctor finds the adapter, runs attention on it, and counts its kernels", async () => {
  const { report } = await requestAdapter();
  const { adapters } = await coupletJson<Findings>(["doctor"], { gpu: navigator.gpu });
  const found = adapters.find(({ name }) => name === report.name);
  assert.ok(found);
  assert.equal(found.kernels + found.refused.length, kernels.length);
  assert.equal(found.check.failed, undefined);
  assert.ok(found.check.error < 1e-5);
});

/** WebGPU whose adapter has less workgroup memory than the default, and refuses a device. */
const WEAK = {
  requestAdapter: () =>
    Promise.resolve({
      info: { description: "weak" },
      features: new Set(["shader-f16"]),
      limits: {
        maxComputeWorkgroupStorageSize: 8192,
        maxStorageBuffersPerShaderStage: 8,
        maxComputeInvocationsPerWorkgroup: 256,
        maxStorageBufferBindingSize: 1,
        maxBufferSize: 1,
        maxComputeWorkgroupsPerDimension: 65535,
      },
      requestDevice: () => Promise.reject(new TypeError("driver too old")),
    }),
} as unknown as GPU;

Deno.test("couplet doctor says what a weak adapter does not run, and ends with 3", async () => {
  const { exitCode, output } = await couplet(["doctor"], { gpu: WEAK });
  assert.equal(exitCode, 3);
  assert.match(output, /weak/);
  assert.match(output, /\d+ need up to \d+ bytes of workgroup memory, and it offers 8192/);
  assert.match(output, /\d+ need the feature subgroups; others do the same without/);
  assert.match(output, /all run, except at 128 channels .*c8b8/);
  assert.match(output, /shader-f16: yes; .*\n.*subgroups: no; .*\n.*timestamp-query: no;/);
  assert.match(output, /works +NO: driver too old/);
  assert.match(output, /no adapter passes the check/);
});

Deno.test("couplet doctor says that all schemes run where a device offers WebGPU's defaults", async () => {
  const requestAdapter = async () => ({
    ...await WEAK.requestAdapter(),
    info: { description: "llvmpipe" },
    limits: BASE_LIMITS,
  });
  const { output } = await couplet(["doctor"], { gpu: { requestAdapter } as unknown as GPU });
  assert.match(output, /schemes +all run/);
  assert.match(output, /speed +computes on the CPU/);
  assert.doesNotMatch(output, /workgroup memory, and/);
  assert.match(output, /up to 524,288 tokens in f16/);
});

/** Where drivers come from. */
const DRIVERS: Readonly<Record<string, RegExp>> = {
  linux: /mesa-vulkan-drivers/,
  darwin: /Metal/,
  win32: /maker/,
  other: /driver/,
};

for (const [platform, remedy] of Object.entries(DRIVERS)) {
  Deno.test(`couplet doctor says where drivers come from on the platform ${platform}`, async () => {
    const gpu = { requestAdapter: () => Promise.resolve(null) } as unknown as GPU;
    const { output } = await couplet(["doctor"], { gpu, platform, checkout: undefined });
    assert.match(output, remedy);
  });
}

for (
  const [name, gpu, why] of [
    ["WebGPU", undefined, /offers no WebGPU.*--unstable-webgpu/],
    ["an adapter", { requestAdapter: () => Promise.resolve(null) }, /found no adapter/],
  ] as const
) {
  Deno.test(`couplet doctor without ${name} says why, and ends with 3`, async () => {
    const host = { gpu: gpu as unknown as GPU | undefined };
    const { exitCode, output, errors } = await couplet(["doctor"], host);
    assert.equal(exitCode, 3);
    assert.equal(errors, "");
    assert.match(output, why);
    const json = await couplet(["doctor", "--json"], host);
    assert.deepEqual(JSON.parse(json.output).adapters, []);
  });
}
