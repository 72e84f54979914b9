/** What a cache's calls are given: lists, sequences, encoders. */
import assert from "node:assert/strict";
import type { CommandTarget, ReadRange, StepEntry } from "../../mod.ts";
import { checkBeams, checkReadRange, checkStepEntries } from "../../src/cache/check_calls.ts";
import { checkTarget } from "../../src/cache/command_target.ts";
import { type Call, tryBadValues } from "../helpers/bad_values.ts";

const sequence = { id: 0 };
const buffer = { usage: 0x80, size: 1024 } as GPUBuffer;
const range: ReadRange = { side: "keys", first: 0, count: 1, output: { buffer } };

const CALLS: readonly (Call & { readonly says: RegExp })[] = [
  {
    name: "checkStepEntries",
    arguments: [[{ sequence, tokens: 1 }]],
    run: checkStepEntries,
    says: /list, each \{ sequence, tokens \}/,
  },
  { name: "checkReadRange", arguments: [range], run: checkReadRange, says: /side, first, count/ },
  { name: "checkBeams", arguments: [[sequence], [0]], run: checkBeams, says: /createSequence/ },
  {
    name: "checkTarget",
    arguments: [{ beginComputePass() {} }],
    run: checkTarget,
    says: /GPUCommandEncoder/,
  },
];

for (const call of CALLS) {
  Deno.test(`${call.name}() takes what is right, and refuses whatever else it is given`, async () => {
    await call.run(...call.arguments);
    assert.ok(await tryBadValues(call) > 0);
    assert.throws(() => call.run(), call.says);
  });
}

/** Entries that newcomers pass. */
const ENTRIES: readonly unknown[] = [
  undefined,
  sequence,
  [sequence],
  [{ tokens: 1 }],
  [{ sequence }],
  [{ sequence, tokens: "1" }],
  [{ sequence, tokens: NaN }],
  [undefined],
];

for (const entries of ENTRIES) {
  Deno.test(`checkStepEntries() refuses ${JSON.stringify(entries)}`, () => {
    assert.throws(() => checkStepEntries(entries as StepEntry[]), /Cannot begin a step/);
  });
}

Deno.test("checkTarget() takes an encoder and a pass", () => {
  checkTarget({ beginComputePass() {} } as unknown as CommandTarget);
  checkTarget({ dispatchWorkgroups() {} } as unknown as CommandTarget);
});

Deno.test("entries may have more than a step asks for, a range may not", () => {
  checkStepEntries([{ sequence, tokens: 1, prompt: "hello" } as StepEntry]);
  assert.throws(() => checkReadRange({ ...range, from: 3 } as ReadRange), /unknown option "from"/);
});
