import assert from "node:assert/strict";
import { type CacheOptions, type KernelInfo, parseKernelName, type SchemeId } from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { minifyWgsl } from "../../tools/minify_wgsl.ts";
import { readBuffer } from "../../tools/read_buffer.ts";
import { compileWithTint } from "../../tools/tint.ts";
import { compareWithReference } from "../helpers/cache_oracle.ts";

const device = await requestTestDevice();

/** One head dimension has every template, and every partial but for a few numbers. */
const kernels = manifest.filter(({ name }) => {
  const { family, size } = parseKernelName(name);
  return size === undefined || size === 64 || family.startsWith("kmeans");
});

const minified: readonly KernelInfo[] = kernels.map((kernel) => ({
  ...kernel,
  load: async () => ({ wgsl: minifyWgsl((await kernel.load()).wgsl) }),
}));

for (
  const [title, wgsl, wanted] of [
    [
      "drops comments and blank space",
      "// one\nconst  first /* two */ : f32 = 1.5 ; // three\n",
      "const A:f32=1.5;",
    ],
    [
      "parts what would be one token",
      "fn f() { var number = 1; let a = -number - -number; let b = a < -a; return; }",
      "fn A(){var a=1;let b= -a- -a;let c=b< -b;return;}",
    ],
    [
      "keeps overrides and entry points",
      "override SIZE: u32 = 4u;\n@compute @workgroup_size(SIZE)\nfn main() { let size = SIZE; }",
      "override SIZE:u32=4u;@compute@workgroup_size(SIZE)fn main(){let a=SIZE;}",
    ],
    [
      "keeps what attributes, directives and address spaces say, whatever else has their names",
      "enable f16;\n@group(0) @binding(0) var<storage, read_write> binding: u32;\n" +
      "fn f(@builtin(position) position: vec4<f32>, read: u32) -> f32 { return position.x; }",
      "enable f16;@group(0)@binding(0)var<storage,read_write>A:u32;" +
      "fn B(@builtin(position)a:vec4<f32>,read:u32)->f32{return a.x;}",
    ],
    [
      "keeps components of vectors and members that are called like them",
      "struct Pair { x: u32, other: u32, }\nfn f(pair: Pair, v: vec2<u32>) -> u32 { return pair.x + v.x + pair.other; }",
      "struct A{x:u32,a:u32}fn B(a:A,b:vec2<u32>)->u32{return a.x+b.x+a.a;}",
    ],
    [
      "keeps a function of WGSL's that a variable elsewhere is called after",
      "fn f(a: f32) -> f32 { let distance = a; return distance; }\nfn g(a: f32) -> f32 { return distance(a, 1.0); }",
      "fn A(a:f32)->f32{let b=a;return b;}fn B(a:f32)->f32{return distance(a,1.0);}",
    ],
    [
      "gives a variable that hides a global the global's name",
      "var<private> total: u32;\nfn f() -> u32 { let total = total + 1u; return total; }",
      "var<private>A:u32;fn B()->u32{let A=A+1u;return A;}",
    ],
    [
      "puts constants where they are used, unless a variable hides them",
      "const SIZE: u32 = 4u;\nconst half = 2u;\nfn f() -> u32 { let half = half; return SIZE * half; }",
      "const A=2u;fn B()->u32{let A=A;return 4u*A;}",
    ],
    [
      "keeps constants whose type another place could change",
      "const BASE = 4;\nfn f() -> f32 { return BASE; }",
      "const A=4;fn B()->f32{return A;}",
    ],
  ] as const
) {
  Deno.test(`minifyWgsl() ${title}`, () => assert.equal(minifyWgsl(wgsl), wanted));
}

Deno.test("minifyWgsl() gives a program that computes the same", async () => {
  const wgsl = `
struct Item { x: u32, weight: u32, }
const COUNT: u32 = 4u;
override FACTOR: u32 = 3u;
@group(0) @binding(0) var<storage, read_write> step: array<u32>;
var<workgroup> shared_items: array<Item, COUNT>;
fn weigh(item: Item, index: u32) -> u32 {
  var sum = 0u;
  for (var i = 0u; i < COUNT; i += 1u) { // to the end
    if (i >= index) { sum += item.weight >> i; } else { sum -= item.x << 1u; }
  }
  let step = step[index] + sum;
  let distance = step * FACTOR;
  return distance;
}
@compute @workgroup_size(COUNT)
fn main(@builtin(local_invocation_index) index: u32) {
  let v = vec2<u32>(index, 7u);
  shared_items[index] = Item(v.x, v.yx.x * 100u);
  workgroupBarrier();
  let other = weigh(shared_items[(index + 1u) % COUNT], index);
  step[index] = u32(distance(vec2<f32>(0.0), vec2<f32>(3.0, 4.0))) + other;
}`;
  const run = async (code: string): Promise<number[]> => {
    const pipeline = device.createComputePipeline({
      layout: "auto",
      compute: { module: device.createShaderModule({ code }), constants: { FACTOR: 5 } },
    });
    const buffer = device.createBuffer({
      size: 16,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    });
    device.queue.writeBuffer(buffer, 0, Uint32Array.of(1000, 2000, 3000, 4000));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    const entries = [{ binding: 0, resource: { buffer } }];
    pass.setBindGroup(
      0,
      device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }),
    );
    pass.dispatchWorkgroups(1);
    pass.end();
    device.queue.submit([encoder.finish()]);
    return [...new Uint32Array(await readBuffer(device, buffer))];
  };
  const plain = await run(wgsl);
  assert.equal(new Set(plain).size, 4);
  assert.deepEqual(await run(minifyWgsl(wgsl)), plain);
});

Deno.test("minifyWgsl() halves kernels, and keeps their overrides and entry points", async () => {
  const hostNames = (wgsl: string) =>
    [...wgsl.matchAll(/\boverride (\w+)|@compute\s*@workgroup_size\([\w ]+\)\s*fn (\w+)/g)]
      .map(([, constant, entryPoint]) => constant ?? entryPoint);
  for (const kernel of kernels) {
    const { wgsl } = await kernel.load();
    const short = minifyWgsl(wgsl);
    assert.ok(hostNames(wgsl).includes("main"), kernel.name);
    assert.deepEqual(hostNames(short), hostNames(wgsl), kernel.name);
    assert.ok(short.length < wgsl.length / 2, kernel.name);
  }
});

Deno.test("minified kernels of every family compile under Tint", async () => {
  const families = new Set(kernels.map(({ name }) => parseKernelName(name).family));
  assert.deepEqual(families, new Set(manifest.map(({ name }) => parseKernelName(name).family)));
  const sources = await Promise.all(
    minified.map(async (kernel) => [kernel.name, (await kernel.load()).wgsl] as const),
  );
  assert.deepEqual(await compileWithTint(new Map(sources)), new Map());
});

/** Fused and divided attention, every way of reading keys, learned and universal codes and levels. */
const CASES: readonly [keys: SchemeId, values: SchemeId, keySpace: "pre-rope" | "as-scored"][] = [
  ["c4b8", "c8b8", "pre-rope"],
  ["c1b1", "c2b2", "as-scored"],
  ["c4b8", "c2b10", "as-scored"],
  ["u8b8", "u8b8", "as-scored"],
  ["kc2", "kt2", "as-scored"],
];

for (const [keys, values, space] of CASES) {
  Deno.test(`minified kernels of ${keys}/${values} with keys ${space} meet the reference`, async () => {
    const options: CacheOptions = {
      shape: { layers: 1, queryHeads: 2, keyValueHeads: 1, headDim: 64 },
      policy: { keys, values },
      keys: space === "as-scored" ? { space } : { space, rope: { layout: "half", theta: 10000 } },
      tiers: { sinks: 1, window: 3 },
      capacity: {
        sequences: 1,
        tokens: 150,
        sequenceTokens: 150,
        stepTokens: 70,
        appendTokens: 70,
      },
    };
    const { error } = await compareWithReference(device, {
      options,
      kernels: minified,
      moves: [{ tokens: { 0: 70 } }, { tokens: { 0: 31 } }, { tokens: { 0: 1 } }],
    });
    assert.ok(error < 2e-5, `the largest difference is ${error}`);
  });
}
