import type { VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { NamedKernel } from "./kernels.ts";
import { errorParts } from "./error_parts.ts";
import { Problem } from "./problem.tsx";
import { requestAdapter } from "./run/request_device.ts";
import type { TimedRun } from "./run/run_result.ts";
import type { RunMessage, RunRequest } from "./run/run_messages.ts";
import { useAsync } from "./use_async.ts";

/** Tokens that a visitor may time with. */
const CONTEXTS: readonly number[] = [512, 2048, 8192, 32768];

/** Of the random numbers of every run. */
const SEED = 1;

/** Runs a kernel in the visitor's browser and shows what came of it. */
export function RunPanel({ kernel }: { readonly kernel: NamedKernel }): VNode {
  const support = useAsync(requestAdapter, []);
  const [tokens, setTokens] = useState(2048);
  const { message, running, run, stop } = useRun();
  const { name } = kernel.info;
  const calibrates = kernel.parts.family.startsWith("kmeans");
  return (
    <section class="run" aria-labelledby="run-heading">
      <h2 id="run-heading">Run it here</h2>
      {support.state === "failed"
        ? <Problem parts={errorParts(support.error, "Kernels cannot run here")} />
        : (
          <form
            onSubmit={(event) => {
              event.preventDefault();
              if (running) stop();
              else run({ name, tokens, seed: SEED });
            }}
          >
            {!calibrates && (
              <label>
                Tokens to time with
                <select
                  value={tokens}
                  disabled={running}
                  onChange={({ currentTarget }) => setTokens(Number(currentTarget.value))}
                >
                  {CONTEXTS.map((count) => <option key={count} value={count}>{count}</option>)}
                </select>
              </label>
            )}
            <button type="submit" class="action" disabled={support.state === "pending"}>
              {running ? "Stop" : "Run"}
            </button>
          </form>
        )}
      <div aria-live="polite">{message !== undefined && <Outcome message={message} />}</div>
    </section>
  );
}

/** A run in a worker of its own. */
function useRun() {
  const [message, setMessage] = useState<RunMessage>();
  const [running, setRunning] = useState(false);
  const worker = useRef<Worker | undefined>(undefined);
  function end(): void {
    worker.current?.terminate();
    worker.current = undefined;
    setRunning(false);
  }
  useEffect(() => end, []);
  return {
    message,
    running,
    stop() {
      end();
      setMessage(undefined);
    },
    run(request: RunRequest) {
      const started = new Worker(new URL("run_worker.js", document.baseURI), { type: "module" });
      worker.current = started;
      setRunning(true);
      setMessage({ kind: "progress", text: "Asking for a device" });
      started.onmessage = ({ data }: MessageEvent<RunMessage>) => {
        setMessage(data);
        if (data.kind !== "progress") end();
      };
      started.onerror = ({ message }) => {
        const parts = errorParts(
          new Error(message || "its program did not load"),
          "The run failed",
        );
        setMessage({ kind: "error", error: { parts } });
        end();
      };
      started.postMessage(request);
    },
  };
}

function Outcome({ message }: { readonly message: RunMessage }): VNode {
  if (message.kind === "progress") return <p class="progress">{message.text} …</p>;
  if (message.kind === "error") return <Problem parts={message.error.parts} />;
  const { adapter, result: { checks, timed, times } } = message;
  return (
    <div class="outcome">
      <p class="adapter">On {adapter}:</p>
      <ul class="checks">
        {checks.map(({ what, found, passed }) => (
          <li key={what} class={passed ? "passed" : "failed"}>
            <strong>{what} {passed ? "passed" : "failed"}</strong>: {found}.
          </li>
        ))}
      </ul>
      <div class="scroll">
        <table>
          <caption>Time of {timed}</caption>
          <thead>
            <tr>
              <th scope="col">Codes</th>
              <th scope="col">Median</th>
              <th scope="col">Least to most</th>
              <th scope="col">Ratio</th>
              <th scope="col">Kernels</th>
            </tr>
          </thead>
          <tbody>
            {times.map((run) => <TimeRow key={run.label} run={run} beside={times.at(-1)!} />)}
          </tbody>
        </table>
      </div>
    </div>
  );
}

function TimeRow({ run, beside }: { readonly run: TimedRun; readonly beside: TimedRun }): VNode {
  const { label, kernels, milliseconds: { median, least, most } } = run;
  return (
    <tr>
      <th scope="row">{label}</th>
      <td>{milliseconds(median)}</td>
      <td>
        {milliseconds(least)} to {milliseconds(most)}
      </td>
      <td>{(median / beside.milliseconds.median).toFixed(2)}</td>
      <td>
        {kernels.map((name, i) => (
          <>
            {i > 0 && " + "}
            <code>{name}</code>
          </>
        ))}
      </td>
    </tr>
  );
}

function milliseconds(time: number): string {
  return time >= 1 ? `${time.toPrecision(3)} ms` : `${(time * 1000).toPrecision(3)} µs`;
}
