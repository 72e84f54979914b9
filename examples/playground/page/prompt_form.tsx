import type { VNode } from "preact";
import type { Command } from "./session/messages.ts";

/** Prompts to begin with. */
export const EXAMPLES: readonly string[] = [
  "It was a dark and stormy night, and the captain",
  "Fellow citizens of the Senate and of the House",
  "Call me Ishmael. Some years ago",
  "The old man looked at the sea and said",
];

/** The prompt, and what is done with it. */
export function PromptForm(
  { promptText, running, idle, canClear, onPromptText, send }: {
    readonly promptText: string;
    readonly running: boolean;
    /** Whether nothing can be done. */
    readonly idle: boolean;
    /** Whether something was written. */
    readonly canClear: boolean;
    readonly onPromptText: (text: string) => void;
    readonly send: (command: Command) => void;
  },
): VNode {
  function runOrPause(): void {
    if (!idle) send(running ? { kind: "pause" } : { kind: "run", promptText });
  }
  return (
    <form
      class="prompt-form"
      onSubmit={(event) => {
        event.preventDefault();
        runOrPause();
      }}
    >
      <label>
        Prompt
        <textarea
          rows={3}
          value={promptText}
          onInput={({ currentTarget }) => onPromptText(currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
            event.preventDefault();
            runOrPause();
          }}
        />
      </label>
      <div class="examples" role="group" aria-label="Examples of prompts">
        {EXAMPLES.map((example) => (
          <button
            key={example}
            type="button"
            onClick={() => onPromptText(example)}
          >
            {example.split(" ").slice(0, 3).join(" ").replace(/[.,]$/, "")} …
          </button>
        ))}
      </div>
      <div class="actions">
        <button type="submit" class="action" disabled={idle}>{running ? "Stop" : "Run"}</button>
        <button
          type="button"
          disabled={idle || running}
          onClick={() => send({ kind: "step", promptText })}
        >
          One token
        </button>
        <button
          type="button"
          disabled={idle || !canClear}
          onClick={() => send({ kind: "clear" })}
        >
          Back to the prompt
        </button>
        <span class="keys">
          <kbd>Ctrl</kbd> <kbd>Enter</kbd> runs, <kbd>Esc</kbd> stops
        </span>
      </div>
    </form>
  );
}
