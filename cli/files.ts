/** Files that commands read. */
import { createHash } from "node:crypto";
import { createReadStream, type Stats } from "node:fs";
import { open, readFile as readWhole, rename, rm, stat, writeFile } from "node:fs/promises";
import process from "node:process";
import { CoupletError } from "../src/base/errors.ts";
import { formatBytes } from "./format_bytes.ts";

/** A file, as errors describe it. */
export interface FileSource {
  /** Such as "the snapshot prompt.couplet". */
  readonly what: string;
  /** What to do if it cannot be used. */
  readonly remedy: string;
  /** Most bytes it may have. Defaults to {@linkcode MOST_BYTES}. */
  readonly most?: number;
}

/** Bytes of any file that is read as a whole: more than any model's largest file has. */
export const MOST_BYTES: number = 2 ** 36;

/**
 * What a file holds.
 *
 * @param decode Parses the bytes.
 * @throws {CoupletError} `file` where it cannot be read; what `decode` throws, with the file's
 * name.
 */
export async function readFile<T>(
  path: string,
  source: FileSource,
  decode: (bytes: Uint8Array<ArrayBuffer>) => T | Promise<T>,
): Promise<T> {
  const bytes = await readBytes(path, source);
  try {
    return await decode(bytes);
  } catch (error) {
    if (!(error instanceof CoupletError)) throw error;
    const { why, remedy } = error.parts;
    throw new CoupletError(error.code, { what: `Cannot read ${source.what}`, why, remedy }, {
      cause: error,
    });
  }
}

/**
 * The bytes of a file.
 *
 * @throws {CoupletError} `file` where it cannot be read, or is not a file: pipes may never be
 * written to, and devices never end.
 */
export async function readBytes(
  path: string,
  source: FileSource,
): Promise<Uint8Array<ArrayBuffer>> {
  await checkFile(path, source);
  try {
    const { buffer, byteOffset, byteLength } = await readWhole(path);
    // Parsers get what copies when it is cut, as a Buffer does not.
    return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
  } catch (cause) {
    throw unreadable(source, reason(cause), cause);
  }
}

/**
 * The SHA-256 of a file of any size, in hexadecimal digits.
 *
 * @throws {CoupletError} `file` as {@linkcode readBytes} does.
 */
export async function digestFile(path: string, source: FileSource): Promise<string> {
  await checkFile(path, source);
  try {
    const hash = createHash("sha256");
    for await (const part of createReadStream(path)) hash.update(part);
    return hash.digest("hex");
  } catch (cause) {
    throw unreadable(source, reason(cause), cause);
  }
}

/**
 * Writes a file as a whole: until all of it is written, what was there before stays, and a program
 * that ends early leaves nothing that is half written under the name.
 */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  const unfinished = `${path}.${process.pid}.unfinished`;
  try {
    await writeFile(unfinished, content);
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}

/**
 * The first bytes of a file as text, where anything but ASCII is of no use; undefined where there is
 * no file.
 */
export async function readStart(path: string, bytes: number): Promise<string | undefined> {
  if (!await isFile(path)) return undefined;
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(bytes), 0, bytes, 0);
    return new TextDecoder("latin1").decode(buffer.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}

/** Whether there is a file. */
export async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

/**
 * Checks that there is a file, before it is opened.
 *
 * @throws {CoupletError} `file` where there is none, something else, or a larger one than may be.
 */
export async function checkFile(path: string, source: FileSource): Promise<void> {
  let info: Stats;
  try {
    info = await stat(path);
  } catch (cause) {
    throw unreadable(source, reason(cause), cause);
  }
  const { size } = info;
  const { most = MOST_BYTES } = source;
  if (info.isDirectory()) throw unreadable(source, "it is a folder");
  if (!info.isFile()) throw unreadable(source, "it is a pipe or a device, and no file");
  if (size > most) {
    throw unreadable(source, `it has ${formatBytes(size)}, and may have ${formatBytes(most)}`);
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

function reason(cause: unknown): string {
  if (isNotFound(cause)) return "there is no such file";
  return cause instanceof Error ? cause.message : String(cause);
}

function unreadable({ what, remedy }: FileSource, why: string, cause?: unknown): CoupletError {
  return new CoupletError("file", { what: `Cannot read ${what}`, why, remedy }, { cause });
}
