import { CoupletError, type ErrorParts } from "../../../mod.ts";

/** The sentences of any error. */
export function errorParts(error: unknown, what: string): ErrorParts {
  return error instanceof CoupletError ? error.parts : {
    what,
    why: error instanceof Error ? error.message : String(error),
    remedy: "Reload the page",
  };
}
