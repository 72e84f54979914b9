import type { VNode } from "preact";
import { Problem } from "../../explorer/page/problem.tsx";
import { ThemeButton } from "../../explorer/page/theme_button.tsx";
import { useSession } from "./use_session.ts";
import { WebgpuAdvice } from "./webgpu_advice.tsx";
import { Workbench } from "./workbench.tsx";

/** The page. */
export function App(): VNode {
  const session = useSession();
  const { loading, state, failed, send, reopen } = session;
  return (
    <>
      <a class="skip" href="#main">Skip to the content</a>
      <header>
        <p class="brand">
          Couplet <span>playground</span>
        </p>
        <ThemeButton />
      </header>
      <main id="main" class="page" tabIndex={-1}>
        <h1>One model, two caches</h1>
        <p class="lead">
          A small language model writes here, in your browser. It keeps what it has read in a KV
          cache: once in 16 bits per channel, once in as few as you choose. Watch what that saves,
          and what it changes.
        </p>
        {failed !== undefined && (
          <>
            <Problem parts={failed.parts} />
            {failed.code === "device" && <WebgpuAdvice />}
          </>
        )}
        {failed === undefined && state === undefined && <Loading {...loading} />}
        {state !== undefined && (
          <Workbench
            state={state}
            refused={session.refused}
            lost={session.lost}
            stopped={failed !== undefined}
            send={send}
            reopen={reopen}
          />
        )}
      </main>
    </>
  );
}

function Loading(
  { what, fraction }: { readonly what: string; readonly fraction?: number },
): VNode {
  return (
    <p class="progress" role="status">
      <label>
        {what} …
        <progress value={fraction} max={1} />
      </label>
    </p>
  );
}
