import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { writeSafetensors } from "@couplet/kv";
import type { Answer } from "../../../examples/vision/answers.ts";
import { referenceRow } from "../../../examples/demo/metrics.ts";
import { parseVisionArguments } from "../../../examples/eval/vision/arguments.ts";
import { answerFigures, comparedFigures } from "../../../examples/eval/vision/figures.ts";
import { methodSpans, parseVisionMethods } from "../../../examples/eval/vision/methods.ts";
import { formatVisionReport } from "../../../examples/eval/vision/report.ts";
import {
  formatVisionEvaluation,
  parseVisionEvaluation,
  readVisionEvaluation,
} from "../../../examples/eval/vision/results.ts";
import { WIDTH_ELSEWHERE } from "../../../cli/output_width.ts";
import { assertNarrow, NARROW } from "../../helpers/width.ts";
import { formatVisionSummary } from "../../../examples/eval/vision/summary.ts";
import { readTensors, VISION_FIXTURE } from "../../helpers/vision.ts";

const EVAL = fileURLToPath(new URL("../../../examples/eval/main.ts", import.meta.url));

/** A file of the fixture with its first videos alone. */
function firstVideos(file: string, count: number): Uint8Array {
  const tensors = readTensors(`${VISION_FIXTURE}/${file}.safetensors`);
  return writeSafetensors({
    metadata: {},
    tensors: new Map([...tensors].map(([name, { dtype, shape, data }]) => {
      const [all, ...rest] = shape;
      return [name, {
        dtype,
        shape: [count, ...rest],
        data: data.subarray(0, count * data.length / all!),
      }];
    })),
  });
}

function answer(kind: string, right: boolean, loss: number, logits: readonly number[]): Answer {
  const row = referenceRow(Float32Array.from(logits));
  return { kind, token: row.top, right, loss, row };
}

Deno.test("answerFigures and comparedFigures count by kind, and take errors over videos", () => {
  const exact = [
    [answer("look", true, 0, [0, 2]), answer("count", true, 1, [0, 2])],
    [answer("look", true, 0, [2, 0]), answer("look", false, 2, [0, 2])],
  ];
  const figures = answerFigures(exact);
  assert.equal(figures.answers, 4);
  assert.equal(figures.accuracy, 0.75);
  assert.equal(figures.accuracyError, 0.25);
  assert.equal(figures.loss, 0.75);
  assert.deepEqual(figures.kinds.map(({ kind, answers }) => [kind, answers]), [
    ["count", 1],
    ["look", 3],
  ]);
  assert.ok(Math.abs(figures.kinds[1]!.accuracy - 2 / 3) < 1e-12);

  const same = comparedFigures(exact, exact);
  assert.deepEqual([same.excess, same.divergence, same.agreement], [0, 0, 1]);
  const worse = exact.map((answers) =>
    answers.map(({ kind, loss }) => answer(kind, false, loss + 1, [0, 2]))
  );
  const compared = comparedFigures(worse, exact);
  assert.deepEqual([compared.excess, compared.excessError], [1, 0]);
  assert.equal(compared.agreement, 0.75);
  // One of four rows is turned around: KL is the logit's difference times the probabilities'.
  const kl = 2 * (Math.exp(2) - 1) / (Math.exp(2) + 1);
  assert.ok(Math.abs(compared.divergence - kl / 4) < 1e-6);
  assert.equal(answerFigures(exact.slice(0, 1)).accuracyError, null);
});

Deno.test("parseVisionMethods reads pairs, protected tokens' first, and ranges to take off scores", () => {
  const methods = parseVisionMethods("sc1,kc2/kt2+sc2", [0, 3]);
  assert.deepEqual(methods.map(({ name }) => name), [
    "sc1",
    "sc1 remap 3",
    "kc2/kt2+sc2",
    "kc2/kt2+sc2 remap 3",
  ]);
  assert.deepEqual(methodSpans(methods[3]!, 7, 100), {
    method_7_part_0: { keys: "kc2", values: "kt2", tokens: 100, count: 1, remap: { tau: 3 } },
    method_7_part_1: { keys: "sc2", values: "sc2", tokens: 100, count: 1, remap: { tau: 3 } },
  });
  const [mixed] = parseVisionMethods("c16b8@2: c2b8/c8b8@0:c8b8/c8b8", [0]);
  assert.equal(mixed!.name, "c16b8@2:c2b8/c8b8@0:c8b8");
  assert.deepEqual(methodSpans(mixed!, 0, 100), {
    method_0_part_0: {
      keys: "c16b8",
      values: "c16b8",
      layers: { 2: { keys: "c2b8", values: "c8b8" }, 0: { keys: "c8b8", values: "c8b8" } },
      tokens: 100,
      count: 1,
    },
  });
  for (const bad of ["c8b8@c2b8", "c8b8@x:c2b8", "c8b8@"]) {
    assert.throws(() => parseVisionMethods(bad, [0]), { code: "usage", message: /layer/ });
  }
  assert.throws(() => parseVisionMethods("sc1+sc1+sc1", [0]), {
    code: "usage",
    message: /3 pairs/,
  });
  assert.throws(() => parseVisionMethods("sc7", [0]), { code: "scheme" });
});

Deno.test("parseVisionArguments has defaults, and refuses what is out of range", () => {
  const parsed = parseVisionArguments(["--vision", "--model", "dir", "--no-literal"]);
  assert.ok("options" in parsed);
  const { videos, calibration, examples, methods, weights } = parsed.options;
  assert.deepEqual([videos, calibration, examples, weights], [
    "dir/examples.safetensors",
    "dir/calibration.safetensors",
    16,
    "none",
  ]);
  assert.ok(methods.every(({ treatment }) => treatment.kind === "span"));
  const both = parseVisionArguments(["--vision", "--schemes", "sc1"]);
  assert.ok("options" in both);
  assert.deepEqual(both.options.methods.map(({ name }) => name), [
    "sc1",
    "calibquant_literal",
    "vidkv_literal paper",
    "vidkv_literal released",
  ]);
  for (
    const args of ["--examples 0", "--protect 1.5", "--remaps -1", "--remaps x", "--weights x"]
  ) {
    assert.throws(() => parseVisionArguments(args.split(" ")), { code: "usage" });
  }
});

Deno.test("eval --vision measures spans, protected tokens and methods to the letter, and shows figures again", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const json = `${folder}/figures.json`;
    const html = `${folder}/report.html`;
    const calibration = `${folder}/calibration.safetensors`;
    await Deno.writeFile(calibration, firstVideos("calibration", 3));
    const run = async (...args: string[]) => {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", EVAL, "--vision", ...args],
      }).output();
      assert.equal(code, 0, new TextDecoder().decode(stderr));
      return new TextDecoder().decode(stdout);
    };
    const measured = await run(
      ..."--examples 2 --schemes f16,sc4,sc2+sc1,c8b8,sc1@2:sc4/c8b8 --remaps 0,3 --protect 0.5 --weights query"
        .split(" "),
      ...["--calibration", calibration, "--json", json, "--html", html],
    );
    const figures = await readVisionEvaluation(json);
    const { exact, methods, refused, settings } = figures;
    assert.deepEqual([settings.videos, exact.answers, settings.calibrationVideos], [2, 48, 3]);
    assert.equal(settings.weights, "query");
    assert.deepEqual(methods.map(({ name }) => name), [
      "no video",
      "f16",
      "sc4",
      "sc2+sc1",
      "sc2+sc1 remap 3",
      "c8b8",
      "c8b8 remap 3",
      "sc1@2:sc4/c8b8",
      "calibquant_literal",
      "vidkv_literal paper",
      "vidkv_literal released",
    ]);
    // Scores of more than two bits are not narrowed.
    assert.deepEqual(refused.map(({ method }) => method), [
      "f16 remap 3",
      "sc4 remap 3",
      "sc1@2:sc4/c8b8 remap 3",
    ]);
    const named = (name: string) => methods.find((method) => method.name === name)!;
    assert.ok(exact.accuracy > 0.85);
    assert.ok(named("f16").divergence < 1e-3 && named("f16").agreement === 1);
    assert.ok(named("sc4").divergence < 0.1);
    assert.ok(named("no video").accuracy < 0.25);
    assert.equal(named("no video").effectiveBits, null);
    assert.equal(named("sc4").effectiveBits, 4.125);
    assert.equal(named("c8b8").effectiveBits, 1);
    // Of layer 2 the keys have levels, and 4 bits.
    assert.equal(named("sc1@2:sc4/c8b8").effectiveBits, (6 * 1.125 + 4.125 + 1) / 8);
    // 128 tokens in each span, which has levels of its own.
    assert.equal(named("sc2+sc1").effectiveBits, 1.5 + 32 / 128);
    assert.equal(named("vidkv_literal paper").effectiveBits, 3.25);
    assert.equal(named("calibquant_literal").effectiveBits, 1.125);
    for (const name of ["sc2+sc1", "c8b8", "vidkv_literal paper"]) {
      const { loss } = named(name);
      assert.ok(loss > exact.loss && loss < named("no video").loss, name);
    }
    assert.notEqual(named("sc2+sc1").loss, named("sc2+sc1 remap 3").loss);
    assert.ok(named("vidkv_literal released").loss > named("vidkv_literal paper").loss);

    assert.deepEqual(parseVisionEvaluation(formatVisionEvaluation(figures)), figures);
    const summary = formatVisionSummary(figures, WIDTH_ELSEWHERE);
    assertNarrow(formatVisionSummary(figures, NARROW));
    assert.ok(measured.includes(summary));
    assert.match(summary, /^sc4 +\| +4\.125 +132\.0/m);
    assert.match(summary, /refused: sc4 remap 3: .*4 bits/);
    const report = await Deno.readTextFile(html);
    assert.equal(report, await formatVisionReport(figures));
    assert.equal(report.match(/<svg/g)!.length, 2 + exact.kinds.length);
    assert.match(report, /<th scope="row">sc2\+sc1 remap 3<\/th>/);
    assert.equal(await run("--from", json), measured);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
