import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { findValkey, startValkey } from "../../helpers/valkey_server.ts";

const MAIN = fileURLToPath(new URL("../../../examples/serve_many/main.ts", import.meta.url));
const program = await findValkey();

/** Runs the command as a person would, but for the launcher, in whose environment the tests run. */
async function serveMany(...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", MAIN, ...args],
  }).output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout), errors: decoder.decode(stderr) };
}

Deno.test({
  name:
    "serve_many restores in its second process what the first one computed, computes none of it, and answers the same (ignored without valkey-server or redis-server on PATH)",
  ignore: program === undefined,
  async fn() {
    await using server = await startValkey(program!);
    const { code, output, errors } = await serveMany(
      ..."--prefix-tokens 150 --tokens 6 --keys u4b8 --values u4b8 --server".split(" "),
      server.url,
    );
    // It fails where the answers differ.
    assert.equal(code, 0, errors);
    const rows = output.split("\n").slice(1, 5).map((line) => line.split(/ {2,}/));
    assert.deepEqual(rows.map((row) => row.slice(0, 3)), [
      ["process 1, alone", "0", "150"],
      ["process 1, with the store", "0", "150"],
      ["process 2, alone", "0", "150"],
      ["process 2, with the store", "150", "0"],
    ]);
    assert.match(output, /^All answer: ".+"$/m);
    const moved = rows.map((row) => row.slice(4).map((cell) => cell.endsWith("KiB")));
    // [sent, received]: one wrote the entry, the other read it, after it asked for keys.
    assert.deepEqual(moved.slice(0, 3), [[false, false], [true, false], [false, false]]);
    assert.equal(moved[3]![1], true);
  },
});

Deno.test("serve_many says where no server answers", async () => {
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const { port } = listener.addr;
  listener.close();
  const { code, errors } = await serveMany("--server", `redis://127.0.0.1:${port}`);
  assert.equal(code, 1, errors);
  assert.match(errors, /Cannot connect to .*Start valkey-server or redis-server/);
});

Deno.test("serve_many refuses a command line that is wrong, and gives help", async () => {
  const { code, errors } = await serveMany("--prompt", "");
  assert.equal(code, 2);
  assert.match(errors, /the prompt or the prefix is empty/);
  const help = await serveMany("--help");
  assert.match(help.output, /--server <url>/);
});
