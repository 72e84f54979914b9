import assert from "node:assert/strict";
import { parseArguments } from "../../../examples/explorer/arguments.ts";
import { serveFolder } from "../../../examples/pages/serve.ts";
import { refuses, rejects } from "../../helpers/refusals.ts";

for (
  const argv of [["--port", "x"], ["--port", "70000"], ["--port", "-1"], ["--what"], ["extra"]]
) {
  Deno.test(`parseArguments refuses ${argv.join(" ")}`, () => {
    refuses("usage", () => parseArguments(argv));
  });
}

Deno.test("parseArguments reads the port and whether to build only", () => {
  assert.deepEqual(parseArguments([]), { options: { port: 8420, build: false } });
  assert.deepEqual(parseArguments(["--port", "0", "--build"]), {
    options: { port: 0, build: true },
  });
});

Deno.test("serveFolder refuses a port in use and says how to choose another", async () => {
  const other = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = other.addr;
  try {
    const served = serveFolder("docs", port);
    await rejects(served, "usage");
    await served.catch(({ message }) => assert.match(message, /another program.*--port 0/));
  } finally {
    other.close();
  }
});
