/// <reference lib="dom" />

/** Writes a line where whoever runs the example reads it. */
export type Say = (line: string) => void;

/**
 * Runs an example on a page: shows its lines, and posts what it gives, or what went wrong, to the server
 * that gave the page.
 *
 * @param run The example; what it gives is JSON.
 */
export async function report(run: (say: Say) => Promise<unknown>): Promise<void> {
  const output = document.body.appendChild(document.createElement("pre"));
  const say: Say = (line) => output.append(`${line}\n`);
  let result: unknown;
  try {
    result = await run(say);
  } catch (error) {
    say(String(error));
    result = { error: error instanceof Error ? error.stack ?? String(error) : String(error) };
  }
  await fetch("/result", { method: "POST", body: JSON.stringify(result) });
}
