import assert from "node:assert/strict";
import { judge, judgePublished } from "../../tools/budgets.ts";

Deno.test("judge() passes what meets its goal, reports what misses it, and fails from the ceiling on", () => {
  const budget = { goal: 1000, ceiling: 1500 };
  for (
    const [gzipped, meets, passes, said] of [
      [999, true, true, /under 1\.0 kB$/],
      [1000, false, true, /MISSES 1\.0 kB by 0\.0 kB$/],
      [1499, false, true, /MISSES 1\.0 kB by 0\.5 kB$/],
      [1500, false, false, /FAILS at 1\.5 kB$/],
    ] as const
  ) {
    const verdict = judge("a file", { raw: 4000, gzipped }, budget);
    assert.deepEqual([verdict.meets, verdict.passes], [meets, passes], `${gzipped} bytes`);
    assert.match(verdict.line, /^a file: 4\.0 kB, /);
    assert.match(verdict.line, said);
  }
});

Deno.test("judgePublished() holds bytes as they are against the budget", () => {
  const budget = { goal: 1000, ceiling: 1000 };
  for (
    const [bytes, passes, said] of [
      [999, true, /^a folder: 1\.0 kB: under 1\.0 kB$/],
      [1000, false, /MISSES 1\.0 kB by 0\.0 kB, and FAILS at 1\.0 kB$/],
    ] as const
  ) {
    const verdict = judgePublished("a folder", bytes, budget);
    assert.deepEqual([verdict.meets, verdict.passes], [passes, passes], `${bytes} bytes`);
    assert.match(verdict.line, said);
  }
});
