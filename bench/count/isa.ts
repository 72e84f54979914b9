/** Reads RADV's disassembly: the instructions of a compiled kernel, of AMD's chips from RDNA on. */

/** A literal, registers of the wave, or registers of its lanes. */
export type Operand =
  | { readonly kind: "literal"; readonly words: readonly [low: number, high: number] }
  | { readonly kind: "scalar" | "vector"; readonly first: number; readonly count: number }
  /** What is not followed: the carry of a condition, a sign or a magnitude taken on the way. */
  | { readonly kind: "other" };

/** One instruction. */
export interface Instruction {
  /** Its name, without the suffix of its encoding, as newer chips call it. */
  readonly name: string;
  readonly operands: readonly Operand[];
  /** What follows the operands, such as `offen offset:16`. */
  readonly modifiers: string;
  /** The instruction a branch leads to. */
  readonly target?: number;
}

/** A compiled kernel. */
export interface Program {
  readonly instructions: readonly Instruction[];
  /** Lanes of a wave. */
  readonly lanes: 32 | 64;
}

/** Where the registers of a wave lie that have names. */
export const VCC = 106;
export const EXEC = 126;
/** The condition of the wave, which is read as if it were a register. */
export const SCC = 128;

const NAMED: Readonly<Record<string, readonly [first: number, count: number]>> = {
  vcc: [VCC, 2],
  vcc_lo: [VCC, 1],
  vcc_hi: [VCC + 1, 1],
  m0: [124, 1],
  exec: [EXEC, 2],
  exec_lo: [EXEC, 1],
  exec_hi: [EXEC + 1, 1],
  src_scc: [SCC, 1],
  scc: [SCC, 1],
};

/** Words that chips before RDNA3 have for the same. */
const RENAMED: readonly (readonly [old: RegExp, name: string])[] = [
  [
    /^(s_load|s_buffer_load|buffer_load|buffer_store|global_load|scratch_load|scratch_store)_dwordx(\d)$/,
    "$1_bx$2",
  ],
  [/^(s_load|s_buffer_load)_dwordx(16)$/, "$1_bx$2"],
  [/^(.*_(?:load|store))_dword$/, "$1_bx1"],
  [/^ds_read/, "ds_load"],
  [/^ds_write/, "ds_store"],
  [/_load_(?<sign>[us])byte/, "_load_$<sign>8"],
  [/_load_(?<sign>[us])short/, "_load_$<sign>16"],
  [/^s_ff1_i32/, "s_ctz_i32"],
  [/^s_andn2_/, "s_and_not1_"],
  [/^s_orn2_/, "s_or_not1_"],
];

function nameOf(written: string): string {
  const bare = written.replace(/_e(32|64)$/, "");
  const found = RENAMED.find(([old]) => old.test(bare));
  const name = found === undefined ? bare : bare.replace(found[0], found[1]);
  return name.replace(/_bx(\d+)$/, (_, count) => `_b${32 * Number(count)}`);
}

function float(text: string): number {
  return new Uint32Array(new Float32Array([Number(text)]).buffer)[0]!;
}

function operandOf(text: string): Operand {
  const range = /^([sv])(?:(\d+)|\[(\d+):(\d+)\])$/.exec(text);
  if (range !== null) {
    const first = Number(range[2] ?? range[3]);
    const count = range[4] === undefined ? 1 : Number(range[4]) - first + 1;
    return { kind: range[1] === "s" ? "scalar" : "vector", first, count };
  }
  const named = NAMED[text];
  if (named !== undefined) return { kind: "scalar", first: named[0], count: named[1] };
  if (text === "null") return { kind: "literal", words: [0, 0] };
  if (/^-?\d+\.\d+$/.test(text)) return { kind: "literal", words: [float(text), 0] };
  if (/^(-?\d+|0x[0-9a-f]+)$/.test(text)) {
    // Written in decimal it is in the instruction and extended by its sign.
    const value = Number(text);
    return { kind: "literal", words: [value >>> 0, value < 0 ? 0xffffffff : 0] };
  }
  return { kind: "other" };
}

/** Words that one load of a buffer brings, by its number among those of waves and of lanes. */
const WAVE_LOADS: Readonly<Record<number, number>> = { 8: 1, 9: 2, 10: 4, 11: 8, 12: 16 };
const LANE_LOADS: Readonly<Record<number, number>> = { 12: 1, 13: 2, 14: 4, 15: 3 };

/**
 * A load of a buffer whose registers, or those of whose descriptor, end in VCC. RADV makes such loads, and its disassembler
 * knows neither them nor that they have a second word.
 */
function loadUpToVcc(word: number, next: number): { name: string; rest: string } | undefined {
  const name = (stem: string, words: number) => `${stem}_dword${words > 1 ? `x${words}` : ""}`;
  const registers = (kind: string, first: number, count: number) =>
    `${kind}[${first}:${first + count - 1}]`;
  const ofWave = WAVE_LOADS[(word >>> 18) & 255];
  if (word >>> 26 === 0x3d && ofWave !== undefined) {
    const [to, from, place] = [(word >>> 6) & 127, (word & 63) * 2, next >>> 25];
    return {
      name: name("s_buffer_load", ofWave),
      rest: `${registers("s", to, ofWave)}, ${registers("s", from, 4)}, ${
        place > VCC ? "null" : `s${place}`
      } offset:${next & 0x1fffff}`,
    };
  }
  const ofLanes = LANE_LOADS[(word >>> 18) & 127];
  if (word >>> 26 === 0x38 && ofLanes !== undefined) {
    const [at, to, from, base] = [
      next & 255,
      (next >>> 8) & 255,
      ((next >>> 16) & 31) * 4,
      next >>> 24,
    ];
    return {
      name: name("buffer_load", ofLanes),
      rest: `${registers("v", to, ofLanes)}, v${at}, ${registers("s", from, 4)}, ${
        base > VCC ? "0" : `s${base}`
      }${word & 0x1000 ? " offen" : ""} offset:${word & 0xfff}`,
    };
  }
}

/** Reads one kernel's disassembly. */
export function readProgram(disassembly: string): Program {
  const found: { name: string; rest: string }[] = [];
  const blocks = new Map<string, number>();
  let unknown: number | undefined;
  for (const line of disassembly.split("\n")) {
    // What is taken for an instruction may take the word behind it for its literal: that one is lost.
    const word = /; ([0-9a-f]{8})(?: [0-9a-f]{8})?$/.exec(line.trimEnd())?.[1];
    const load = unknown && word && loadUpToVcc(unknown, parseInt(word, 16));
    unknown = undefined;
    if (load) {
      found.push(load);
      continue;
    }
    if (word && line.startsWith("(invalid instruction)")) unknown = parseInt(word, 16);
    const block = /^(BB\d+):/.exec(line);
    if (block !== null) blocks.set(block[1]!, found.length);
    const repeated = /^\t\(then repeated (\d+) times\)/.exec(line);
    if (repeated !== null) found.push(...new Array(Number(repeated[1])).fill(found.at(-1)!));
    const instruction = /^\t([a-z]\w+)\s*(.*?)\s*;/.exec(line);
    if (instruction === null) continue;
    // One encoding may hold two instructions.
    for (const part of `${instruction[1]} ${instruction[2]}`.split(" :: ")) {
      const [, name, rest] = /^(?:v_dual_)?(\w+)\s*(.*)$/.exec(part.replace(/^v_dual_/, "v_"))!;
      found.push({ name: name!, rest: rest! });
    }
  }
  const instructions = found.map(({ name, rest }): Instruction => {
    const pieces = rest === "" ? [] : rest.split(/,\s*/);
    const last = pieces.at(-1) ?? "";
    const space = last.indexOf(" ");
    const words = space === -1 ? pieces : [...pieces.slice(0, -1), last.slice(0, space)];
    const block = /^s_c?branch/.test(name) ? blocks.get(words[0]!) : undefined;
    return {
      name: nameOf(name),
      operands: words.map(operandOf),
      modifiers: space === -1 ? "" : last.slice(space + 1),
      ...(block === undefined ? {} : { target: block }),
    };
  });
  const narrow = /\bexec_lo\b/.test(disassembly) && !/\bexec\b/.test(disassembly);
  return { instructions, lanes: narrow ? 32 : 64 };
}
