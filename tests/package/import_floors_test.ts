/** Imports run one way: files and folders make no circle, and the rooms of `src/` stand on floors. */
import assert from "node:assert/strict";
import { posix } from "node:path";
import { ts } from "ts-morph";
import config from "../../deno.json" with { type: "json" };

const ROOT = new URL("../../", import.meta.url);

/** The rooms of `src/`, lowest first: each imports from lower floors alone. */
const FLOORS: readonly (readonly string[])[] = [
  ["base"],
  ["model", "records", "spans"],
  ["models", "schemes"],
  ["codebooks", "kernels"],
  ["calibrate", "plan"],
  ["cache", "policy", "reference"],
  ["checked", "hosts", "snapshots", "tuning"],
];

/** Folders that hold nothing of the repository's own. */
const SKIPPED: readonly string[] = ["node_modules", "dist", "fixtures"];

/** Who imports whom, by path. */
type Graph = ReadonlyMap<string, ReadonlySet<string>>;

/** The modules of a folder and of those within, by path. Kernels hold text and import nothing. */
function modules(folder = ""): string[] {
  return [...Deno.readDirSync(new URL(folder || ".", ROOT))].flatMap(({ name, isDirectory }) => {
    if (name.startsWith(".") || SKIPPED.includes(name)) return [];
    if (isDirectory) return modules(`${folder}${name}/`);
    return /(?<!\.wgsl|\.d)\.tsx?$/.test(name) ? [folder + name] : [];
  });
}

/** Package entries and names of `deno.json`, by what modules import them by. */
const ENTRIES: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    Object.entries(config.exports).map(([entry, path]) => [config.name + entry.slice(1), path]),
  ),
  ...config.imports,
};

/** The repository's own files that a module imports, in whichever form: types and what loads on demand as well. */
function importsOf(path: string): Set<string> {
  const text = Deno.readTextFileSync(new URL(path, ROOT));
  const kind = path.endsWith("x") ? ts.ScriptKind.TSX : ts.ScriptKind.TS;
  const found = new Set<string>();
  function add(specifier: ts.Node | undefined): void {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return;
    const entry = ENTRIES[specifier.text];
    if (entry?.startsWith("./")) found.add(posix.normalize(entry));
    else if (specifier.text.startsWith(".")) {
      found.add(posix.join(posix.dirname(path), specifier.text));
    }
  }
  function visit(node: ts.Node): void {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) add(node.moduleSpecifier);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node.arguments[0]);
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add(node.argument.literal);
    }
    ts.forEachChild(node, visit);
  }
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.Latest, false, kind));
  found.delete(path);
  return found;
}

/** The folders of files, with their own imports. */
function folders(files: Graph): Graph {
  const graph = new Map<string, Set<string>>();
  for (const [path, imports] of files) {
    const folder = posix.dirname(path);
    const own = graph.get(folder) ?? new Set();
    for (const other of imports) own.add(posix.dirname(other));
    own.delete(folder);
    graph.set(folder, own);
  }
  return graph;
}

/** The members of a circle in their order, the first once more at the end; undefined where there is none. */
function findCircle(graph: Graph): readonly string[] | undefined {
  const done = new Set<string>();
  const way: string[] = [];
  function walk(from: string): readonly string[] | undefined {
    if (way.includes(from)) return [...way.slice(way.indexOf(from)), from];
    if (done.has(from)) return undefined;
    way.push(from);
    for (const to of graph.get(from) ?? []) {
      const circle = walk(to);
      if (circle !== undefined) return circle;
    }
    way.pop();
    done.add(from);
    return undefined;
  }
  for (const start of graph.keys()) {
    const circle = walk(start);
    if (circle !== undefined) return circle;
  }
  return undefined;
}

/** The floor of a file of `src/`, from 0; -1 where its room has none. */
function floorOf(path: string): number {
  return FLOORS.findIndex((rooms) => rooms.some((room) => path.startsWith(`src/${room}/`)));
}

const files: Graph = new Map(modules().map((path) => [path, importsOf(path)]));

Deno.test("importsOf() finds files and entries, whatever the import's form", () => {
  const of = (path: string) => [...files.get(path) ?? []];
  assert.ok(of("mod.ts").includes("src/base/errors.ts"));
  assert.ok(of("generated/c8b8/c8b8_d64.ts").includes("generated/c8b8/encode_c8b8_d64.wgsl.ts"));
  assert.ok(of("examples/eval/methods.ts").includes("mod.ts"));
  assert.ok(files.size > 500, `${files.size} modules`);
  const missing = [...files.values()].flatMap((imports) => [...imports]).filter((path) => {
    try {
      return !Deno.statSync(new URL(path, ROOT)).isFile;
    } catch {
      return true;
    }
  });
  assert.deepEqual(missing, []);
});

Deno.test("findCircle() finds what comes back to itself, and nothing else", () => {
  const graph = (rows: Record<string, string>) =>
    new Map(Object.entries(rows).map(([from, to]) => [from, new Set(to)]));
  assert.equal(findCircle(graph({ a: "bc", b: "cd", c: "d", d: "" })), undefined);
  assert.deepEqual(findCircle(graph({ a: "b", b: "cd", c: "", d: "eb", e: "c" })), ["b", "d", "b"]);
});

Deno.test("files import each other in no circle", () => {
  assert.deepEqual(findCircle(files), undefined);
});

Deno.test("folders import each other in no circle", () => {
  const circle = findCircle(folders(files))?.map((folder, i, all) => {
    const next = all[i + 1];
    const [from] = [...files].find(([path, imports]) =>
      posix.dirname(path) === folder && [...imports].some((to) =>
        posix.dirname(to) === next
      )
    ) ?? [];
    return from ?? folder;
  });
  assert.deepEqual(circle, undefined);
});

Deno.test("src/ imports from lower floors alone", () => {
  const own = [...files].filter(([path]) => path.startsWith("src/"));
  assert.deepEqual(own.map(([path]) => path).filter((path) => floorOf(path) < 0), []);
  const upwards = own.flatMap(([path, imports]) =>
    [...imports].filter((to) =>
      to.split("/").slice(0, 2).join("/") !== path.split("/").slice(0, 2).join("/") &&
      !(floorOf(to) >= 0 && floorOf(to) < floorOf(path))
    ).map((to) => `${path} -> ${to}`)
  );
  assert.deepEqual(upwards, []);
});
