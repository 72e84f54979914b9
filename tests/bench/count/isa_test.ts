import assert from "node:assert/strict";
import { EXEC, readProgram } from "../../../bench/count/isa.ts";

Deno.test("readProgram() calls instructions of all chips alike, and finds where branches lead", () => {
  const { instructions, lanes } = readProgram(`
BB0:
\ts_mov_b64 s[6:7], exec                                      ; be86047e
BB1:
\tbuffer_load_dwordx4 v[4:7], v2, s[8:11], 0 offen offset:16  ; e0381000
\tds_read2_b32 v[8:9], v3 offset1:1                           ; dbfc0000
\tv_add_nc_u32_e32 v1, -1, v2                                 ; 4a0202ff
\t(then repeated 2 times)
\ts_cbranch_scc1 BB1                                          ; bf85fffc
`);
  assert.deepEqual(instructions.map(({ name }) => name), [
    "s_mov_b64",
    "buffer_load_b128",
    "ds_load2_b32",
    ...new Array(3).fill("v_add_nc_u32"),
    "s_cbranch_scc1",
  ]);
  assert.equal(lanes, 64);
  assert.equal(instructions.at(-1)!.target, 1);
  const [move, load, , add] = instructions;
  assert.deepEqual(move!.operands[1], { kind: "scalar", first: EXEC, count: 2 });
  assert.deepEqual(load!.operands, [
    { kind: "vector", first: 4, count: 4 },
    { kind: "vector", first: 2, count: 1 },
    { kind: "scalar", first: 8, count: 4 },
    { kind: "literal", words: [0, 0] },
  ]);
  assert.equal(load!.modifiers, "offen offset:16");
  assert.deepEqual(add!.operands[1], { kind: "literal", words: [0xffffffff, 0xffffffff] });
});

Deno.test("readProgram() reads loads up to VCC, of which the disassembler knows neither word", () => {
  for (const second of ["\ts_movk_i32 s0, 0x10", "(invalid instruction)"]) {
    const { instructions } = readProgram(
      "exec\n(invalid instruction) ; f4281a2e\n" + second + " ; b0000010\n\ts_nop 0 ; bf800000\n",
    );
    assert.deepEqual(instructions.map(({ name }) => name), ["s_buffer_load_b128", "s_nop"]);
    assert.deepEqual(instructions[0]!.operands, [
      { kind: "scalar", first: 104, count: 4 },
      { kind: "scalar", first: 92, count: 4 },
      { kind: "scalar", first: 88, count: 1 },
    ]);
    assert.equal(instructions[0]!.modifiers, "offset:16");
  }
});

Deno.test("readProgram() reads lanes' loads whose descriptor ends in VCC, with what is taken for their second word", () => {
  const { instructions } = readProgram(
    "exec\n(invalid instruction) ; e0301010\n\ts_add_u32 s26, s79, s79 ; 801a4f50\n" +
      "(invalid instruction) ; e0380000\n\ts_add_u32 s26, 0x805b5b0c, 0x805b5b0c ; 091affff 805b5b0c\n" +
      "\ts_nop 0 ; bf800000\n",
  );
  assert.deepEqual(instructions.map(({ name, modifiers }) => [name, modifiers]), [
    ["buffer_load_b32", "offen offset:16"],
    ["buffer_load_b128", "offset:0"],
    ["s_nop", ""],
  ]);
  assert.deepEqual(instructions.slice(0, 2).map(({ operands }) => operands), [
    [
      { kind: "vector", first: 79, count: 1 },
      { kind: "vector", first: 80, count: 1 },
      { kind: "scalar", first: 104, count: 4 },
      { kind: "literal", words: [0, 0] },
    ],
    [
      { kind: "vector", first: 255, count: 4 },
      { kind: "vector", first: 255, count: 1 },
      { kind: "scalar", first: 104, count: 4 },
      { kind: "scalar", first: 9, count: 1 },
    ],
  ]);
});

Deno.test("readProgram() knows waves of 32 lanes by their masks", () => {
  assert.equal(readProgram("\ts_mov_b32 s6, exec_lo ; be86047e\n").lanes, 32);
});
