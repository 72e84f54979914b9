/** What the instructions of a compiled kernel are, loop by loop. */

/** Instructions by what carries them out. */
export interface InstructionCounts {
  /** Arithmetic of all lanes. */
  readonly vector: number;
  /** Loads of all lanes from memory. */
  readonly loads: number;
  /** Reads and writes of workgroup memory. */
  readonly workgroup: number;
  /** All there are, those of the wave as a whole included. */
  readonly all: number;
}

/** Instructions of every innermost loop of RADV's disassembly, in order. */
export function innermostLoops(disassembly: string): readonly InstructionCounts[] {
  const names: string[] = [];
  const blocks = new Map<string, number>();
  const loops = new Map<number, number>(); // ends by beginnings
  for (const line of disassembly.split("\n")) {
    const block = /^(BB\d+):/.exec(line);
    if (block !== null) blocks.set(block[1]!, names.length);
    const instruction = /^\t([a-z]\w+)\s*(.*?)\s*;/.exec(line);
    if (instruction === null) continue;
    const target = /^s_c?branch/.test(instruction[1]!) && /BB\d+/.exec(instruction[2]!);
    const first = target ? blocks.get(target[0]) : undefined;
    // A branch backwards ends a loop.
    if (first !== undefined) loops.set(first, names.length);
    names.push(instruction[1]!);
  }
  const ranges = [...loops].sort(([a], [b]) => a - b);
  return ranges
    .filter(([first, last]) => !ranges.some(([other, end]) => first < other && end <= last))
    .map(([first, last]) => countInstructions(names.slice(first, last + 1)));
}

function countInstructions(names: readonly string[]): InstructionCounts {
  const count = (of: RegExp) => names.filter((name) => of.test(name)).length;
  return {
    vector: count(/^v_/),
    loads: count(/^(buffer|global)_load/),
    workgroup: count(/^ds_/),
    all: names.length,
  };
}
