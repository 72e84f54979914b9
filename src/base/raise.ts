/** How this library throws its errors. */
import { CoupletError, type CoupletErrorCode } from "./errors.ts";

/**
 * Throws an error.
 *
 * @param what What failed.
 * @param why Why it failed, with the values that were found.
 * @param remedy What the caller can do about it.
 * @param options The underlying `cause`, where there is one.
 */
export function raise(
  code: CoupletErrorCode,
  what: string,
  why: string,
  remedy: string,
  options?: ErrorOptions,
): never {
  throw new CoupletError(code, { what, why, remedy }, options);
}

/** The message of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
