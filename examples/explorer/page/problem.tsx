import type { ErrorParts } from "../../../mod.ts";
import type { VNode } from "preact";

/** What went wrong, in three sentences. */
export function Problem({ parts }: { readonly parts: ErrorParts }): VNode {
  return (
    <div class="problem" role="alert">
      <strong>{parts.what}.</strong> {capital(parts.why)}. {parts.remedy}.
    </div>
  );
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
