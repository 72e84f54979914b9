/** How wide what a program prints may be. */
import process from "node:process";

/** Columns where the output is no terminal, such as a file. */
export const WIDTH_ELSEWHERE = 100;

/** Columns of the terminal that the standard output is. */
export function outputWidth(): number {
  const { isTTY, columns } = process.stdout;
  // Some terminals say 0.
  return (isTTY && columns) || WIDTH_ELSEWHERE;
}
