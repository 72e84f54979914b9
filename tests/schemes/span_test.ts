/** Schemes for spans, against records, levels and scores that an independent program computed. */
import assert from "node:assert/strict";
import { parseScheme, readSafetensors, schemeCodec, type Side, SIDES } from "../../mod.ts";
import { fromFloat16Array } from "../../src/base/float16.ts";

/** A file of `tests/schemes/fixtures`: a span of tokens in keys and values. */
function readFixture(name: string) {
  const bytes = Deno.readFileSync(new URL(`fixtures/${name}.safetensors`, import.meta.url));
  const { tensors } = readSafetensors(bytes);
  const of = (name: string) => {
    const tensor = tensors.get(name)!;
    const { buffer } = tensor.data.slice();
    const numbers = {
      F16: () => fromFloat16Array(new Uint16Array(buffer)),
      F64: () => new Float64Array(buffer),
      F32: () => new Float32Array(buffer),
      U8: () => new Uint8Array(buffer),
      U32: () => new Uint32Array(buffer),
    }[tensor.dtype as "F16"]();
    return { numbers: numbers as ArrayLike<number>, shape: tensor.shape };
  };
  const rows = (name: string) => {
    const { numbers, shape: [count, width] } = of(name);
    return Array.from(
      { length: count! },
      (_, i) => Float64Array.from({ length: width! }, (_, j) => numbers[i * width! + j]!),
    );
  };
  return { numbers: (name: string) => Array.from(of(name).numbers), rows };
}

const SINGULAR = { keys: "key", values: "value" } as const;

for (const [id, file] of [["sc1", "sc1_d64_n96"], ["sc1", "sc1_d128_n80"]] as const) {
  for (const side of SIDES) {
    Deno.test(`${id}: ${side} of ${file} have the levels, codes and words of an independent program`, () => {
      const { numbers, rows } = readFixture(file);
      const codec = schemeCodec(parseScheme(id));
      const vectors = rows(side);
      const headDim = vectors[0]!.length;
      const levels = codec.fit!(vectors, side);
      const name = `default_${SINGULAR[side]}`;
      assert.deepEqual(Array.from(levels.filter((_, i) => i % 2 === 0)), numbers(`${name}_step`));
      assert.deepEqual(Array.from(levels.filter((_, i) => i % 2 === 1)), numbers(`${name}_low`));

      const layout = parseScheme(id).layout(headDim);
      const records = Array.from(
        { length: Math.ceil(vectors.length / layout.tokens) },
        () => new Uint32Array(layout.words),
      );
      vectors.forEach((vector, token) =>
        codec.encode([vector], records[Math.floor(token / layout.tokens)]!, token % layout.tokens, {
          centroids: [],
          levels,
        })
      );
      const words = numbers(`${name}_words`);
      assert.deepEqual(records.flatMap((record) => [...record]).slice(0, words.length), words);
    });
  }
}

Deno.test("sc2: levels between the extremes of a channel are the paper's, as binary16", () => {
  const { numbers, rows } = readFixture("sc2_d64_n40");
  const codec = schemeCodec(parseScheme("sc2"));
  for (const side of SIDES) {
    const levels = codec.fit!(rows(side), side as Side);
    const [low, step] = ["low", "step"].map((what) => numbers(`paper_${SINGULAR[side]}_${what}`));
    levels.forEach((level, i) => {
      const wanted = (i % 2 === 0 ? step! : low!)[i >> 1]!;
      assert.ok(Math.abs(level - wanted) <= Math.abs(wanted) / 2048, `${side} ${i}`);
    });
  }
});
