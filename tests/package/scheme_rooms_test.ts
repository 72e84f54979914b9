/** What belongs to one family of schemes stays in its rooms: no other file tests for a family, or reads what is its own. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Node, Project, SyntaxKind } from "ts-morph";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** The families, as the type of a scheme's family lists them. */
const FAMILIES = [
  "half",
  "coupled",
  "uniform",
  "promoted",
  "ternary",
  "hadamard",
  "span",
  "vecinfer",
  "additive",
];

/** The rooms, and what takes a family apart to measure its parts. */
const ROOMS = [/^src\/schemes\//, /^codegen\/schemes\//, /^examples\/ablation\//];

/** What all families share; every other file of `src/schemes/` is one family's own, or one method's of it. */
const SHARED = [
  "scheme",
  "codec",
  "key_turn",
  "policy",
  "parse_scheme",
  "side_layout",
  "scheme_codec",
  "round_trip",
  "normalisation",
  "best_sums",
].map((name) => `src/schemes/${name}.ts`);

const project = new Project({ compilerOptions: { allowImportingTsExtensions: true } });
const sources = project.addSourceFilesAtPaths(
  ["src", "codegen", "cli", "bench", "examples"].flatMap((folder) => [
    `${ROOT}${folder}/**/*.ts`,
    `!${ROOT}**/node_modules/**`,
  ]),
);
/** All files outside the rooms. */
const files = sources.map((file) => ({ file, path: file.getFilePath().slice(ROOT.length) }))
  .filter(({ path }) => !ROOMS.some((room) => room.test(path)));

function place(path: string, node: Node): string {
  return `${path}:${node.getStartLineNumber()}: ${node.getText().split("\n")[0]}`;
}

/** Whether a comparison is of something called a family with the name of one. Other things have the same names. */
function comparesFamily(left: Node, right: Node): boolean {
  return [[left, right], [right, left]].some(([name, other]) =>
    Node.isStringLiteral(name) && FAMILIES.includes(name.getLiteralValue()) &&
    /family/i.test(other!.getText())
  );
}

Deno.test("the families of this test are those that schemes have", () => {
  const scheme = project.getSourceFileOrThrow(`${ROOT}src/schemes/scheme.ts`);
  const text = scheme.getTypeAliasOrThrow("SchemeFamily").getTypeNodeOrThrow().getText();
  assert.deepEqual(text.match(/"[^"]+"/g)!.map((name) => JSON.parse(name)), FAMILIES);
});

Deno.test("no file outside the rooms tests for a family of schemes", () => {
  const found = files.flatMap(({ file, path }) =>
    [
      ...file.getDescendantsOfKind(SyntaxKind.BinaryExpression)
        .filter((test) => /^[!=]==?$/.test(test.getOperatorToken().getText()))
        .filter((test) => comparesFamily(test.getLeft(), test.getRight())),
      ...file.getDescendantsOfKind(SyntaxKind.SwitchStatement).flatMap((statement) =>
        statement.getDescendantsOfKind(SyntaxKind.CaseClause)
          .filter((clause) => comparesFamily(clause.getExpression(), statement.getExpression()))
      ),
      // A list of all families is a test for each.
      ...file.getDescendantsOfKind(SyntaxKind.ObjectLiteralExpression).filter((object) => {
        const names = object.getProperties().map((one) => one.getFirstChild()?.getText() ?? "");
        return FAMILIES.every((family) => names.includes(family));
      }),
    ].map((node) => place(path, node))
  );
  assert.deepEqual(found, []);
});

Deno.test("no file outside the rooms imports from one family", () => {
  const found = files.flatMap(({ file, path }) =>
    file.getImportDeclarations().filter((declaration) => {
      const target = declaration.getModuleSpecifierSourceFile()?.getFilePath().slice(ROOT.length);
      return target?.startsWith("src/schemes/") && !SHARED.includes(target);
    }).map((node) => place(path, node))
  );
  assert.deepEqual(found, []);
});

Deno.test("each family has a room in each part of the house", async () => {
  for (const family of FAMILIES) {
    const room = `schemes/${family}`;
    for (const path of [`src/${room}.ts`, `codegen/${room}.ts`, `templates/${room}/`]) {
      await Deno.stat(ROOT + path);
    }
  }
});

Deno.test("no file outside the rooms tests for a scheme's id", () => {
  const ids =
    /^["'](c(1|2|4|8|16)b\d+|u[48]b8|t1b[1-4]|k[cth][24]|kc[12]p[248]|zc3|sc[124]|q[48]|v[48]b\d+|n\d+b[48](x[24])?)["']$/;
  const found = files.flatMap(({ file, path }) =>
    file.getDescendantsOfKind(SyntaxKind.BinaryExpression)
      .filter((test) => /^[!=]==?$/.test(test.getOperatorToken().getText()))
      .filter((test) => [test.getLeft(), test.getRight()].some((side) => ids.test(side.getText())))
      .map((node) => place(path, node))
  );
  assert.deepEqual(found, []);
});
