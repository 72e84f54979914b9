import type { VNode } from "preact";
import { Problem } from "../../explorer/page/problem.tsx";
import type { Command, Kept } from "./session/messages.ts";

/** Whether the text is there after a reload. */
export function KeptLine(
  { kept, idle, send }: {
    readonly kept: Kept;
    readonly idle: boolean;
    readonly send: (command: Command) => void;
  },
): VNode {
  if (kept.state === "failed") {
    return (
      <>
        <Problem parts={kept.parts} />
        <p class="kept">What is written here is gone when the page is closed.</p>
      </>
    );
  }
  return (
    <p class="kept">
      {kept.state === "nothing"
        ? "The text is kept in this browser whenever writing stops, and is there again after a reload. Tabs share one place: it has the text of the one that wrote last."
        : (
          <>
            {kept.tokens}{" "}
            tokens are kept in this browser, with snapshots of both caches. A tab that writes later
            takes their place.
            <button
              type="button"
              class="plain"
              disabled={idle}
              onClick={() => send({ kind: "forget" })}
            >
              Forget them
            </button>
          </>
        )}
    </p>
  );
}
