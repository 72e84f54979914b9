/** A family of schemes from outside the package, from its arithmetic to its kernels. */
import assert from "node:assert/strict";
import { generateKernels, registerKernels } from "../../codegen/generate.ts";
import {
  type CacheOptions,
  type OtherScheme,
  parseScheme,
  registerCodec,
  registerScheme,
  schemeCodec,
} from "../../mod.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { compareWithReference } from "../helpers/cache_oracle.ts";
import { withGenerated } from "../helpers/generated_kernels.ts";
import { refuses } from "../helpers/refusals.ts";
import { registerToy, toyCodec, toyKernels } from "./toy_family.ts";

const toy = registerToy();

for (const space of ["pre-rope", "as-scored"] as const) {
  for (const headDim of [32, 64]) {
    Deno.test(`a registered family attends as float64 does, keys ${space} at d${headDim}`, async () => {
      const device = await requestTestDevice();
      const files = generateKernels({ pairs: ["toy3/toy3", "toy3/c4b8"], headDims: [headDim] });
      await withGenerated(files, async (kernels) => {
        const options: CacheOptions = {
          shape: { layers: 2, queryHeads: 4, keyValueHeads: 2, headDim },
          policy: {
            keys: toy.id,
            values: toy.id,
            layers: { 1: { keys: toy.id, values: "c4b8" } },
          },
          keys: space === "pre-rope"
            ? { space, rope: { layout: "half", theta: 10000 } }
            : { space },
          tiers: { sinks: 1, window: 2 },
          capacity: {
            sequences: 2,
            tokens: 256,
            sequenceTokens: 128,
            stepTokens: 80,
            appendTokens: 80,
          },
        };
        const { plan } = await compareWithReference(device, {
          options,
          moves: [
            { tokens: { 0: 1 } },
            { tokens: { 0: 70, 1: 3 } },
            { tokens: { 0: 1, 1: 1 } },
            { tokens: { 1: 2 } },
          ],
          kernels,
        });
        assert.equal(plan.layers[0]!.encodeKeys.name, `encode_toy3_d${headDim}`);
        assert.match(plan.layers[0]!.decode.attend!.name, /^attend_toy3_toy3_/);
        assert.match(plan.layers[1]!.decode.attend!.name, /^attend_toy3_c4b8_/);
      });
      device.destroy();
    });
  }
}

Deno.test("registerScheme() refuses what is no scheme, and ids that others have", () => {
  const again = toy as OtherScheme;
  assert.equal(registerScheme(again), toy);
  assert.equal(parseScheme("toy3"), toy);
  for (
    const wrong of [
      {},
      { ...toy },
      { ...toy, id: "toy4", codeBits: 0 },
      { ...toy, id: "toy4", work: undefined },
      { ...toy, id: "c4b8" },
      { ...toy, id: "Toy" },
      { ...toy, id: "toy4", family: "half" },
      { ...toy, id: "toy4", block: 3 },
    ]
  ) {
    refuses("scheme", () => registerScheme(wrong as OtherScheme));
  }
});

Deno.test("a family without codecs or kernels is refused where they are needed", () => {
  const other = registerScheme({ ...toy, id: "other1", family: "tests/other" });
  refuses("scheme", () => schemeCodec(other));
  refuses("scheme", () => generateKernels({ schemes: ["other1"], headDims: [64] }));
});

Deno.test("generateKernels() refuses to fuse schemes whose codes are rotated in different ways", () => {
  const turned = { ...toy, id: "turned1", family: "tests/turned" } as const;
  registerScheme(turned);
  registerKernels("tests/turned", (scheme, headDim) => ({
    ...toyKernels(scheme, headDim),
    rotation: { rotationPartial: "rotation_of_its_own" },
  }), {});
  refuses("scheme", () => generateKernels({ pairs: ["turned1/u8b8"], headDims: [64] }));
});

Deno.test("a family's remap changes scores before they are capped", async () => {
  const shifted = registerScheme({ ...toy, id: "shifted1", family: "tests/shifted" });
  registerCodec("tests/shifted", toyCodec);
  registerKernels("tests/shifted", (scheme, headDim) => ({
    ...toyKernels(scheme, headDim),
    remap: "remap_shifted",
  }), { "partials/remap_shifted.hbs": "    score += vec4<f32>(3.0);\n" });
  const files = generateKernels({ pairs: ["shifted1"], headDims: [64] });
  const attend = [...files].find(([path]) => path.includes("attend_shifted1_shifted1_d64_plain"))!;
  assert.match(
    attend[1],
    /var score = scores\[i\];\n {4}score \+= .*;\n {4}scores\[i\] = score;\n {2}\}\n {2}if \(SOFTCAP\)/,
  );
  const device = await requestTestDevice();
  await withGenerated(files, async (kernels) => {
    // What is added to all scores changes no weight.
    await compareWithReference(device, {
      options: {
        shape: { layers: 1, queryHeads: 2, keyValueHeads: 1, headDim: 64 },
        policy: { keys: shifted.id, values: shifted.id },
        keys: { space: "as-scored" },
        tiers: { sinks: 1, window: 2 },
        capacity: {
          sequences: 1,
          tokens: 128,
          sequenceTokens: 128,
          stepTokens: 80,
          appendTokens: 80,
        },
      },
      moves: [{ tokens: { 0: 75 } }, { tokens: { 0: 1 } }],
      kernels,
    });
  });
  device.destroy();
});
