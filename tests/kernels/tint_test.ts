import assert from "node:assert/strict";
import { manifest } from "../../generated/manifest.ts";
import { compileWithTint } from "../../tools/tint.ts";

Deno.test("every kernel of the manifest compiles under Tint", async () => {
  const sources = await Promise.all(
    manifest.map(async (kernel) => [kernel.name, (await kernel.load()).wgsl] as const),
  );
  assert.deepEqual(await compileWithTint(new Map(sources)), new Map());
});

Deno.test("compileWithTint() reports what Chrome would refuse and Deno accepts", async () => {
  const wgsl = `
@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
  if (lane > 3u) {
    return;
  }
  workgroupBarrier();
  data[lane] = lane;
}`;
  const found = await compileWithTint(new Map([["barrier", wgsl]]));
  assert.match(found.get("barrier") ?? "", /uniform control flow/);
});
