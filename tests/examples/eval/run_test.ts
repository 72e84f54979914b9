import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { CoupletError } from "@couplet/kv";
import { parseArguments } from "../../../examples/eval/arguments.ts";
import { prepare } from "../../../examples/eval/prepare.ts";
import {
  type MethodFigures,
  parseEvaluation,
  readEvaluation,
} from "../../../examples/eval/figures/results.ts";

const EVAL = fileURLToPath(new URL("../../../examples/eval/main.ts", import.meta.url));
/** A file of fewer than 512 tokens. */
const SHORT_TEXT = fileURLToPath(new URL("../../fixtures/tiny-llama/config.json", import.meta.url));

/** Runs the evaluation as a person would, but for the launcher, in whose environment the tests run. */
async function runEval(...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", EVAL, ...args],
  }).output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout), errors: decoder.decode(stderr) };
}

/** Two figures that may differ by rounding, which may change a code here and there. */
function near(found: number, expected: number): void {
  assert.ok(Math.abs(found / expected - 1) < 0.02, `${found} is not ${expected}`);
}

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("eval measures schemes and policies in both key spaces, keeps codebooks, and shows figures again", async () => {
  await withFolder(async (folder) => {
    const text = `${folder}/text.txt`;
    const policy = `${folder}/policy.json`;
    await Deno.writeTextFile(
      text,
      Array.from({ length: 150 }, (_, i) => `It was the ${i}th of times. `).join(""),
    );
    await Deno.writeTextFile(
      policy,
      JSON.stringify({
        name: "keys kept",
        policy: { keys: "f16", values: "c4b4", layers: { 3: { keys: "c1b1", values: "f16" } } },
      }),
    );
    const settings = [
      ..."--schemes c1b1 --windows 0,16 --sinks 2 --spaces pre-rope,as-scored --sweep".split(" "),
      ..."--weights none --tokens 96 --context 96 --calibration-tokens 192 --trials 1".split(" "),
      ..."--distances 24 --generate 3 --chunk 16 --text".split(" "),
      ...[text, "--calibration", text, "--policy", policy, "--codebooks", `${folder}/codebooks`],
    ];
    const json = `${folder}/figures.json`;
    const html = `${folder}/report.html`;
    const { code, output, errors } = await runEval(...settings, "--json", json, "--html", html);
    assert.equal(code, 0, errors);
    const figures = parseEvaluation(await Deno.readTextFile(json));
    const { baseline, noiseFloor, methods } = figures;

    assert.deepEqual(methods.map(({ name }) => name), [
      ...new Array(4).fill("c1b1"),
      ...new Array(4).fill("keys kept"),
    ]);
    assert.equal(new Set(methods.map(({ keySpace }) => keySpace)).size, 2);
    assert.equal(baseline.quality.different.tokens, 95);
    assert.equal(baseline.quality.different.agreement, 1);
    for (const text of ["different", "inDomain"] as const) {
      const { divergence, ratio } = noiseFloor.quality[text];
      assert.ok(Math.abs(divergence) < 1e-6 && Math.abs(ratio - 1) < 1e-4);
    }
    for (const { name, keySpace, window, sinks, ...rest } of methods) {
      const { quality, codingError, logitError, codeUsage, retrieval, ...others } = rest;
      const { effectiveBits, firstDifferences } = others;
      const what = `${name} ${keySpace} ${window} ${sinks}`;
      assert.ok(quality.different.divergence > 1e-4, what);
      assert.equal(retrieval[0]!.distance, 24);
      assert.ok(Number.isFinite(retrieval[0]!.excess), what);
      assert.ok(retrieval[0]!.accuracy >= 0 && retrieval[0]!.accuracy <= 1, what);
      assert.equal(firstDifferences.length, 2);
      assert.deepEqual(
        effectiveBits.map(({ sequences, tokens }) => [sequences, tokens]),
        [1, 8].flatMap((sequences) => [512, 4096, 32768].map((tokens) => [sequences, tokens])),
      );
      assert.ok(effectiveBits[2]!.bits < effectiveBits[0]!.bits, what);
      for (const { layer, side, error } of codingError) {
        const exact = name === "keys kept" && (side === "keys") !== (layer === 3);
        // What f16 keeps is exact but for its rounding: the vectors compared are the right ones.
        // One bit a channel of keys as scored loses what they have in common, which is no part of their energy.
        const most = exact ? 1e-6 : 4;
        assert.ok(exact || error > 1e-3, `${what} ${layer} ${side}: ${error}`);
        assert.ok(error < most, `${what} ${layer} ${side}: ${error}`);
      }
      assert.equal(codingError.length, 4 * 2 * 2);
      for (const { layer, error } of logitError) {
        const exact = name === "keys kept" && layer !== 3;
        assert.ok(exact ? error < 1e-2 : error > 1e-2 && error < 20, `${what} ${layer}: ${error}`);
      }
      assert.equal(logitError.length, 4 * 2);
      assert.equal(codeUsage.length, name === "c1b1" ? 8 : 4, "learned codebooks alone");
      for (const { scheme, tokens, entropyBits, codeBits, uses } of codeUsage) {
        assert.equal(tokens, 2 * (96 - window - sinks), scheme);
        assert.ok(entropyBits > 0 && entropyBits <= codeBits + 1e-9);
        assert.ok(Math.abs(uses.reduce((sum, use) => sum + use) / uses.length - 1) < 1e-9);
      }
    }
    // A window hides most of what the codes lose.
    const [codes, windowed] = [0, 16].map((window) =>
      methods.find((one) => one.name === "c1b1" && one.window === window)!.quality.different
    );
    assert.ok(windowed!.divergence < codes!.divergence);
    assert.match(output, /keys kept/);
    assert.match(await Deno.readTextFile(html), /<svg/);

    const stored = [...Deno.readDirSync(`${folder}/codebooks`)].map(({ name }) => name);
    assert.equal(stored.length, 2, `${stored}`);
    const again = await runEval("--from", json, "--html", `${folder}/again.html`);
    assert.equal(again.code, 0, again.errors);
    assert.equal(
      await Deno.readTextFile(`${folder}/again.html`),
      await Deno.readTextFile(html),
    );
  });
});

Deno.test("eval ends with a sentence, before work starts, where an argument is wrong", async () => {
  const { code, output, errors } = await runEval("--policy", SHORT_TEXT);
  assert.equal(code, 1);
  assert.match(errors, /Cannot read the policy/);
  assert.doesNotMatch(errors, /\bat .*\.ts:/, "a sentence, no stack");
  assert.equal(output, "");
});

for (
  const [args, code, words] of [
    ["--text no/such.txt", "file", /Cannot read the text no\/such\.txt/],
    ["--model no/such", "file", /no\/such/],
    ["--json no/such/figures.json", "file", /no folder no\/such/],
    ["--html no/such/report.html", "file", /no folder no\/such/],
    ["--policy no/such.json", "file", /Cannot read the policy no\/such\.json/],
    [`--policy ${SHORT_TEXT}`, "file", /Cannot read the policy.*name/],
    ["--schemes c4b5", "kernel", /c4b5/],
    ["--all-coded --schemes sc4", "shape", /sc4/],
    ["--windows 0,64,128", "usage", /--sinks has 2/],
    ["--context 4096 --tokens 4096", "usage", /made for 512/],
    ["--distances 32,600", "usage", /600 tokens after/],
    ["--generate 500", "usage", /made for 512/],
    [`--calibration ${SHORT_TEXT}`, "samples", /one context takes 512/],
    [`--text ${SHORT_TEXT}`, "samples", /one context takes 512/],
  ] as const
) {
  Deno.test(`prepare of the evaluation refuses ${args.replace(SHORT_TEXT, "(a short file)")}`, async () => {
    await withFolder(async (folder) => {
      const text = `${folder}/text.txt`;
      await Deno.writeTextFile(text, "It was the best of times. ".repeat(1000));
      const argv = ["--text", text, "--calibration", text, ...args.split(" ")];
      const parsed = parseArguments(argv);
      assert.ok("options" in parsed);
      await assert.rejects(
        prepare(parsed.options),
        (error) =>
          error instanceof CoupletError && error.code === code && words.test(error.message),
      );
    });
  });
}

for (
  const [name, path] of [["a missing file", "no/such.json"], ["another file", SHORT_TEXT]] as const
) {
  Deno.test(`readEvaluation refuses ${name}`, async () => {
    await assert.rejects(
      readEvaluation(path),
      (error) =>
        error instanceof CoupletError && error.code === "file" &&
        /Cannot read the figures/.test(error.message),
    );
  });
}

Deno.test("eval --rotate-values measures another model, whose uncompressed run is as good; --all-coded agrees with a cache", async () => {
  await withFolder(async (folder) => {
    const json = `${folder}/figures.json`;
    const settings = [
      ..."--schemes c2b2 --windows 0 --sinks 0 --weights none --tokens 96 --context 96".split(" "),
      "--all-coded",
      ..."--calibration-tokens 192 --trials 0 --generate 0 --json".split(" "),
      json,
    ];
    const found = [];
    for (const flags of [[], ["--rotate-values"]]) {
      const { code, errors } = await runEval(...settings, ...flags);
      assert.equal(code, 0, errors);
      found.push(parseEvaluation(await Deno.readTextFile(json)));
    }
    const [plain, rotated] = found;
    assert.equal(rotated!.model.name, `${plain!.model.name}, values rotated`);
    assert.notEqual(rotated!.model.digest, plain!.model.digest);
    const perplexities = found.map(({ baseline }) => baseline.quality.different.perplexity);
    assert.ok(Math.abs(perplexities[1]! / perplexities[0]! - 1) < 1e-3, `${perplexities}`);
    const divergences = found.map(({ methods }) => methods[0]!.quality.different.divergence);
    assert.ok(divergences.every((one) => one > 1e-4) && divergences[0] !== divergences[1]);
    // Blocks of one token are never unfinished: the cache's kernels and float64 code the same.
    for (const { methods } of found) {
      const [cached, coded] = methods as [MethodFigures, MethodFigures];
      assert.deepEqual([cached.allCoded, coded.allCoded], [false, true]);
      near(coded.quality.different.divergence, cached.quality.different.divergence);
      for (const [kind, least] of [["codingError", 16], ["logitError", 8]] as const) {
        assert.equal(coded[kind].length, least);
        coded[kind].forEach(({ error }, i) => near(error, cached[kind][i]!.error));
      }
      assert.equal(coded.codeUsage.length, 8);
      coded.codeUsage.forEach(({ entropyBits }, i) =>
        near(entropyBits, cached.codeUsage[i]!.entropyBits)
      );
      assert.ok(coded.effectiveBits[0]!.bits < cached.effectiveBits[0]!.bits);
    }
  });
});
