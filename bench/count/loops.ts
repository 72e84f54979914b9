/** The loops inside a kernel's tile loop. */
import type { Program } from "./isa.ts";

/** A loop of the tile's: what its instructions come to, loops in it included. */
export interface LoopCount {
  /** Its first instruction's place in the kernel. */
  readonly first: number;
  readonly instructions: number;
}

/** Loops that come to less are bookkeeping. */
const LEAST = 32;

/**
 * The loops that lie directly in the tile's loop, in order.
 *
 * @param issued What each instruction comes to.
 * @param counted The names that count.
 */
export function tileLoops(
  { instructions }: Program,
  issued: ArrayLike<number>,
  counted: RegExp,
): readonly LoopCount[] {
  // A branch backwards ends a loop.
  const all = new Map<number, number>();
  instructions.forEach(({ target }, at) => {
    if (target !== undefined && target <= at) all.set(target, at);
  });
  const running = [...all].filter(([first]) => issued[first]! > 0);
  const inside = (a: readonly [number, number], b: readonly [number, number]) =>
    a !== b && b[0] <= a[0] && a[1] <= b[1];
  // Of the loops that go on for one more tile, the outermost is the tile's.
  const outer = running.filter((own) => !running.some((other) => inside(own, other)));
  const within = running.filter((own) => outer.some((other) => inside(own, other)));
  return within.filter((own) => !within.some((other) => inside(own, other)))
    .map(([first, last]) => {
      let sum = 0;
      for (let at = first; at <= last; at++) {
        if (counted.test(instructions[at]!.name)) sum += issued[at]!;
      }
      return { first, instructions: sum };
    })
    .filter(({ instructions: sum }) => sum >= LEAST)
    .sort((a, b) => a.first - b.first);
}
