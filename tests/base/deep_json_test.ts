/** JSON that is well formed, and nested so deep that whoever walks it runs out of stack. */
import assert from "node:assert/strict";
import {
  CoupletError,
  type CoupletErrorCode,
  decodeCodebooks,
  findLongestPrefix,
  inspectSnapshot,
  promptKey,
  readSafetensors,
  readSampleOrigin,
  readSamples,
  readWeights,
  type SnapshotStore,
  type TuningRecord,
  writeSafetensors,
} from "../../mod.ts";
import { resolveOptions } from "../../src/plan/options.ts";
import { checkSnapshot, decodeSnapshot } from "../../src/snapshots/file.ts";
import {
  checkTuning,
  checkTuningDevice,
  findTuned,
  tunedShape,
} from "../../src/plan/tuning_record.ts";
import { parseJson } from "../../src/base/parse_json.ts";
import { VERSION } from "../../src/base/version.ts";
import {
  forgeCodebooks,
  forgeSnapshot,
  nested,
  nestedLists,
  withHeader,
} from "../helpers/forged_files.ts";

/** The least of them is within what the parser takes, so that what comes after it is tried, too. */
const DEPTHS: readonly number[] = [40, 65, 3000, 100_000];

const OPTIONS = resolveOptions({
  shape: { layers: 1, queryHeads: 1, keyValueHeads: 1, headDim: 64 },
  policy: { keys: "c8b8", values: "c8b8" },
  keys: { space: "as-scored" },
  tiers: { sinks: 1, window: 3 },
  capacity: { sequences: 1, tokens: 64, sequenceTokens: 64, stepTokens: 1, appendTokens: 1 },
});

const IDENTITY = {
  model: undefined,
  plan: '{"a":1}',
  planFingerprint: "p",
  codebookFingerprint: "c",
};

function tensor(name: string, entry: string): Uint8Array {
  return withHeader(
    `{${JSON.stringify(name)}:{"dtype":"U8","shape":[],"data_offsets":[0,0],${entry}}}`,
  );
}

/** A file of samples with one entry of metadata; what it reads of them comes before the tensors. */
function samples(entry: Readonly<Record<string, string>>): Uint8Array {
  return writeSafetensors({
    metadata: { format: "couplet-samples", version: "1", ...entry },
    tensors: new Map(),
  });
}

/** What reads JSON out of files, with nested lists where the name says. */
const READERS: Readonly<
  Record<string, readonly [CoupletErrorCode, (json: string) => unknown]>
> = {
  "readSafetensors(), as the header": ["file", (json) => readSafetensors(withHeader(json))],
  "readSafetensors(), as metadata": [
    "file",
    (json) => readSafetensors(withHeader(`{"__metadata__":{"a":${json}}}`)),
  ],
  "readSafetensors(), as a tensor": [
    "file",
    (json) => readSafetensors(withHeader(`{"a":${json}}`)),
  ],
  "readSafetensors(), as a dtype": [
    "file",
    (json) => readSafetensors(tensor("a", `"dtype":${json}`)),
  ],
  "readSafetensors(), as offsets": [
    "file",
    (json) => readSafetensors(tensor("a", `"data_offsets":${json}`)),
  ],
  "readSamples(), as a shape": [
    "file",
    (json) => readSamples(tensor("layers.0.keys", `"shape":${json}`)),
  ],
  "readSamples(), as the rotary embedding": ["file", (rope) => readSamples(samples({ rope }))],
  "readSampleOrigin(), as the model": ["file", (model) => readSampleOrigin(samples({ model }))],
  "readWeights(), as a shape": [
    "file",
    (json) => readWeights(tensor("layers.0.keys", `"shape":${json}`)),
  ],
  "decodeCodebooks(), as the model": [
    "file",
    (model) => decodeCodebooks(forgeCodebooks({ model })),
  ],
  "decodeCodebooks(), as the provenance": [
    "file",
    (provenance) => decodeCodebooks(forgeCodebooks({ provenance })),
  ],
  "inspectSnapshot(), as the model": [
    "file",
    async (model) => await inspectSnapshot(await forgeSnapshot({ model })),
  ],
  "inspectSnapshot(), as the first coded tokens": [
    "file",
    async (coded_from) => await inspectSnapshot(await forgeSnapshot({ coded_from })),
  ],
  "checkSnapshot(), as the plan": [
    "snapshot",
    async (plan) =>
      await checkSnapshot(await decodeSnapshot(await forgeSnapshot({ plan })), IDENTITY, OPTIONS),
  ],
  "checkSnapshot(), as a part of the plan": [
    "snapshot",
    async (json) => {
      const plan = `{"a":${json}}`;
      await checkSnapshot(await decodeSnapshot(await forgeSnapshot({ plan })), IDENTITY, OPTIONS);
    },
  ],
};

for (const [name, [code, read]] of Object.entries(READERS)) {
  for (const deep of DEPTHS) {
    Deno.test(`${name} refuses lists ${deep} deep`, async () => {
      await assert.rejects(
        async () => await read(nested(deep)),
        (error) => error instanceof CoupletError && error.code === code,
      );
    });
  }
}

Deno.test("findLongestPrefix() passes over entries with nested lists, and reports them", async () => {
  const prompt = { planFingerprint: "p", codebookFingerprint: "c", tokenIds: [1] };
  const key = await promptKey(prompt);
  for (const deep of DEPTHS) {
    const bytes = await forgeSnapshot({ coded_from: nested(deep) });
    const store: SnapshotStore = {
      list: () => Promise.resolve([key]),
      get: () => Promise.resolve(bytes),
      put: () => Promise.reject(new Error("nothing is put")),
      delete: () => Promise.reject(new Error("nothing is deleted")),
    };
    const { tokens, refused } = await findLongestPrefix(store, prompt, 1);
    assert.equal(tokens, 0);
    assert.deepEqual(refused.map((one) => [one.key, one.error.code]), [[key, "file"]]);
  }
});

const ADAPTER = { vendor: "a", architecture: "", device: "", description: "" };
const DEVICE = { adapterInfo: ADAPTER } as unknown as GPUDevice;
const RECORD = { version: VERSION, adapter: ADAPTER, shape: tunedShape(OPTIONS), attention: [] };

/** What checks a tuning record, which a host parsed itself, with nested lists in it. */
const TUNING: Readonly<Record<string, (lists: unknown) => unknown>> = {
  "checkTuning(), as the record": (lists) => checkTuning(lists as TuningRecord, OPTIONS),
  "checkTuning(), as the version": (version) =>
    checkTuning({ ...RECORD, version } as never, OPTIONS),
  "checkTuning(), as the head dimension": (headDim) =>
    checkTuning({ ...RECORD, shape: { ...RECORD.shape, headDim } } as never, OPTIONS),
  "checkTuning(), as the measurements": (attention) =>
    checkTuning({ ...RECORD, attention: [attention] } as never, OPTIONS),
  "checkTuningDevice(), as the vendor": (vendor) =>
    checkTuningDevice({ ...RECORD, adapter: { ...ADAPTER, vendor } } as never, DEVICE),
  "findTuned(), as a scheme": (keys) =>
    findTuned(
      { ...RECORD, attention: [{ keys }] } as never,
      OPTIONS.layers[0]!,
      "decode",
      new Set(),
    ),
};

for (const [name, check] of Object.entries(TUNING)) {
  Deno.test(`${name}, refuses nested lists and objects that are no text`, () => {
    for (
      const value of [...DEPTHS.map(nestedLists), { toString: 1 }, JSON.parse('{"__proto__":1}')]
    ) {
      assert.throws(
        () => check(value),
        (error) => error instanceof CoupletError && error.code === "tuning",
      );
    }
  });
}

/** Texts, and how deep their lists and objects lie in each other. */
const TEXTS: readonly (readonly [text: string, parsed: unknown])[] = [
  ["7", 7],
  [`${"[1],".repeat(200)}`.replace(/^(.*),$/, "[$1]"), Array(200).fill([1])],
  [JSON.stringify("[".repeat(200)), "[".repeat(200)],
  [JSON.stringify(`"${"[".repeat(200)}\\`), `"${"[".repeat(200)}\\`],
  ['{"a\\\\":{"b":[]}}', { "a\\": { b: [] } }],
  [nested(64), nestedLists(64)],
];

Deno.test("parseJson() counts what lies in each other, and not what texts say", () => {
  for (const [text, parsed] of TEXTS) assert.deepEqual(parseJson(text), parsed);
  for (const text of [nested(65), `{"a":${nested(64)}}`, `["\\\\",${nested(64)}]`]) {
    assert.throws(() => parseJson(text), /more than 64 deep/);
  }
  for (const text of ["", "[", '"', '"\\', "]".repeat(100), "[}"]) {
    assert.throws(() => parseJson(text), SyntaxError);
  }
});
