/** The command line as a process. */
import assert from "node:assert/strict";

Deno.test({
  name: "couplet doctor hears no complaint of Mesa where there is no desktop",
  // There Mesa looks for a display.
  ignore: Deno.build.os !== "linux",
  async fn() {
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: "run -A --no-check --unstable-webgpu cli/main.ts doctor --json".split(" "),
      env: { XDG_RUNTIME_DIR: "" },
    }).output();
    assert.ok(JSON.parse(new TextDecoder().decode(stdout)).adapters.length > 0);
    assert.doesNotMatch(new TextDecoder().decode(stderr), /XDG_RUNTIME_DIR/);
  },
});
