import assert from "node:assert/strict";
import {
  calibrate,
  type CalibrationSamples,
  checkDrift,
  choosePolicy,
  CoupletError,
  estimateSensitivities,
  type Sensitivity,
} from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import { mobyDick, spreadContexts } from "../../../examples/demo/texts.ts";
import { readSensitivities } from "../../../examples/policy/sensitivity_file.ts";
import { parseArguments, type PolicyOptions } from "../../../examples/policy/arguments.ts";
import {
  measureCodedSensitivities,
  measureSensitivities,
} from "../../../examples/policy/sensitivities.ts";
import { loadModel, modelCacheOptions } from "../../../examples/engine/mod.ts";
import { weightedSamples } from "../../../examples/engine/weighted_samples.ts";
import { requestTestDevice } from "../../../tools/adapter.ts";
import { FIXTURE } from "../../helpers/llama.ts";

const device = await requestTestDevice();
const checkpoint = await loadModel(FIXTURE);
const tokenIds = checkpoint.tokenizer.encode((await mobyDick()).text);
const contexts = spreadContexts("test", tokenIds, 256, 10);
const held = [contexts[2]!, contexts[7]!];
const candidates = ["c4b4", "c2b4"] as const;

function capture(windows: readonly (readonly number[])[]): Promise<CalibrationSamples[]> {
  return weightedSamples({ device, checkpoint, windows, weighting: "fisher" });
}

const codebooks = await calibrate({
  device,
  kernels: manifest,
  samples: await capture(contexts.filter((one) => !held.includes(one))),
  schemes: { keys: candidates, values: candidates },
  keySpace: "pre-rope",
  model: checkpoint.fingerprint,
  seed: 1,
});
const heldSamples = await capture(held);

function total(sensitivities: readonly Sensitivity[], scheme?: string): number {
  return sensitivities
    .filter((one) => scheme === undefined || one.scheme === scheme)
    .reduce((sum, { loss }) => sum + loss, 0);
}

Deno.test("estimateSensitivities agrees with what running each scheme in each place measures", async () => {
  const estimated = estimateSensitivities(codebooks, heldSamples);
  const measured = await measureSensitivities({
    device,
    checkpoint,
    codebooks,
    contexts: held,
    candidates,
  });
  const key = ({ layer, side, scheme }: Sensitivity) => `${layer} ${side} ${scheme}`;
  const byPlace = new Map(measured.map((one) => [key(one), one.loss]));
  assert.deepEqual(new Set(estimated.map(key)), new Set(byPlace.keys()));
  assert.equal(measured.length, 16);
  const ratio = total(estimated) / total(measured);
  assert.ok(ratio > 0.5 && ratio < 2, `${ratio} of what is measured`);
  for (const scheme of candidates) {
    const worst = (all: readonly Sensitivity[]) =>
      all.filter((one) => one.scheme === scheme).reduce((a, b) => b.loss > a.loss ? b : a);
    assert.equal(key(worst(estimated)), `1 values ${scheme}`);
    assert.equal(key(worst(measured)), `1 values ${scheme}`);
  }
  assert.ok(total(estimated, "c2b4") < total(estimated, "c4b4"));

  // A policy chosen by the estimate gives the most sensitive place the better scheme, and loses little more
  // than the one chosen by the measurement.
  const { shape, keys } = modelCacheOptions(checkpoint.config);
  const options = {
    shape,
    keys,
    budgetBits: 1.25,
    tokens: Infinity,
    sequences: 1,
  };
  const byEstimate = choosePolicy({ ...options, sensitivities: estimated }).policy;
  const byMeasure = choosePolicy({ ...options, sensitivities: measured });
  assert.equal((byEstimate.layers?.[1] ?? byEstimate).values, "c2b4");
  const chosen = measured.filter(({ layer, side, scheme }) =>
    (byEstimate.layers?.[layer] ?? byEstimate)[side] === scheme
  );
  assert.equal(chosen.length, 8);
  assert.ok(total(chosen) < 1.2 * byMeasure.expectedLoss);
});

Deno.test("measureCodedSensitivities finds what caches lose where codes stand alone in them", async () => {
  const contexts = [held[0]!.slice(0, 96)];
  const options = { checkpoint, codebooks, contexts, candidates: ["c4b4"] as const };
  const coded = await measureCodedSensitivities(options);
  const cached = await measureSensitivities({ device, ...options });
  assert.equal(coded.length, 8);
  for (const [i, { loss, ...place }] of coded.entries()) {
    const { loss: expected, ...expectedPlace } = cached[i]!;
    assert.deepEqual(place, expectedPlace);
    const off = Math.abs(loss / expected - 1);
    assert.ok(off < 0.02, `${place.layer} ${place.side}: ${loss}, in a cache ${expected}`);
  }
});

Deno.test("checkDrift: other text of the same kind fits, keys of another layer do not", () => {
  const same = checkDrift(codebooks, heldSamples);
  assert.equal(same.heads.length, 32);
  assert.deepEqual(same.drifted, [], same.describe());
  const ofOtherLayer = heldSamples.map((one) => ({
    ...heldSamples.find(({ layer, side }) => layer === (one.layer + 1) % 4 && side === one.side)!,
    layer: one.layer,
  }));
  const { drifted, describe } = checkDrift(codebooks, ofOtherLayer);
  const places = new Set(drifted.map(({ layer, side, scheme }) => `${layer} ${side} ${scheme}`));
  assert.equal(places.size, 16, describe());
});

Deno.test("estimateSensitivities: data-free schemes need no codebooks, shared centroids are told", async () => {
  // A block's mean is that of neighbours, so whole contexts are coded.
  const estimated = estimateSensitivities(codebooks, heldSamples, ["u8b8", "u4b8"]);
  assert.equal(estimated.length, 8 * 4);
  assert.ok(total(estimated, "u4b8") < total(estimated, "c2b4"));
  assert.ok(total(estimated, "u4b8") < total(estimated, "u8b8") / 2);
  assert.ok(estimated.every(({ shareHeads }) => shareHeads === undefined));

  const samples = heldSamples.slice(0, 1);
  const shared = await calibrate({
    samples,
    schemes: { keys: ["n8b4x4", "c4b4"], values: [] },
    keySpace: "pre-rope",
    model: checkpoint.fingerprint,
    seed: 1,
    iterations: 1,
    shareHeads: true,
  });
  const kinds = new Map(
    estimateSensitivities(shared, samples).map(({ scheme, shareHeads }) => [scheme, shareHeads]),
  );
  assert.deepEqual(kinds, new Map([["n8b4x4", true], ["c4b4", undefined]]));
});

const GOOD: Sensitivity[] = estimateSensitivities(codebooks, heldSamples.slice(0, 1));

for (
  const [name, change, code, words] of [
    ["no weights", { weights: undefined }, "samples", /keys of layer 0.*no weights/],
    ["weights per vector", { weights: new Float32Array(512 * 2) }, "shape", /1024 weights/],
    ["other heads", { keyValueHeads: 1, headDim: 128 }, "codebook", /2 heads of 64.*1 of 128/],
  ] as const
) {
  Deno.test(`estimateSensitivities refuses ${name}`, () => {
    const samples = { ...heldSamples[0]!, ...change } as CalibrationSamples;
    assert.throws(() => estimateSensitivities(codebooks, [samples]), isError(code, words));
  });
}

Deno.test("estimateSensitivities refuses a scheme whose codebooks it lacks", () => {
  assert.throws(
    () => estimateSensitivities(codebooks, heldSamples, ["c8b8"]),
    isError("usage", /c8b8 without codebooks/),
  );
});

function isError(code: string, words: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof CoupletError, `${error}`);
    assert.equal(error.code, code);
    assert.match(error.message, words);
    return true;
  };
}

function argumentsOf(line: string): PolicyOptions {
  const parsed = parseArguments(line.split(" "));
  assert.ok("options" in parsed);
  return parsed.options;
}

Deno.test("parseArguments of the policy program: defaults, and every option", () => {
  const { model: _model, ...rest } = argumentsOf("--bits 1.5");
  assert.deepEqual(rest, {
    bits: 1.5,
    tokens: Infinity,
    sequences: 1,
    window: 0,
    sinks: 0,
    calibrationTokens: 12288,
    sensitivityTokens: 4096,
    context: 512,
    sensitivity: "estimate",
    seed: 1,
  });
  const all = "--bits 2 --tokens 9 --sequences 2 --window 3 --sinks 4 --candidates c4b4,f16,c4b4 " +
    "--model m --calibration c --calibration-tokens 5 --sensitivity-tokens 6 --context 7 " +
    "--sensitivity measure --codebooks d --from f --seed 8 --json j";
  assert.deepEqual(argumentsOf(all), {
    bits: 2,
    tokens: 9,
    sequences: 2,
    window: 3,
    sinks: 4,
    candidates: ["c4b4", "f16"],
    model: "m",
    calibration: "c",
    calibrationTokens: 5,
    sensitivityTokens: 6,
    context: 7,
    sensitivity: "measure",
    codebooks: "d",
    from: "f",
    seed: 8,
    json: "j",
  });
});

for (
  const [line, code, words] of [
    ["--tokens 9", "usage", /--bits/],
    ["--bits 0", "usage", /positive number/],
    ["--bits 1 --tokens 0", "usage", /integer from 1/],
    ["--bits 1 --candidates c5b8", "scheme", /c5b8/],
    ["--bits 1 --sensitivity guess", "usage", /estimate, measure/],
  ] as const
) {
  Deno.test(`parseArguments of the policy program refuses ${line}`, () => {
    assert.throws(() => parseArguments(line.split(" ")), isError(code, words));
  });
}

Deno.test("readSensitivities reads what was written of this model, and nothing else", async () => {
  const { fingerprint } = checkpoint;
  const file = { source: "a text", model: fingerprint, sensitivities: GOOD };
  const path = await Deno.makeTempFile();
  async function read(content: unknown) {
    await Deno.writeTextFile(path, JSON.stringify(content));
    return await readSensitivities(path, fingerprint);
  }
  try {
    assert.deepEqual(await read(file), { source: "a text", sensitivities: GOOD });
    const other = { ...fingerprint, digest: "sha256:0" };
    await assert.rejects(read({ ...file, model: other }), isError("codebook", /the model is/));
    for (
      const wrong of [
        {},
        { ...file, sensitivities: [null] },
        { ...file, sensitivities: [{ ...GOOD[0], loss: "0" }] },
        { ...file, sensitivities: [{ ...GOOD[0], side: "queries" }] },
      ]
    ) {
      await assert.rejects(read(wrong), isError("file", /no list of sensitivities/));
    }
    await Deno.writeTextFile(path, "no JSON");
    await assert.rejects(readSensitivities(path, fingerprint), isError("file", /JSON/));
  } finally {
    await Deno.remove(path);
  }
});
