import assert from "node:assert/strict";
import { build, stop } from "esbuild";
import { type Node, Project, type SourceFile, SyntaxKind } from "ts-morph";
import { fileURLToPath } from "node:url";
import { kernels as c8b8 } from "../../generated/c8b8/c8b8_d64.ts";

const ROOT = new URL("../../", import.meta.url);

/** What belongs to build time, to development or to hosts, never to the runtime. */
const OUTSIDE: readonly string[] = ["cli/", "codegen/", "tools/", "tests/", "bench/", "examples/"];

/** The specifiers of everything a module reaches, what loads on demand included. */
async function graphOf(entry: string): Promise<string[]> {
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", entry],
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

/** The paths of everything a module reaches; all of it lies in the repository. */
async function pathsOf(entry: string): Promise<string[]> {
  const specifiers = await graphOf(entry);
  assert.ok(specifiers.includes(new URL(entry, ROOT).href), "the graph is empty");
  assert.deepEqual(specifiers.filter((specifier) => !specifier.startsWith(ROOT.href)), []);
  return specifiers.map((specifier) => specifier.slice(ROOT.href.length));
}

/** The modules of which a bundle of the given source holds something, loaded on demand or not. */
async function bundledModules(source: string): Promise<string[]> {
  const { metafile } = await build({
    stdin: { contents: source, resolveDir: fileURLToPath(ROOT), loader: "ts" },
    bundle: true,
    splitting: true,
    minify: true,
    format: "esm",
    outdir: "unused",
    metafile: true,
    write: false,
  });
  await stop();
  return Object.values(metafile.outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([path, { bytesInOutput }]) => bytesInOutput > 0 ? [path] : [])
  );
}

/** The kernels among them. */
async function bundledKernels(source: string): Promise<string[]> {
  const modules = await bundledModules(source);
  return modules.flatMap((path) => /([^/]+)\.wgsl\.ts$/.exec(path)?.[1] ?? []).sort();
}

function sourceFiles(): SourceFile[] {
  return new Project().addSourceFilesAtPaths(`${fileURLToPath(ROOT)}src/**/*.ts`);
}

function where(node: Node): string {
  return `${node.getSourceFile().getFilePath()}:${node.getStartLineNumber()}: ${node.getText()}`;
}

Deno.test("the graphs of mod.ts and the manifest have no dependency and reach nothing of build time", async () => {
  for (const entry of ["mod.ts", "generated/manifest.ts"]) {
    const paths = await pathsOf(entry);
    assert.deepEqual(
      paths.filter((path) => OUTSIDE.some((folder) => path.startsWith(folder))),
      [],
    );
  }
});

Deno.test("mod.ts's graph has no generated file: neither kernels nor rows of a manifest", async () => {
  const paths = await pathsOf("mod.ts");
  assert.deepEqual(paths.filter((path) => path.startsWith("generated/")), []);
});

Deno.test("a bundle of mod.ts and one set holds that set's kernels and no others", async () => {
  const runtime = 'export * from "./mod.ts";';
  assert.deepEqual(await bundledKernels(runtime), []);
  const set = 'export { kernels } from "./generated/c8b8/c8b8_d64.ts";';
  const names = c8b8.map(({ name }) => name).sort();
  assert.deepEqual(await bundledKernels(`${runtime}\n${set}`), names);
});

Deno.test("a bundle of an engine leaves out calibration, the reference and codecs", async () => {
  const engine = await bundledModules('export { createCache, planCache } from "./mod.ts";');
  assert.ok(engine.includes("src/cache/device_cache.ts"));
  const others = [
    "src/calibrate/samples.ts",
    "src/calibrate/kmeans.ts",
    "src/calibrate/kmeans_side.ts",
    "src/schemes/scheme_codec.ts",
    "src/base/crc32.ts",
    "src/reference/reference_cache.ts",
    "src/records/pack.ts",
    "src/base/safetensors.ts",
    "src/snapshots/snapshot.ts",
  ];
  assert.deepEqual(engine.filter((path) => others.includes(path)), []);
  const all = await bundledModules('export * from "./mod.ts";');
  assert.deepEqual(others.filter((path) => !all.includes(path)), []);
});

/** The reference, and the files of lower rooms that pack, rotate and code in float64 for it. */
const REFERENCE: readonly string[] = [
  "src/reference/",
  "src/codebooks/head_codebooks.ts",
  "src/model/rope.ts",
  "src/records/pack.ts",
  "src/schemes/round_trip.ts",
];

/**
 * What they may take from the rest of `src/`: errors, what schemes are and how they code in float64, and
 * checks that give no figure. Sizes, positions and rounding it has of its own, because it judges those of the runtime.
 */
const REFERENCE_TAKES: readonly string[] = [
  "base/check_options: checkOptions",
  "base/check_options: whole",
  "base/errors: CoupletError",
  "base/float16: fromFloat16Array",
  "codebooks/find: cacheCodebook",
  "codebooks/find: checkCodebookSet",
  "codebooks/grid: centroidNumbers",
  "model/anchors: keyAnchors",
  "model/rope_options: ROPE_FIELDS",
  "plan/options: checkSinkLogits",
  "plan/options: resolveOptions",
  "plan/reference_options: checkReferenceOptions",
  "schemes/key_turn: keyTurn",
  "schemes/parse_scheme: parseScheme",
  "schemes/scheme_codec: schemeCodec",
];

Deno.test("src/reference/ takes nothing from the runtime that it judges", () => {
  const within = (path: string) => REFERENCE.some((own) => path.startsWith(own));
  const pathOf = (file: SourceFile) => file.getFilePath().slice(fileURLToPath(ROOT).length);
  const files = sourceFiles().filter((file) => within(pathOf(file)));
  const taken = files.flatMap((file) => file.getImportDeclarations())
    .filter((one) => !one.isTypeOnly())
    .flatMap((one) => {
      const path = pathOf(one.getModuleSpecifierSourceFileOrThrow());
      const from = path.replace(/^src\/|\.ts$/g, "");
      return within(path) ? [] : one.getNamedImports()
        .filter((name) => !name.isTypeOnly()).map((name) => `${from}: ${name.getName()}`);
    });
  assert.deepEqual([...new Set(taken)].sort(), REFERENCE_TAKES);
  // Called for what it refuses: its result is what a plan makes of the options.
  const used = files.flatMap((file) => file.getDescendantsOfKind(SyntaxKind.CallExpression))
    .filter((call) => call.getExpression().getText() === "resolveOptions")
    .filter((call) => call.getParentIfKind(SyntaxKind.ExpressionStatement) === undefined);
  assert.deepEqual(used.map(where), []);
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
  const reached = new Set((await graphOf("mod.ts")).map((specifier) => fileURLToPath(specifier)));
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
