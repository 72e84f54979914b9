import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { CoupletError, parseScheme } from "@couplet/kv";
import { parseAblationArguments } from "../../../examples/ablation/arguments.ts";
import type { Ablation } from "../../../examples/ablation/results.ts";
import { WIDTH_ELSEWHERE } from "../../../cli/output_width.ts";
import { assertNarrow, NARROW } from "../../helpers/width.ts";
import { formatAblation } from "../../../examples/ablation/table.ts";
import { ablationVariants, BASE } from "../../../examples/ablation/variants.ts";
import {
  headVectors,
  learnSpace,
  samplesInSpace,
  VECTOR_SPACES,
} from "../../../examples/ablation/vector_space.ts";
import { numbers } from "../../helpers/reference.ts";

const ABLATION = fileURLToPath(new URL("../../../examples/ablation/main.ts", import.meta.url));

/** Two KV heads of 16 channels, whose channels have constants of their own. */
const SAMPLES = {
  layer: 0,
  side: "keys",
  keyValueHeads: 2,
  headDim: 16,
  values: numbers(1, 192 * 32).map((value, i) => value + (i % 32 === 3 ? 300 : i % 7)),
  weights: numbers(2, 192 * 32).map((value) => value ** 2),
} as const;

for (const scheme of ["n8b8", "n16b8x2", "n8b4x4"] as const) {
  Deno.test(`ablationVariants of ${scheme}: each row differs from one before it or from the whole`, () => {
    const variants = ablationVariants(scheme);
    const titles = variants.map(({ title }) => title);
    assert.equal(new Set(titles).size, titles.length);
    assert.equal(variants.find(({ title }) => title === BASE)!.scheme, scheme);
    const bits = ({ scheme }: { readonly scheme: string }) => parseScheme(scheme).bits;
    variants.forEach((variant, i) => {
      assert.ok(i === 0 ? variant.from === undefined : titles.indexOf(variant.from!) < i);
      assert.equal(bits(variant), bits({ scheme }), variant.title);
    });
    assert.equal(titles.includes("beam of 1"), scheme !== "n8b8");
  });
}

for (const space of VECTOR_SPACES) {
  Deno.test(`learnSpace: vectors leave ${space} as they entered`, () => {
    const spaces = learnSpace(space, SAMPLES);
    spaces.forEach((own, head) => {
      const vectors = headVectors(SAMPLES, head).slice(0, 100);
      const { inside, leave } = own.enter(vectors);
      inside.forEach((vector, token) => {
        leave(vector, token).forEach((value, i) =>
          assert.ok(Math.abs(value - vectors[token]![i]!) < 1e-9)
        );
      });
    });
  });
}

Deno.test("learnSpace: offsets leave no mean over all tokens, block means hardly one of a block", () => {
  for (const [space, tokens, most] of [["offset", 192, 1e-4], ["mean", 64, 0.1]] as const) {
    const inside = samplesInSpace(space, learnSpace(space, SAMPLES), SAMPLES);
    for (let channel = 0; channel < 32; channel++) {
      let sum = 0;
      for (let token = 0; token < tokens; token++) sum += inside.values[token * 32 + channel]!;
      assert.ok(Math.abs(sum / tokens) < most, `${space} ${channel}: ${sum / tokens}`);
    }
    assert.deepEqual(inside.weights, SAMPLES.weights);
  }
});

Deno.test("samplesInSpace: channels that a rotation mixes share the sum of their weights", () => {
  const { weights } = samplesInSpace("hadamard", learnSpace("hadamard", SAMPLES), SAMPLES);
  assert.equal(weights!.length, 192 * 2);
  const sum = SAMPLES.weights.subarray(16, 32).reduce((total, weight) => total + weight, 0);
  assert.ok(Math.abs(weights![1]! - sum) < 1e-5);
});

for (
  const [args, code, words] of [
    ["--scheme c8b8", "usage", /normalised, additive/],
    ["--scheme n8", "scheme", /n8/],
    ["--only beams", "usage", /no row "beams" among centroids alone; offsets/],
    ["--tokens 0", "usage", /--tokens/],
  ] as const
) {
  Deno.test(`parseAblationArguments refuses ${args}`, () => {
    assert.throws(
      () => parseAblationArguments(args.split(" ")),
      (error) => error instanceof CoupletError && error.code === code && words.test(error.message),
    );
  });
}

Deno.test("ablation measures the rows that are asked for", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const json = `${folder}/ablation.json`;
    const only = "centroids alone,offsets,beam of 1";
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--no-check", ABLATION, "--scheme", "n8b4x2", "--only", only],
        ..."--context 80 --tokens 80 --calibration-tokens 480 --json".split(" "),
        json,
      ],
    }).output();
    const decoder = new TextDecoder();
    assert.equal(code, 0, decoder.decode(stderr));
    const figures: Ablation = JSON.parse(await Deno.readTextFile(json));
    assert.equal(figures.rows.map(({ title }) => title).join(), only);
    for (const { title, quality, codingError, logitError, change } of figures.rows) {
      assert.ok(quality.divergence > 1e-3 && quality.divergence < 3, title);
      assert.ok(codingError.keys > 0.01 && codingError.keys < 1, title);
      assert.ok(codingError.values > 0.01 && codingError.values < 1, title);
      assert.ok(logitError > 0.01 && logitError < 10, title);
      // The whole is not measured, so that its beam stands beside nothing.
      assert.equal(change === undefined, title !== "offsets");
    }
    const table = decoder.decode(stdout);
    assert.match(table, /^beam of 1 +n8b4x2 +all \|/m);
    assert.ok(table.includes(formatAblation(figures, WIDTH_ELSEWHERE)));
    assertNarrow(formatAblation(figures, NARROW));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
