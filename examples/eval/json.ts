import { CoupletError } from "@couplet/kv";
import { z } from "zod";

/**
 * What a JSON text holds, checked.
 *
 * @param what What the text is, named in the error.
 * @throws {CoupletError} `file` where the text is no JSON or of another shape.
 */
export function parseJson<T>(what: string, schema: z.ZodType<T>, text: string): T {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw unreadable(what, cause);
  }
}

/** The error of a file that cannot be used. */
export function unreadable(what: string, cause: unknown): CoupletError {
  return new CoupletError("file", {
    what: `Cannot read ${what}`,
    why: cause instanceof z.ZodError
      ? z.prettifyError(cause).replaceAll(/\s*\n\s*/g, " ")
      : cause instanceof Error
      ? cause.message
      : String(cause),
    remedy: "Give a file in the form that docs/evaluation.md describes",
  }, { cause });
}
