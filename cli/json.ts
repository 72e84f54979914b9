/** JSON files that people wrote, checked. */
import { z } from "zod";
import { CoupletError } from "../src/base/errors.ts";
import { parseJson as parseText } from "../src/base/parse_json.ts";
import { type FileSource, readBytes } from "./files.ts";
import { describeIssues } from "./schema.ts";

/** Bytes of a file of JSON, where a command does not say otherwise. */
const MOST_BYTES = 2 ** 24;

/**
 * Parses a JSON text, and checks it.
 *
 * @throws {CoupletError} `file` where the text is not JSON or of another shape.
 */
export function parseJson<T>(source: FileSource, schema: z.ZodType<T>, text: string): T {
  try {
    return schema.parse(parseText(text));
  } catch (cause) {
    throw unreadable(source, cause);
  }
}

/**
 * Reads a JSON file, and checks it.
 *
 * @throws {CoupletError} `file` where it cannot be read, is not JSON, or of another shape.
 */
export async function readJson<T>(
  path: string,
  source: FileSource,
  schema: z.ZodType<T>,
): Promise<T> {
  const bytes = await readBytes(path, { most: MOST_BYTES, ...source });
  return parseJson(source, schema, new TextDecoder().decode(bytes));
}

/** The error of a file that cannot be used. */
function unreadable({ what, remedy }: FileSource, cause: unknown): CoupletError {
  return new CoupletError("file", {
    what: `Cannot read ${what}`,
    why: cause instanceof z.ZodError
      ? describeIssues(cause)
      : cause instanceof Error
      ? cause.message
      : String(cause),
    remedy,
  }, { cause });
}
