/** What a wave holds, as far as it is known. What depends on a kernel's data is unknown: NaN. */
import { EXEC, type Operand, SCC } from "./isa.ts";

/** Registers of one wave and of its lanes. */
export class Registers {
  /** Registers of the wave: 32 bits each, or a descriptor. */
  readonly scalars: Float64Array = new Float64Array(SCC + 1);
  readonly #vectors: Float64Array[] = [];

  constructor(readonly lanes: number) {
    this.setMask(EXEC, new Array(lanes).fill(1));
  }

  /** A register of all lanes. */
  vector(index: number): Float64Array {
    return this.#vectors[index] ??= new Float64Array(this.lanes);
  }

  /** A word of what the wave reads; NaN where that is not known. */
  read(operand: Operand | undefined, word = 0): number {
    if (operand?.kind === "literal") return operand.words[word]!;
    if (operand?.kind !== "scalar") return NaN;
    // A mask of 32 lanes has one word.
    return word < operand.count ? this.scalars[operand.first + word]! : 0;
  }

  /** A word of what each lane reads. */
  readLanes(operand: Operand | undefined, word = 0): Float64Array {
    if (operand?.kind === "vector") return this.vector(operand.first + word);
    return new Float64Array(this.lanes).fill(this.read(operand, word));
  }

  write(operand: Operand | undefined, value: number, word = 0): void {
    if (operand?.kind === "scalar") this.scalars[operand.first + word] = value;
  }

  /** Writes a word of the lanes that run. */
  writeLanes(operand: Operand | undefined, values: ArrayLike<number>, word = 0): void {
    if (operand?.kind !== "vector") return;
    const into = this.vector(operand.first + word);
    for (let lane = 0; lane < this.lanes; lane++) {
      if (this.runs(lane)) into[lane] = values[lane]!;
    }
  }

  /** Forgets whatever an instruction writes. */
  forget(operand: Operand | undefined): void {
    if (operand?.kind === "scalar") {
      this.scalars.fill(NaN, operand.first, operand.first + operand.count);
    } else if (operand?.kind === "vector") {
      const unknown = new Float64Array(this.lanes).fill(NaN);
      for (let word = 0; word < operand.count; word++) this.writeLanes(operand, unknown, word);
    }
  }

  /** Whether a lane runs. */
  runs(lane: number): boolean {
    return this.bit(EXEC, lane) === 1;
  }

  /** 1 where a mask has a lane, 0 where it has none; NaN where that is not known. */
  any(first: number): number {
    const words = this.scalars.subarray(first, first + this.lanes / 32);
    if (words.some((word) => word > 0)) return words.some(Number.isNaN) && first === EXEC ? NaN : 1;
    return words.some(Number.isNaN) ? NaN : 0;
  }

  /** Lanes that run. */
  running(): number {
    let count = 0;
    for (let lane = 0; lane < this.lanes; lane++) count += this.bit(EXEC, lane);
    return count;
  }

  /** A lane's bit of a mask; NaN where that is not known. */
  bit(first: number, lane: number): number {
    const word = this.scalars[first + (lane >> 5)]!;
    return Number.isNaN(word) ? NaN : (word >>> (lane & 31)) & 1;
  }

  /** Writes a mask of all lanes: what is unknown of one lane makes its word unknown. */
  setMask(first: number, bits: readonly number[]): void {
    for (let word = 0; word < this.lanes / 32; word++) {
      let value = 0;
      for (let bit = 0; bit < 32; bit++) value += bits[32 * word + bit]! * 2 ** bit;
      this.scalars[first + word] = value;
    }
  }
}
