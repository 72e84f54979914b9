import { useEffect, useRef, useState } from "preact/hooks";
import type { ErrorParts } from "@couplet/kv";
import type { PlaygroundDocument } from "./session/document.ts";
import type { Command, Message, SessionState } from "./session/messages.ts";

/** The session in its worker, as the page sees it. */
export interface SessionUse {
  /** What is being loaded, until there is a state. */
  readonly loading: { readonly what: string; readonly fraction?: number };
  /** The latest state, until the device is lost and beyond. */
  readonly state?: SessionState;
  /** Why the latest command was refused. */
  readonly refused?: ErrorParts;
  /** Why nothing works here. */
  readonly failed?: { readonly code?: string; readonly parts: ErrorParts };
  /** Why the worker can do no more, though another may. */
  readonly lost?: ErrorParts;
}

type Send = (command: Command) => void;

/** Loads the playground in a worker. */
export function useSession(): SessionUse & {
  readonly send: Send;
  /** Loads it anew, with the latest text. */
  readonly reopen: () => void;
} {
  const worker = useRef<Worker | undefined>(undefined);
  const [use, setUse] = useState<SessionUse>(BEGINNING);

  function open(known?: PlaygroundDocument): void {
    worker.current?.terminate();
    const started = new Worker(new URL("worker.js", document.baseURI), { type: "module" });
    worker.current = started;
    setUse(BEGINNING);
    started.onmessage = ({ data }: MessageEvent<Message>) => {
      setUse((before) => after(before, data));
    };
    started.onerror = ({ message }) => {
      const why = message || "its program did not load";
      const parts = { what: "The playground stopped", why, remedy: "Reload the page" };
      setUse((before) => ({ ...before, failed: { parts } }));
    };
    const opening: Command = { kind: "open", ...(known === undefined ? {} : { document: known }) };
    started.postMessage(opening);
  }

  useEffect(() => {
    open();
    return () => worker.current?.terminate();
  }, []);
  return {
    ...use,
    send(command) {
      setUse(({ refused: _, ...rest }) => rest);
      worker.current!.postMessage(command);
    },
    reopen: () => open(use.state?.document),
  };
}

const BEGINNING: SessionUse = { loading: { what: "Loading the program" } };

function after(before: SessionUse, message: Message): SessionUse {
  switch (message.kind) {
    case "loading":
      return { ...before, loading: message };
    case "state":
      return { ...before, state: message.state };
    case "refused":
      // What a lost device refuses is of no interest beside its loss.
      return before.lost === undefined ? { ...before, refused: message.parts } : before;
    case "failed":
      return { ...before, failed: message };
    case "lost": {
      const { refused: _, ...rest } = before;
      return { ...rest, lost: message.parts };
    }
  }
}
