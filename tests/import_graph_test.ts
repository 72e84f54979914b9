import assert from "node:assert/strict";
import { type Node, Project, type SourceFile, SyntaxKind } from "ts-morph";
import { fileURLToPath } from "node:url";

const ROOT = new URL("../", import.meta.url);

/** What belongs to build time, to development or to hosts, never to the runtime. */
const OUTSIDE: readonly string[] = ["codegen/", "tools/", "tests/", "bench/", "examples/"];

/** The specifiers of everything mod.ts reaches, kernels that load on demand included. */
async function runtimeGraph(): Promise<string[]> {
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "mod.ts"],
    cwd: fileURLToPath(ROOT),
    stderr: "inherit",
  }).output();
  assert.ok(success);
  const graph: { modules: { specifier: string; error?: string }[] } = JSON.parse(
    new TextDecoder().decode(stdout),
  );
  assert.deepEqual(graph.modules.filter((module) => module.error !== undefined), []);
  return graph.modules.map((module) => module.specifier);
}

function sourceFiles(): SourceFile[] {
  return new Project().addSourceFilesAtPaths(`${fileURLToPath(ROOT)}src/**/*.ts`);
}

function where(node: Node): string {
  return `${node.getSourceFile().getFilePath()}:${node.getStartLineNumber()}: ${node.getText()}`;
}

Deno.test("mod.ts's graph has no dependency and reaches nothing of build time", async () => {
  const specifiers = await runtimeGraph();
  assert.ok(specifiers.includes(new URL("src/errors.ts", ROOT).href), "the graph is empty");
  assert.deepEqual(specifiers.filter((specifier) => !specifier.startsWith(ROOT.href)), []);
  const paths = specifiers.map((specifier) => specifier.slice(ROOT.href.length));
  assert.deepEqual(
    paths.filter((path) => OUTSIDE.some((folder) => path.startsWith(folder))),
    [],
  );
});

Deno.test("src/ has no switch on a scheme or on bits: rows and selection decide", () => {
  const found = sourceFiles().flatMap((file) =>
    file.getDescendantsOfKind(SyntaxKind.SwitchStatement)
      .map((statement) => statement.getExpression())
      .filter((expression) => /scheme|bits/i.test(expression.getText()))
  );
  assert.deepEqual(found.map(where), []);
});

Deno.test("src/ reads no environment variable: everything comes through options", () => {
  const found = sourceFiles().flatMap((file) =>
    file.getDescendantsOfKind(SyntaxKind.PropertyAccessExpression)
      .filter((access) =>
        /^(globalThis\.)?(Deno|process|import\.meta)\.env$/.test(access.getText())
      )
  );
  assert.deepEqual(found.map(where), []);
});

Deno.test("mod.ts's graph uses no global of one runtime: browsers, Node and Deno are alike", async () => {
  const reached = new Set((await runtimeGraph()).map((specifier) => fileURLToPath(specifier)));
  const found = sourceFiles().filter((file) => reached.has(file.getFilePath())).flatMap((file) =>
    file.getDescendantsOfKind(SyntaxKind.Identifier)
      .filter((identifier) => ["Deno", "process", "Bun", "require"].includes(identifier.getText()))
      // A name behind a dot, or one that the file declares itself, is not the global.
      .filter((identifier) =>
        identifier.getParent().getFirstChild() === identifier &&
        identifier.getParentIfKind(SyntaxKind.PropertyAccessExpression) !== undefined
      )
  );
  assert.deepEqual(found.map(where), []);
});
