/** What commands tell of codebooks and their files. */
import type { Codebook, CodebookSet } from "../src/codebooks/codebook.ts";
import { decodeCodebooks } from "../src/codebooks/file.ts";
import { CoupletError } from "../src/base/errors.ts";
import { checkWritable } from "./arguments.ts";
import { readFile, readStart } from "./files.ts";

/** A file of codebooks. */
export interface CodebookFile {
  readonly set: CodebookSet;
  /** Of the whole file. */
  readonly bytes: number;
}

/**
 * Reads a file of codebooks, and checks all of it.
 *
 * @throws {CoupletError} `file` and `codebook` as `decodeCodebooks` does.
 */
export async function readCodebooks(path: string): Promise<CodebookFile> {
  const source = {
    what: `the codebooks ${path}`,
    remedy: "Give the path of a file that encodeCodebooks() or couplet calibrate wrote",
  };
  return await readFile(path, source, (bytes) => ({
    set: decodeCodebooks(bytes),
    bytes: bytes.length,
  }));
}

/** Bytes at a file's start in which codebooks name their format. */
const START = 2 ** 16;

/**
 * Checks before minutes of work that codebooks can be written, and that they replace nothing else:
 * samples and models are in files that look alike.
 *
 * @throws {CoupletError} `file` where they cannot.
 */
export async function checkCodebooksOut(path: string | undefined): Promise<void> {
  await checkWritable(path);
  const present = path === undefined ? undefined : await readStart(path, START);
  if (!present || present.includes('"couplet-codebooks"')) return;
  throw new CoupletError("file", {
    what: `Cannot write codebooks to ${path}`,
    why: "a file of that name holds something else",
    remedy: "Give another name",
  });
}

/**
 * Over all heads, the share of the samples' variance that coding loses; undefined where it was not
 * measured.
 */
export function lostVariance({ fit }: Codebook): number | undefined {
  return fit && total(fit.errors) / total(fit.variances);
}

function total(numbers: Float32Array): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}

/** Bytes of each part that a codebook has, by its name. */
export function partBytes(codebook: Codebook): Readonly<Record<string, number>> {
  const sizes = Object.entries(codebook).map(([name, part]) => [name, arrayBytes(part)] as const);
  return Object.fromEntries(sizes.filter(([, bytes]) => bytes > 0));
}

/** Bytes of an array, or of all arrays in an object. */
function arrayBytes(part: unknown): number {
  if (ArrayBuffer.isView(part)) return part.byteLength;
  if (typeof part !== "object" || part === null) return 0;
  return Object.values(part).reduce((sum: number, one) => sum + arrayBytes(one), 0);
}

/** Numbers in words, runs of them shortened: `0 to 3, 7`. */
export function describeRuns(numbers: readonly number[]): string {
  const runs: [first: number, last: number][] = [];
  for (const number of numbers.toSorted((a, b) => a - b)) {
    const run = runs.at(-1);
    if (run === undefined || number > run[1] + 1) runs.push([number, number]);
    else run[1] = number;
  }
  return runs.map(([first, last]) => first === last ? `${first}` : `${first} to ${last}`).join(
    ", ",
  );
}
