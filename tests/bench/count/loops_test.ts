import assert from "node:assert/strict";
import { readProgram } from "../../../bench/count/isa.ts";
import { tileLoops } from "../../../bench/count/loops.ts";

Deno.test("tileLoops() finds the loops that lie directly in the outermost one that goes on", () => {
  const line = (text: string) => `\t${text} ; 00000000\n`;
  const program = readProgram(
    "exec\nBB0:\n" + line("v_mov_b32_e32 v1, 0") + line("s_cbranch_scc1 BB0") + // before the tiles
      "BB1:\n" + line("v_mov_b32_e32 v2, 0") +
      "BB2:\n" + line("v_mov_b32_e32 v3, 0") + line("s_cbranch_scc1 BB2") +
      "BB3:\n" + "BB4:\n" + line("v_mov_b32_e32 v4, 0") + line("s_cbranch_scc1 BB4") +
      line("v_mov_b32_e32 v5, 0") + line("s_cbranch_scc1 BB3") +
      line("s_cbranch_scc1 BB1"),
  );
  const issued = [0, 0, 1, 50, 50, 60, 60, 4, 4, 1];
  assert.deepEqual(tileLoops(program, issued, /^v_/), [
    { first: 3, instructions: 50 },
    { first: 5, instructions: 64 },
  ]);
});
