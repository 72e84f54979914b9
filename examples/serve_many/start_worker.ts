import { CoupletError } from "@couplet/kv";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** A process that answers lines by lines. */
export interface Worker {
  /**
   * Sends a line, and returns what it answers.
   *
   * @throws {CoupletError} `store` where it has ended, after it said why.
   */
  ask<T>(line: string): Promise<T>;
  /** Ends it, and waits for that. */
  end(): Promise<void>;
}

/** Starts a program as a process of its own. What it writes to stderr is shown. */
export function startWorker(program: string, args: readonly string[]): Worker {
  const child = spawn(Deno.execPath(), ["run", "-A", program, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  // What is sent to a process that has ended is of no use.
  child.stdin.on("error", () => {});
  const ended = new Promise<number | null>((resolve) => child.on("exit", resolve));
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async ask<T>(line: string): Promise<T> {
      child.stdin.write(`${line}\n`);
      const { value, done } = await answers.next();
      if (!done) return JSON.parse(value);
      throw new CoupletError("store", {
        what: "The processes cannot share a prefix",
        why: `one ended with code ${await ended}`,
        remedy: "Do what it says above",
      });
    },
    async end() {
      child.stdin.end();
      await ended;
    },
  };
}
