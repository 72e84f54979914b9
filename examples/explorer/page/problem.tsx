import { CoupletError, type ErrorParts } from "../../../mod.ts";
import type { VNode } from "preact";

/** What went wrong, in three sentences. */
export function Problem({ parts }: { readonly parts: ErrorParts }): VNode {
  return (
    <div class="problem" role="alert">
      <strong>{parts.what}.</strong> {capital(parts.why)}. {parts.remedy}.
    </div>
  );
}

/** The sentences of any error. */
export function errorParts(error: unknown, what: string): ErrorParts {
  return error instanceof CoupletError ? error.parts : {
    what,
    why: error instanceof Error ? error.message : String(error),
    remedy: "Reload the page",
  };
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
