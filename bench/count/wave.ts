/**
 * Follows a wave through a compiled kernel, to count what it does: each loop runs as often as it would, unrolled ones are what
 * they became. Whole numbers are computed, so that every branch goes its way and every load has its address; what comes from the
 * kernel's data is unknown. A load whose place depends on data is a gather.
 */
import { CoupletError } from "../../mod.ts";
import { BITWISE, comparison, SCALAR, VECTOR } from "./arithmetic.ts";
import { EXEC, type Instruction, type Program, SCC, VCC } from "./isa.ts";
import { Registers } from "./registers.ts";

/** A buffer of a kernel, in the order of bindings. */
export interface Binding {
  readonly name: string;
  /** What it holds, where that decides what the kernel does. */
  readonly content?: Uint32Array;
}

/** What a wave loaded from one place. */
export interface Loads {
  /** Loads of lanes. */
  readonly count: number;
  readonly bytes: number;
}

/** What a wave did. */
export interface WaveCounts {
  /** How often each instruction was issued. */
  readonly issued: Float64Array;
  /** Loads of lanes by buffer, and of workgroup memory as `workgroup`. */
  readonly loads: ReadonlyMap<string, Loads>;
  /** Those of them whose place depends on data. */
  readonly gathers: ReadonlyMap<string, Loads>;
}

/** Descriptors of buffers lie one behind the other. */
const DESCRIPTOR_BYTES = 16;

/** A descriptor of binding n is this number and n: no word is as large. */
const DESCRIPTORS = 2 ** 48;

/**
 * Where RADV passes how many waves a workgroup has and which one this is, behind descriptors and the workgroup's place; only
 * kernels with subgroups read it.
 */
const GROUP_REGISTER = 6;

/** Instructions after which a wave must have come to an end. */
const MOST = 1_000_000;

/** Follows one wave from the start of a kernel to its end. The wave is of the first workgroup. */
export class Wave {
  readonly #registers: Registers;
  readonly #issued: Float64Array;
  readonly #loads = new Map<string, { count: number; bytes: number }>();
  readonly #gathers = new Map<string, { count: number; bytes: number }>();
  /** Registers that were spilled, by place. */
  readonly #scratch = new Map<string, Float64Array>();

  constructor(
    private readonly program: Program,
    private readonly bindings: readonly Binding[],
    index: number,
    waves: number,
  ) {
    this.#registers = new Registers(program.lanes);
    this.#issued = new Float64Array(program.instructions.length);
    this.#registers.scalars[GROUP_REGISTER] = waves + (index << 6);
    this.#registers.vector(0).forEach((_, lane, all) => all[lane] = index * program.lanes + lane);
  }

  /**
   * Runs it.
   *
   * @throws {CoupletError} `kernel` where data decides which way the wave goes or which lanes run, or it does not end.
   */
  run(): WaveCounts {
    const { instructions } = this.program;
    for (let at = 0, count = 0; at < instructions.length; count++) {
      const instruction = instructions[at]!;
      if (count > MOST) stop(at, instruction, `the kernel did not end after ${MOST} instructions`);
      this.#issued[at]!++;
      if (instruction.name === "s_endpgm") break;
      if (/^s_c?branch/.test(instruction.name)) {
        at = this.#taken(at, instruction) ? instruction.target! : at + 1;
      } else {
        this.#execute(instruction);
        if (Number.isNaN(this.#registers.any(EXEC))) {
          stop(at, instruction, "data decides which lanes run");
        }
        at++;
      }
    }
    return { issued: this.#issued, loads: this.#loads, gathers: this.#gathers };
  }

  /** Whether a branch is taken. */
  #taken(at: number, instruction: Instruction): boolean {
    const registers = this.#registers;
    const condition = registers.scalars[SCC]!;
    const taken: Readonly<Record<string, number>> = {
      s_branch: 1,
      s_cbranch_scc0: 1 - condition,
      s_cbranch_scc1: condition,
      s_cbranch_vccz: 1 - registers.any(VCC),
      s_cbranch_vccnz: registers.any(VCC),
      s_cbranch_execz: 1 - registers.any(EXEC),
      s_cbranch_execnz: registers.any(EXEC),
    };
    const value = taken[instruction.name] ?? NaN;
    if (Number.isNaN(value)) stop(at, instruction, "data decides which way the wave goes");
    return value === 1;
  }

  #execute(instruction: Instruction): void {
    const { name } = instruction;
    if (name.startsWith("v_")) this.#vector(instruction);
    else if (/^s_(buffer_)?load/.test(name)) this.#loadScalar(instruction);
    else if (name.startsWith("s_")) this.#scalar(instruction);
    else if (name.startsWith("scratch_")) this.#spill(instruction);
    else if (/^(buffer|global|flat)_load/.test(name)) this.#load(instruction);
    else if (name.startsWith("ds_")) this.#workgroup(instruction);
  }

  #vector({ name, operands, modifiers }: Instruction): void {
    const registers = this.#registers;
    const [to, a, b, c] = operands;
    const compared = /^v_cmp(x?)_(\w+)$/.exec(name);
    if (compared !== null) return this.#compare(compared[1] === "x", compared[2]!, operands);
    switch (name) {
      case "v_cndmask_b32": {
        const [no, yes] = [registers.readLanes(a), registers.readLanes(b)];
        const mask = c?.kind === "scalar" ? c.first : VCC;
        return registers.writeLanes(
          to,
          no.map((value, lane) => {
            const bit = registers.bit(mask, lane);
            return value === yes[lane] ? value : Number.isNaN(bit) ? NaN : bit ? yes[lane]! : value;
          }),
        );
      }
      case "v_readfirstlane_b32": {
        const from = registers.readLanes(a);
        return registers.write(
          to,
          from[Math.max(0, from.findIndex((_, lane) => registers.runs(lane)))]!,
        );
      }
      case "v_readlane_b32":
        return registers.write(to, registers.readLanes(a)[registers.read(b)] ?? NaN);
      case "v_writelane_b32":
        if (to?.kind === "vector") {
          registers.vector(to.first)[registers.read(b)] = registers.read(a);
        }
        return;
      case "v_mbcnt_lo_u32_b32":
      case "v_mbcnt_hi_u32_b32": {
        const [mask, plus] = [registers.read(a), registers.readLanes(b)];
        const first = name === "v_mbcnt_lo_u32_b32" ? 0 : 32;
        return registers.writeLanes(
          to,
          plus.map((value, lane) =>
            value + bitsBelow(mask, Math.min(Math.max(0, lane - first), 32))
          ),
        );
      }
      case "v_swap_b32": {
        const [first, second] = [registers.readLanes(to).slice(), registers.readLanes(a).slice()];
        registers.writeLanes(to, second);
        return registers.writeLanes(a, first);
      }
      case "v_lshrrev_b64":
      case "v_lshlrev_b64":
        // Moves of two registers are written so.
        if (registers.read(a) !== 0) return registers.forget(to);
        for (const word of [0, 1]) {
          registers.writeLanes(to, registers.readLanes(b, word).slice(), word);
        }
        return;
    }
    const operation = VECTOR[name];
    if (operation === undefined || modifiers !== "") {
      registers.forget(to);
      if (/_co_/.test(name)) registers.forget(a);
      return;
    }
    const read = [a, b, c].map((operand) =>
      operand === undefined ? undefined : registers.readLanes(operand)
    );
    const [first, second, third] = read;
    registers.writeLanes(
      to,
      first!.map((x, lane) => {
        const [y, z] = [second?.[lane] ?? 0, third?.[lane] ?? 0];
        return Number.isNaN(x + y + z) ? NaN : operation(x, y, z) >>> 0;
      }),
    );
  }

  /** A comparison of lanes: those that run and agree go on, or their bits are set. */
  #compare(goesOn: boolean, which: string, operands: Instruction["operands"]): void {
    const registers = this.#registers;
    const writes = !goesOn || operands.length === 3;
    const [a, b] = (writes ? operands.slice(1) : operands).map((one) => registers.readLanes(one));
    const compare = comparison(which);
    const found = Array.from({ length: registers.lanes }, (_, lane) => {
      if (!registers.runs(lane)) return 0;
      const [x, y] = [a![lane]!, b![lane]!];
      return compare === undefined || Number.isNaN(x + y) ? NaN : compare(x, y);
    });
    if (!goesOn) {
      const [to] = operands;
      if (to?.kind === "scalar") registers.setMask(to.first, found);
      return;
    }
    registers.setMask(EXEC, found);
  }

  #scalar({ name, operands }: Instruction): void {
    const registers = this.#registers;
    const { scalars } = registers;
    const [to, a, b] = operands;
    const compared = /^s_cmpk?_(\w+)$/.exec(name);
    if (compared !== null) return this.#compareScalars(compared[1]!, operands);
    if (
      /^s_(waitcnt|clause|nop|barrier|inst_prefetch|setreg|sleep|delay_alu|sendmsg|code_end)/.test(
        name,
      )
    ) return;
    const [, stem, width] = /^(.*?)_[bui](32|64)$/.exec(name) ?? [];
    const words = width === "64" ? 2 : 1;
    const condition = scalars[SCC]!;
    if (stem === "s_cselect") {
      const from = Number.isNaN(condition) ? undefined : condition ? a : b;
      for (let word = 0; word < words; word++) {
        registers.write(to, registers.read(from, word), word);
      }
      return;
    }
    if (stem === "s_mov") {
      const values = [0, 1].map((word) => registers.read(a, word));
      for (let word = 0; word < words; word++) registers.write(to, values[word]!, word);
      return;
    }
    const saves = /^s_(\w+)_saveexec$/.exec(stem ?? "");
    const bitwise = BITWISE[saves === null ? stem! : `s_${saves[1]}`];
    if (bitwise !== undefined) {
      const before = [scalars[EXEC]!, scalars[EXEC + 1]!];
      const read = (operand: typeof a, word: number) =>
        operand === undefined ? 0 : registers.read(operand, word);
      const values = Array.from({ length: words }, (_, word) => {
        const [x, y] = [read(a, word), saves === null ? read(b, word) : before[word]!];
        // Whatever the data, nothing of nothing is left.
        if (/^s_and(_saveexec)?$/.test(stem!) && (x === 0 || y === 0)) return 0;
        return Number.isNaN(x + y) ? NaN : bitwise(x, y) >>> 0;
      });
      values.forEach((value, word) => {
        registers.write(to, saves === null ? value : before[word]!, word);
        if (saves !== null) scalars[EXEC + word] = value;
      });
      const sum = values.reduce((sum, value) => sum + value, 0);
      scalars[SCC] = Number.isNaN(sum) ? NaN : Number(sum !== 0);
      return;
    }
    if (name === "s_ctz_i32_b64") {
      const bits = mask(registers.read(a), registers.read(a, 1));
      const lowest = bits === undefined ? NaN : Number(BITS.find((bit) => bits >> bit & 1n) ?? -1n);
      return registers.write(to, lowest >>> 0);
    }
    if (name === "s_lshl_b64") {
      const bits = mask(registers.read(a), registers.read(a, 1));
      const distance = registers.read(b);
      if (bits === undefined || Number.isNaN(distance)) return registers.forget(to);
      const moved = BigInt.asUintN(64, bits << BigInt(distance & 63));
      registers.write(to, Number(moved & 0xffffffffn));
      registers.write(to, Number(moved >> 32n), 1);
      scalars[SCC] = Number(moved !== 0n);
      return;
    }
    // A constant is added to what it is written to.
    const own = /^s_(add|mul)k_/.test(name) ? [to, a] as const : [a, b] as const;
    const [x, y] = own.map((operand) => operand === undefined ? 0 : registers.read(operand));
    const operation = SCALAR[name];
    if (operation === undefined || Number.isNaN(x! + y!)) {
      // What decides which lanes run must not be missed.
      if (/exec|wqm/.test(name)) registers.scalars.fill(NaN, EXEC, EXEC + 2);
      registers.forget(to);
      if (!/^s_mulk?_/.test(name)) scalars[SCC] = NaN;
      return;
    }
    const [value, next] = operation(x!, y!, condition);
    registers.write(to, value);
    if (next !== undefined) scalars[SCC] = next;
  }

  #compareScalars(which: string, operands: Instruction["operands"]): void {
    const registers = this.#registers;
    const [a, b] = operands;
    const wide = /^(eq|lg|ne)_u64$/.exec(which);
    const read = (word: number) => [registers.read(a, word), registers.read(b, word)] as const;
    const [x, y] = read(0);
    const compare = comparison(wide === null ? which : "eq_u32");
    let result = compare === undefined || Number.isNaN(x + y) ? NaN : compare(x, y);
    if (wide !== null) {
      const [high, other] = read(1);
      const equal = x === y && high === other;
      result = Number.isNaN(x + y + high + other) ? NaN : Number(wide[1] === "eq" ? equal : !equal);
    }
    registers.scalars[SCC] = result;
  }

  /** Loads of the wave: descriptors, and parameters. */
  #loadScalar({ name, operands, modifiers }: Instruction): void {
    const registers = this.#registers;
    const [to, from, offset] = operands;
    const words = Number(/_b(\d+)$/.exec(name)![1]) / 32;
    const at = registers.read(offset) + offsetOf(modifiers);
    if (name.startsWith("s_load")) {
      const descriptor = DESCRIPTORS + Math.floor(at / DESCRIPTOR_BYTES);
      for (let word = 0; word < words; word++) {
        registers.write(to, words < 4 ? NaN : descriptor + (word >> 2), word);
      }
      return;
    }
    const binding = this.#binding(registers.read(from));
    for (let word = 0; word < words; word++) {
      registers.write(to, wordAt(binding?.content, at + 4 * word), word);
    }
  }

  #binding(descriptor: number): Binding | undefined {
    return descriptor >= DESCRIPTORS ? this.bindings[descriptor - DESCRIPTORS] : undefined;
  }

  /** A load of lanes from a buffer. */
  #load({ name, operands, modifiers }: Instruction): void {
    const registers = this.#registers;
    const [to, at, descriptor, base] = operands;
    const bytes = loadBytes(name);
    const binding = name.startsWith("buffer")
      ? this.#binding(registers.read(descriptor))
      : undefined;
    const shared = registers.read(base) + offsetOf(modifiers);
    const own = registers.readLanes(at);
    const places = /\boffen\b/.test(modifiers)
      ? own.map((place) => place + shared)
      : own.map(() => shared);
    for (let word = 0; word < Math.ceil(bytes / 4); word++) {
      registers.writeLanes(
        to,
        places.map((place) => wordAt(binding?.content, place + 4 * word)),
        word,
      );
    }
    this.#count(binding?.name ?? "other", places, bytes);
  }

  /** A load from workgroup memory or a store to it. */
  #workgroup({ name, operands }: Instruction): void {
    if (!name.startsWith("ds_load")) return;
    const [to, at] = operands;
    this.#count("workgroup", this.#registers.readLanes(at), loadBytes(name));
    this.#registers.forget(to);
  }

  #count(from: string, places: Float64Array, bytes: number): void {
    const registers = this.#registers;
    const running = registers.running();
    const gathered = places.some((place, lane) => Number.isNaN(place) && registers.runs(lane));
    for (const counts of gathered ? [this.#loads, this.#gathers] : [this.#loads]) {
      const { count, bytes: sum } = counts.get(from) ?? { count: 0, bytes: 0 };
      counts.set(from, { count: count + running, bytes: sum + running * bytes });
    }
  }

  /** Registers that are put aside, and taken back. */
  #spill({ name, operands, modifiers }: Instruction): void {
    const registers = this.#registers;
    const loads = name.startsWith("scratch_load");
    const [register, base] = loads ? [operands[0], operands[2]] : [operands[1], operands[2]];
    const words = loadBytes(name) / 4;
    for (let word = 0; word < words; word++) {
      const place = `${registers.read(base) + offsetOf(modifiers) + 4 * word}`;
      if (loads) {
        registers.writeLanes(
          register,
          this.#scratch.get(place) ?? new Array(registers.lanes).fill(NaN),
          word,
        );
      } else {
        const kept = this.#scratch.get(place) ?? new Float64Array(registers.lanes).fill(NaN);
        registers.readLanes(register, word).forEach((value, lane) => {
          if (registers.runs(lane)) kept[lane] = value;
        });
        this.#scratch.set(place, kept);
      }
    }
  }
}

/** Places of bits in 64. */
const BITS: readonly bigint[] = Array.from({ length: 64 }, (_, bit) => BigInt(bit));

/** Two words as one number; undefined where they are not known. */
function mask(low: number, high: number): bigint | undefined {
  return Number.isNaN(low + high) ? undefined : BigInt(high) << 32n | BigInt(low);
}

function bitsBelow(mask: number, lanes: number): number {
  let count = 0;
  for (let bit = 0; bit < lanes; bit++) count += (mask >>> bit) & 1;
  return count;
}

function offsetOf(modifiers: string): number {
  return Number(/\boffset:(-?\w+)/.exec(modifiers)?.[1] ?? 0);
}

/** A word of a buffer; 0 behind its end, and NaN where its content or the place is not known. */
function wordAt(content: Uint32Array | undefined, at: number): number {
  return content === undefined || Number.isNaN(at) ? NaN : content[at >> 2] ?? 0;
}

/** Bytes that a lane loads or stores. */
function loadBytes(name: string): number {
  const bits = Number(/_[a-z](\d+)(?:_d16\w*)?$/.exec(name)?.[1] ?? 32);
  // Some load two from two places.
  return bits / 8 * (/load_?2/.test(name) ? 2 : 1);
}

function stop(at: number, { name }: Instruction, why: string): never {
  throw new CoupletError("kernel", {
    what: "Cannot count a kernel's instructions",
    why: `${why} (instruction ${at}, ${name})`,
    remedy: "Measure it, or teach bench/count/ what it depends on",
  });
}
