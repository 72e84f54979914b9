import assert from "node:assert/strict";
import config from "../../deno.json" with { type: "json" };

const ROOT = new URL("../../", import.meta.url);

Deno.test("every entry of the package is published, and says in its documentation how it is used", async () => {
  for (const [entry, module] of Object.entries(config.exports)) {
    const path = module.slice("./".length);
    const { include } = config.publish;
    assert.ok(
      include.some((part) => part === path || (part.endsWith("/") && path.startsWith(part))),
      entry,
    );
    const text = await Deno.readTextFile(new URL(path, ROOT));
    const [, documentation] = /^(?:\/\/.*\n)*\/\*\*\n([\s\S]*?@module\n) \*\/\n/.exec(text) ?? [];
    assert.ok(documentation !== undefined, `${entry} has no module documentation`);
    const name = `@couplet/kv${entry.slice(1)}`;
    assert.match(documentation, /^ \* ```(ts( ignore)?|sh)\n( \*.*\n)*? \* ```\n/m, entry);
    // Imported, or run from where JSR has it.
    const isUsed = documentation.includes(`"${name}"`) || documentation.includes(`jsr:${name} `);
    assert.ok(isUsed, `${entry} has no example of ${name}`);
  }
});
