import assert from "node:assert/strict";
import { innermostLoops } from "../../tools/rdna/isa.ts";

/** As RADV disassembles: an outer loop of BB1 to BB4 with two loops in it, and a branch forwards. */
const DISASSEMBLY = `disasm:
BB0:
\ts_load_dwordx4 s[4:7], s[2:3], 0x10                            ; f4080101
BB1:
\tv_mov_b32_e32 v0, 0                                            ; 7e000280
BB2:
\tbuffer_load_dwordx4 v[4:7], v2, s[8:11], 0 offen               ; e0381000
\tv_fma_mix_f32 v0, v4, v1, v0                                   ; cc200000
\tds_read_b128 v[8:11], v3                                       ; dbfc0000
\ts_cbranch_scc1 BB2                                             ; bf85fffc
BB3:
\ts_cbranch_execz BB4                                            ; bf880001
\tv_add_f32_e32 v1, v0, v1                                       ; 06020300
\ts_branch BB3                                                   ; bf82fffd
BB4:
\ts_cbranch_scc0 BB1                                             ; bf84fff5
\tv_exp_f32_e32 v0, v0                                           ; 7e004b00
\ts_endpgm                                                       ; bf810000
`;

Deno.test("innermostLoops() counts the loops that hold no other", () => {
  assert.deepEqual(innermostLoops(DISASSEMBLY), [
    { vector: 1, loads: 1, workgroup: 1, all: 4 },
    { vector: 1, loads: 0, workgroup: 0, all: 3 },
  ]);
});

Deno.test("innermostLoops() finds none where nothing branches backwards", () => {
  assert.deepEqual(innermostLoops(DISASSEMBLY.replaceAll(/s_c?branch.*/g, "s_nop 0 ; 0")), []);
});
