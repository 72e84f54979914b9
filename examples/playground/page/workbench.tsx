import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { ErrorParts } from "@couplet/kv";
import { Problem } from "../../explorer/page/problem.tsx";
import { DivergenceChart } from "./divergence_chart.tsx";
import { Explanation } from "./explanation.tsx";
import { KeptLine } from "./kept_line.tsx";
import { MemoryBars } from "./memory_bars.tsx";
import { EXAMPLES, PromptForm } from "./prompt_form.tsx";
import type { Settings } from "./session/document.ts";
import type { Command, SessionState } from "./session/messages.ts";
import { SettingsForm } from "./settings_form.tsx";
import { WrittenText } from "./written_text.tsx";

/** All there is once the model is loaded. */
export function Workbench(
  { state, refused, lost, stopped, send, reopen }: {
    readonly state: SessionState;
    readonly refused: ErrorParts | undefined;
    readonly lost: ErrorParts | undefined;
    readonly stopped: boolean;
    readonly send: (command: Command) => void;
    readonly reopen: () => void;
  },
): VNode {
  const { document: written, half, coded, running, status, adapter } = state;
  const [promptText, setPromptText] = useState(written.promptText || EXAMPLES[0]!);
  // As chosen, before the worker has followed; what it refuses is taken back.
  const [settings, setSettings] = useState<Settings>(written.settings);
  const idle = lost !== undefined || stopped;
  const busy = running && !idle;
  useEffect(() => {
    if (refused !== undefined) setSettings(written.settings);
  }, [refused]);

  useEffect(() => {
    function pauseByKey(event: KeyboardEvent): void {
      if (event.key === "Escape" && busy) send({ kind: "pause" });
    }
    function keepWhenLeft(): void {
      if (document.visibilityState === "hidden" && !idle) send({ kind: "keep" });
    }
    addEventListener("keydown", pauseByKey);
    document.addEventListener("visibilitychange", keepWhenLeft);
    return () => {
      removeEventListener("keydown", pauseByKey);
      document.removeEventListener("visibilitychange", keepWhenLeft);
    };
  }, [busy, idle]);

  const { scheme } = written.settings;
  const { text, chosen } = written;
  const different = text.filter((token, place) => token !== chosen[place]).length;
  const share = `${Math.round((100 * different) / Math.max(1, text.length))} %`;
  return (
    <>
      <div class="desk">
        <PromptForm
          promptText={promptText}
          running={busy}
          idle={idle}
          canClear={text.length > 0}
          onPromptText={setPromptText}
          send={send}
        />
        <SettingsForm
          settings={settings}
          schemes={state.schemes}
          idle={idle}
          onChange={(settings) => {
            setSettings(settings);
            send({ kind: "change", settings });
          }}
        />
      </div>
      <p class="status">
        <strong role="status">{lost === undefined ? status : "The device was lost"}</strong>
        <span>
          {written.prompt.length + text.length} of {state.mostTokens} tokens
        </span>
        <span>On {adapter}</span>
      </p>
      {lost !== undefined && (
        <>
          <Problem parts={lost} />
          <button type="button" class="action" onClick={reopen}>Go on</button>
        </>
      )}
      {refused !== undefined && <Problem parts={refused} />}
      <div class="columns">
        <WrittenText
          title="f16"
          note="16 bits per channel, the reference"
          prompt={written.promptText}
          pieces={half.pieces}
          tokensPerSecond={half.tokensPerSecond}
          running={busy}
        />
        <WrittenText
          title={scheme}
          note={text.length === 0
            ? "Nothing to compare yet"
            : `${different} of ${text.length} tokens differ (${share}); of ${coded.tokens.all} read, ` +
              `${coded.tokens.coded} are in codes`}
          prompt={written.promptText}
          pieces={coded.pieces}
          beside={{ pieces: half.pieces, differs: (place) => text[place] !== chosen[place] }}
          tokensPerSecond={coded.tokensPerSecond}
          running={busy}
        />
      </div>
      <div class="columns">
        <DivergenceChart scheme={scheme} divergences={written.divergences} />
        <MemoryBars scheme={scheme} half={half.memory} coded={coded.memory} />
      </div>
      <KeptLine kept={state.kept} idle={idle} send={send} />
      <Explanation learned={state.learned} />
    </>
  );
}
