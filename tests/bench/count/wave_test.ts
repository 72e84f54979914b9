import assert from "node:assert/strict";
import { readProgram } from "../../../bench/count/isa.ts";
import { Wave, type WaveCounts } from "../../../bench/count/wave.ts";
import { CoupletError } from "../../../mod.ts";

/** A kernel's instructions, as RADV disassembles them. */
function run(lines: string, ...contents: (readonly number[] | undefined)[]): WaveCounts {
  const text = lines.trim().split("\n").map((line) =>
    /^BB/.test(line.trim()) ? line.trim() : `\t${line.trim()} ; 00000000`
  );
  const bindings = contents.map((content, i) => ({
    name: `buffer ${i}`,
    ...(content === undefined ? {} : { content: Uint32Array.from(content) }),
  }));
  return new Wave(readProgram(`exec\n${text.join("\n")}`), bindings, 0, 1).run();
}

Deno.test("a wave goes through a loop as often as a parameter says", () => {
  const { issued } = run(
    `s_load_dwordx4 s[8:11], s[2:3], 0x10
     s_buffer_load_dword s5, s[8:11], 0x4
     s_mov_b32 s6, 0
     BB1:
     v_add_f32_e32 v1, v2, v3
     s_add_u32 s6, s6, 1
     s_cmp_lt_u32 s6, s5
     s_cbranch_scc1 BB1
     s_endpgm`,
    undefined,
    [0, 7],
  );
  assert.deepEqual([...issued], [1, 1, 1, 7, 7, 7, 7, 1]);
});

Deno.test("a number whose bits are reversed leaves the wave's condition as it was", () => {
  const { issued } = run(
    `s_cmp_eq_i32 0, 0
     s_brev_b32 s5, 3
     s_cbranch_scc1 BB1
     v_add_f32_e32 v1, v2, v3
     BB1:
     s_lshr_b32 s5, s5, 30
     s_cmp_eq_i32 s5, 3
     s_cbranch_scc1 BB2
     v_add_f32_e32 v1, v2, v3
     BB2:
     s_endpgm`,
  );
  assert.deepEqual([...issued], [1, 1, 1, 0, 1, 1, 1, 0, 1]);
});

Deno.test("a wave goes on until its last lane has left a loop", () => {
  // Lane n leaves after n / 8 rounds.
  const { issued } = run(
    `v_lshrrev_b32_e32 v1, 3, v0
     s_mov_b32 s6, 0
     s_mov_b64 s[10:11], exec
     BB1:
     s_mov_b64 s[8:9], exec
     v_cmpx_ge_u32_e32 s6, v1
     s_andn2_b64 s[8:9], s[8:9], exec
     s_cbranch_scc0 BB2
     s_mov_b64 exec, s[8:9]
     s_add_u32 s6, s6, 1
     s_branch BB1
     BB2:
     s_mov_b64 exec, s[10:11]
     s_endpgm`,
  );
  assert.deepEqual([...issued], [1, 1, 1, 8, 8, 8, 8, 7, 7, 7, 1, 1]);
});

Deno.test("loads whose place depends on data are gathers, counted by lane and buffer", () => {
  const { loads, gathers } = run(
    `s_load_dwordx4 s[8:11], s[2:3], null
     s_load_dwordx4 s[12:15], s[2:3], 0x10
     v_lshlrev_b32_e32 v1, 2, v0
     buffer_load_dword v2, v1, s[8:11], 0 offen
     v_lshlrev_b32_e32 v2, 3, v2
     v_cmpx_gt_u32_e32 48, v0
     buffer_load_dwordx2 v[4:5], v2, s[12:15], 0 offen offset:8
     ds_read_b128 v[8:11], v2
     s_endpgm`,
    undefined,
    undefined,
  );
  assert.deepEqual([...loads], [
    ["buffer 0", { count: 64, bytes: 256 }],
    ["buffer 1", { count: 48, bytes: 384 }],
    ["workgroup", { count: 48, bytes: 768 }],
  ]);
  assert.deepEqual([...gathers], [...loads].slice(1));
});

Deno.test("a wave knows how many there are in its workgroup", () => {
  const { issued } = run(
    `s_and_b32 s6, 63, s6
     s_cmp_eq_u32 s6, 1
     s_cbranch_scc1 BB1
     s_nop 0
     BB1:
     s_endpgm`,
  );
  assert.equal(issued[3], 0);
});

Deno.test("what a page table says is known", () => {
  const { gathers } = run(
    `s_load_dwordx4 s[8:11], s[2:3], null
     s_load_dwordx4 s[12:15], s[2:3], 0x10
     v_lshrrev_b32_e32 v1, 5, v0
     v_lshlrev_b32_e32 v1, 2, v1
     buffer_load_dword v2, v1, s[8:11], 0 offen
     buffer_load_dword v3, v2, s[12:15], 0 offen
     s_endpgm`,
    [64, 128],
    undefined,
  );
  assert.equal(gathers.size, 0);
});

Deno.test("registers that were put aside are known when they come back", () => {
  const { issued } = run(
    `v_mov_b32_e32 v9, 3
     scratch_store_dword off, v9, s5 offset:-16
     v_add_f32_e32 v9, v1, v1
     scratch_load_dword v9, off, s5 offset:-16
     v_readfirstlane_b32 s6, v9
     s_cmp_eq_u32 s6, 3
     s_cbranch_scc1 BB1
     v_nop
     BB1:
     s_endpgm`,
  );
  assert.equal(issued[7], 0);
});

for (
  const [what, lines] of [
    [
      "which way the wave goes",
      "v_readfirstlane_b32 s6, v1\ns_cmp_eq_u32 s6, 3\ns_cbranch_scc1 BB1",
    ],
    ["which lanes run", "v_cmpx_gt_u32_e32 48, v1"],
  ] as const
) {
  Deno.test(`a kernel whose data decides ${what} cannot be counted`, () => {
    const load = "s_load_dwordx4 s[8:11], s[2:3], null\nbuffer_load_dword v1, v0, s[8:11], 0 offen";
    assert.throws(
      () => run(`${load}\n${lines}\nBB1:\ns_endpgm`, undefined),
      (error) =>
        error instanceof CoupletError && error.code === "kernel" &&
        error.parts.why.startsWith(`data decides ${what}`),
    );
  });
}

Deno.test("a kernel that does not end cannot be counted", () => {
  assert.throws(() => run("BB1:\ns_branch BB1"), /did not end after/);
});
