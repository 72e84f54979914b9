/** Files that commands read. */
import { CoupletError } from "../src/errors.ts";

/** What a file is, named in errors. */
export interface FileSource {
  /** Such as "the snapshot prompt.couplet". */
  readonly what: string;
  /** What to do where it cannot be used. */
  readonly remedy: string;
}

/**
 * What a file holds.
 *
 * @param decode Makes it of the bytes.
 * @throws {CoupletError} `file` where it cannot be read; what `decode` throws, with the file's name.
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
 * @throws {CoupletError} `file` where it cannot be read.
 */
export async function readBytes(
  path: string,
  { what, remedy }: FileSource,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return await Deno.readFile(path);
  } catch (cause) {
    throw new CoupletError("file", {
      what: `Cannot read ${what}`,
      why: cause instanceof Deno.errors.NotFound
        ? "there is no such file"
        : cause instanceof Error
        ? cause.message
        : String(cause),
      remedy,
    }, { cause });
  }
}
