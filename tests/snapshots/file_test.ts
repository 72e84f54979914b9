import assert from "node:assert/strict";
import { CoupletError, inspectSnapshot, type SchemeId } from "../../mod.ts";
import { type CacheOptions, resolveOptions } from "../../src/plan/options.ts";
import type { CacheIdentity } from "../../src/cache/identity.ts";
import { type SafetensorsTensor, writeSafetensors } from "../../src/base/safetensors.ts";
import {
  checkSnapshot,
  decodeSnapshot,
  encodeSnapshot,
  snapshotTensors,
} from "../../src/snapshots/file.ts";
import { sha256 } from "../../src/base/sha256.ts";
import { forgeCodebooks, forgeSnapshot, withHeader } from "../helpers/forged_files.ts";

const PLAN = "{}";
const IDENTITY: CacheIdentity = {
  model: undefined,
  plan: PLAN,
  planFingerprint: await sha256(new TextEncoder().encode(PLAN)),
  codebookFingerprint: "c",
};

function options(scheme: SchemeId): CacheOptions {
  return {
    shape: { layers: 1, queryHeads: 1, keyValueHeads: 1, headDim: 64 },
    policy: { keys: scheme, values: scheme },
    keys: { space: "as-scored" },
    tiers: { sinks: 1, window: 3 },
    capacity: { sequences: 1, tokens: 256, sequenceTokens: 256, stepTokens: 8, appendTokens: 8 },
  };
}

/** A whole snapshot of 200 zero tokens, exact from a position; of these 192 are coded by age in blocks of 64, 196 without. */
async function exactFrom(scheme: SchemeId, exactFrom: number): Promise<void> {
  const resolved = resolveOptions(options(scheme));
  const state = { length: 200, exactFrom, codedFrom: [0], spans: [] };
  const tensors = new Map<string, SafetensorsTensor>();
  for (const [name, { dtype, shape }] of snapshotTensors(resolved, state)) {
    const bytes = shape.reduce((product, size) => product * size, dtype === "U32" ? 4 : 2);
    tensors.set(name, { dtype, shape, data: new Uint8Array(bytes) });
  }
  const info = { ...IDENTITY, ...state, prompt: undefined };
  const content = await decodeSnapshot(await encodeSnapshot({ info, tensors }));
  await checkSnapshot(content, IDENTITY, resolved);
}

/** Schemes, the first exact position, and whether coded tokens are whole blocks then. */
const EXACT_FROM: readonly (readonly [scheme: SchemeId, from: number, whole: boolean])[] = [
  ["u8b8", 0, true],
  ["u8b8", 1, true],
  // Within what is coded by its age: exact all the same, for a rollback.
  ["u8b8", 100, true],
  ["u8b8", 193, true],
  ["u8b8", 194, false],
  ["u8b8", 199, false],
  ["u8b8", 200, false],
  ["kc4", 193, true],
  ["kc4", 194, false],
  ["c8b8", 0, true],
  ["c8b8", 197, true],
  ["c8b8", 198, true],
  ["c8b8", 200, true],
];

for (const [scheme, from, whole] of EXACT_FROM) {
  const verb = whole ? "takes" : "refuses";
  Deno.test(`checkSnapshot() ${verb} ${scheme} that is exact from position ${from}`, async () => {
    if (whole) return await exactFrom(scheme, from);
    await assert.rejects(
      exactFrom(scheme, from),
      (error) =>
        error instanceof CoupletError && error.code === "file" && /block/.test(error.message),
    );
  });
}

/** Files that nobody said were snapshots. */
const OTHERS: Readonly<Record<string, Uint8Array>> = {
  "nothing": new Uint8Array(0),
  "a text": new TextEncoder().encode("# Notes\n\nThese are mine.\n".repeat(20)),
  "samples": writeSafetensors({
    metadata: {},
    tensors: new Map([["layers.0.keys", {
      dtype: "F32",
      shape: [0, 1, 8],
      data: new Uint8Array(0),
    }]]),
  }),
  "a model's weights": writeSafetensors({ metadata: { format: "pt" }, tensors: new Map() }),
  "codebooks": forgeCodebooks({}),
  "a header that is no JSON": withHeader("{{"),
  "tensors that do not fit": withHeader('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'),
};

for (const [name, bytes] of Object.entries(OTHERS)) {
  Deno.test(`inspectSnapshot() refuses ${name}, and tells nobody to delete it`, async () => {
    await assert.rejects(inspectSnapshot(bytes), (error) => {
      assert.ok(error instanceof CoupletError && error.code === "file", String(error));
      assert.doesNotMatch(error.message, /delete/i);
      return true;
    });
  });
}

/** Lists that are none of numbers from 0, as the first coded tokens. */
const NO_COUNTS: readonly string[] = [
  "",
  "7",
  "{}",
  "null",
  '["0"]',
  "[[0]]",
  "[-1]",
  "[0.5]",
  "[1e300]",
  "[null]",
];

for (const coded_from of NO_COUNTS) {
  Deno.test(`inspectSnapshot() refuses coded_from ${coded_from}`, async () => {
    await assert.rejects(
      inspectSnapshot(await forgeSnapshot({ coded_from })),
      (error) => error instanceof CoupletError && error.code === "file",
    );
  });
}

Deno.test("CoupletError cuts what files say at length, and keeps the sentences", async () => {
  const bytes = writeSafetensors({ metadata: { format: "x".repeat(1e6) }, tensors: new Map() });
  await assert.rejects(inspectSnapshot(bytes), (error) => {
    assert.ok(error instanceof CoupletError);
    assert.ok(error.message.length < 5000);
    assert.match(error.parts.why, /name the format "xxx.*x\.\.\. \(10000\d\d characters\)$/);
    assert.match(error.message, /Give a file or an entry/);
    return true;
  });
});
