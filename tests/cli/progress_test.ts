import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

/** How a program ends while it shows a bar, what is typed meanwhile, and its exit code. */
const ENDS:
  readonly (readonly [name: string, argument: string, typed: string, exitCode: number])[] = [
    ["done", "done", "", 0],
    ["an interrupt from the keyboard", "wait", "\x03", 130],
    ["an error that nobody catches", "throw", "", 1],
    ["an exit", "exit", "", 1],
  ];

for (const [name, argument, typed, exitCode] of ENDS) {
  Deno.test({
    name: `Progress gives the terminal its cursor and its wrapping back after ${name}`,
    // script(1) of util-linux makes a terminal.
    ignore: Deno.build.os !== "linux",
    async fn() {
      const program = fileURLToPath(new URL("../helpers/unfinished_progress.ts", import.meta.url));
      const config = fileURLToPath(new URL("../../deno.json", import.meta.url));
      const child = new Deno.Command("script", {
        args: [
          "-qefc",
          `${Deno.execPath()} run -A --config ${config} ${program} ${argument}`,
          "/dev/null",
        ],
        stdin: "piped",
        stdout: "piped",
      }).spawn();
      const keyboard = child.stdin.getWriter();
      let output = "";
      for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
        const begins = !output.includes("50%");
        output += text;
        if (begins && output.includes("50%")) await keyboard.write(new TextEncoder().encode(typed));
      }
      await keyboard.close().catch(() => {});
      const { code } = await child.status;
      assert.equal(code, exitCode, output);
      for (const [hide, show] of [["\x1b[?25l", "\x1b[?25h"], ["\x1b[?7l", "\x1b[?7h"]] as const) {
        assert.ok(output.includes(hide), JSON.stringify(output));
        assert.ok(output.lastIndexOf(show) > output.lastIndexOf(hide), JSON.stringify(output));
      }
    },
  });
}
