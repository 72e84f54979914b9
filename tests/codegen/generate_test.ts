import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { compareFiles, writeFiles } from "../../codegen/write/compare.ts";
import { emitFiles } from "../../codegen/write/emit.ts";
import { OF_PACKAGE } from "../../codegen/write/module_style.ts";
import { expandTable } from "../../codegen/rows/expand.ts";
import { generateKernels } from "../../codegen/generate.ts";
import { generate } from "../../codegen/main.ts";
import { createRenderer } from "../../codegen/render/render.ts";
import { readTemplates, templatesFile } from "../../codegen/render/templates.ts";
import { anchored, kmeans, ladder, mrope, pairs, sizes } from "../../codegen/variants.ts";
import { generatedPage } from "../../codegen/write/generated_page.ts";
import { kernelSets } from "../../codegen/write/kernel_sets.ts";
import { workgroupBytes } from "../../codegen/render/workgroup_bytes.ts";
import { CoupletError, type KernelInfo, type SchemeId } from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { BASE_WORKGROUP_BYTES } from "../../src/kernels/constants.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { compareWithReference } from "../helpers/cache_oracle.ts";
import { refuses } from "../helpers/refusals.ts";

const table = { sizes, pairs, anchored, mrope, ladder, kmeans };
const TEMPLATES = new URL("../../templates/", import.meta.url);
const GENERATED = new URL("../../generated/", import.meta.url);

/** Runs `act` with an empty folder that is removed afterwards. */
async function withFolder(act: (folder: URL, path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir();
  try {
    await act(pathToFileURL(`${path}/`), path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

Deno.test("generated/ is what templates and rows give: nothing missing, stale or orphaned", () => {
  const templates = readTemplates(TEMPLATES);
  const files = new Map([
    ...emitFiles(expandTable(table), createRenderer(templates), OF_PACKAGE),
    ["templates.ts", templatesFile(templates)],
    ["README.md", generatedPage(kernelSets(expandTable(table)))],
  ]);
  assert.deepEqual(compareFiles(GENERATED, files), { missing: [], stale: [], orphaned: [] });
});

Deno.test("expandTable() gives the same kernels in whatever order the rows stand", () => {
  const reversed = {
    sizes: sizes.toReversed(),
    pairs: pairs.toReversed(),
    anchored: anchored.toReversed(),
    mrope: mrope.toReversed(),
    ladder: ladder.toReversed(),
    kmeans: kmeans.toReversed(),
  };
  const render = (rows: typeof table) => {
    const renderer = createRenderer(readTemplates(TEMPLATES));
    return expandTable(rows).map((row) => [row.name, renderer.render(row)]);
  };
  assert.deepEqual(render(reversed), render(table));
});

Deno.test("expandTable() refuses a kernel that two rows give, and a head dimension kernels cannot take", () => {
  assert.throws(() => expandTable({ ...table, sizes: [...sizes, sizes[0]!] }), /two rows/);
  for (const headDim of [4, 60, 264, 64.5]) {
    const row = { schemes: ["f16"], headDims: [headDim], reason: "none" } as const;
    assert.throws(
      () =>
        expandTable({ sizes: [row], pairs: [], anchored: [], mrope: [], ladder: [], kmeans: [] }),
      (error) => error instanceof CoupletError && error.code === "shape",
    );
  }
});

Deno.test("expandTable() refuses to fuse values that share means with keys that do not", () => {
  const fused = (keys: SchemeId, values: SchemeId) => {
    const row = { keys, values, headDims: [64], reason: "none" };
    return expandTable({
      sizes: [],
      pairs: [row],
      anchored: [],
      mrope: [],
      ladder: [],
      kmeans: [],
    });
  };
  assert.ok(fused("n8b8", "c8b8").length > 0);
  assert.throws(
    () => fused("c8b8", "n8b8"),
    (error) => error instanceof CoupletError && error.code === "scheme",
  );
});

Deno.test("every row says why it exists", () => {
  for (const { name, reason } of manifest) assert.ok(reason.length > 10, name);
});

Deno.test("every kernel fits WebGPU's default workgroup memory and storage buffers", () => {
  for (const { name, workgroupBytes, bindings } of manifest) {
    assert.ok(workgroupBytes <= BASE_WORKGROUP_BYTES, `${name} takes ${workgroupBytes} bytes`);
    assert.ok(bindings.length - 2 <= 8, name);
  }
});

Deno.test("workgroupBytes() reads constants, overrides, products, sums and arrays of arrays", () => {
  const wgsl = "const A: u32 = 3u;\noverride B: u32 = A;\nconst C: u32 = A * 4u / 2u;\n" +
    "var<workgroup> x: array<f32, A * B>;\nvar<workgroup> y: array<vec4<f32>, C>;\n" +
    "var<workgroup> z: array<array<vec4<u32>, A>, C>;\nvar<workgroup> s: array<f32, A * B + C>;\n";
  assert.equal(workgroupBytes(wgsl), 4 * 9 + 16 * 6 + 16 * 3 * 6 + 4 * 15);
});

Deno.test("workgroupBytes() refuses a type that it does not know", () => {
  assert.throws(() => workgroupBytes("var<workgroup> x: array<mat9x9<f32>, 3u>;\n"), /mat9x9<f32>/);
});

Deno.test("compareFiles() reports missing, stale and orphaned files and changes nothing", async () => {
  await withFolder((folder) => {
    Deno.mkdirSync(new URL("within/", folder));
    Deno.writeTextFileSync(new URL("stale.ts", folder), "// Generated once");
    Deno.writeTextFileSync(new URL("within/orphan.ts", folder), "// Generated once");
    const wanted = new Map([["stale.ts", "new"], ["within/missing.ts", "new"]]);
    const difference = {
      missing: ["within/missing.ts"],
      stale: ["stale.ts"],
      orphaned: ["within/orphan.ts"],
    };
    assert.deepEqual(compareFiles(folder, wanted), difference);
    assert.deepEqual(compareFiles(folder, wanted), difference);
    assert.deepEqual(writeFiles(folder, wanted), difference);
    assert.deepEqual(compareFiles(folder, wanted), { missing: [], stale: [], orphaned: [] });
    return Promise.resolve();
  });
});

Deno.test("writeFiles() touches nothing in a folder with files that were not generated", async () => {
  await withFolder((folder) => {
    const wanted = new Map([["manifest.ts", "// Generated"], ["new.ts", "// Generated"]]);
    for (const name of ["notes.ts", "manifest.ts"]) {
      const file = new URL(name, folder);
      Deno.writeTextFileSync(file, "mine");
      assert.throws(
        () => writeFiles(folder, wanted),
        (error) => error instanceof CoupletError && error.message.includes(name),
      );
      assert.equal(Deno.readTextFileSync(file), "mine");
      assert.deepEqual([...Deno.readDirSync(folder)].map((entry) => entry.name), [name]);
      Deno.removeSync(file);
    }
    return Promise.resolve();
  });
});

Deno.test({
  name: "writeFiles() follows no links in its folder",
  ignore: Deno.build.os === "windows", // where links need a permission of their own
  fn: async () => {
    await withFolder(async (other) => {
      Deno.writeTextFileSync(new URL("kept.ts", other), "// Generated elsewhere");
      await withFolder((folder) => {
        const wanted = new Map([["kept.ts", "// Generated"], ["c8b8/new.ts", "// Generated"]]);
        for (const [name, target] of [["kept.ts", "kept.ts"], ["c8b8", "."]] as const) {
          const link = new URL(name, folder);
          Deno.symlinkSync(new URL(target, other), link);
          assert.throws(
            () => writeFiles(folder, wanted),
            (error) => error instanceof CoupletError && error.message.includes(name),
          );
          Deno.removeSync(link);
        }
        return Promise.resolve();
      });
      assert.deepEqual([...Deno.readDirSync(other)].map(({ name }) => name), ["kept.ts"]);
      const text = Deno.readTextFileSync(new URL("kept.ts", other));
      assert.equal(text, "// Generated elsewhere");
    });
  },
});

/** Renders one row of a template of two lines. */
function renderTemplate(text: string, context: Record<string, string>): string {
  const templates = new Map([["parts/one.hbs", "{{inner}}"], ["kernels/test.wgsl.hbs", text]]);
  const row = { name: "test", template: "test", reason: "a test", bindings: [], context };
  return createRenderer(templates).render(row);
}

const BINDINGS = "{{#each bindings}}{{name}}{{/each}}";

Deno.test("createRenderer() refuses names that are unknown, in partials and lookups too", () => {
  assert.equal(renderTemplate(`${BINDINGS}{{a}} {{> one}}`, { a: "x", inner: "y" }), "x y\n");
  for (
    const [text, context] of [
      ["{{b}}", { a: "x" }],
      ["{{a}}{{> one}}", { a: "x" }],
      ['{{> (lookup . "missing")}}', {}],
      ["{{#with nothing}}{{/with}}", {}],
    ] as const
  ) {
    assert.throws(() => renderTemplate(BINDINGS + text, context), /not define/);
  }
});

Deno.test("createRenderer() finds a row's template in its folder, and refuses two files of one name", () => {
  const row = { name: "a", template: "a", reason: "a test", bindings: [], context: {} };
  const files: [string, string][] = [["x/a.wgsl.hbs", BINDINGS], ["x/a.hbs", ""]];
  assert.equal(createRenderer(new Map(files)).pathOf(row), "x/a.wgsl.hbs");
  refuses("usage", () => createRenderer(new Map([...files, ["y/a.hbs", ""]])));
});

Deno.test("createRenderer() refuses names that are defined and not used", () => {
  assert.throws(() => renderTemplate(`${BINDINGS}{{a}}`, { a: "x", idle: "y" }), /use idle/);
});

Deno.test("generate() writes a user's own rows, which a cache takes once they are registered", async () => {
  // Within the project, whose names it imports; hidden, so that tests which read the project's modules meanwhile pass it over.
  const dir = new URL("../..", import.meta.url).pathname;
  const path = await Deno.makeTempDir({ dir, prefix: ".own-kernels-" });
  try {
    const args = ["--pair", "c4b6/c2b3", "--head-dim", "48", "--out", path];
    assert.equal(generate(args), 0);
    assert.equal(generate([...args, "--check"]), 0);
    const own: { manifest: readonly KernelInfo[] } = await import(
      pathToFileURL(`${path}/manifest.ts`).href
    );
    const { plan, error } = await compareWithReference(await requestTestDevice(), {
      options: {
        shape: { layers: 1, queryHeads: 2, keyValueHeads: 1, headDim: 48 },
        policy: { keys: "c4b6", values: "c2b3" },
        keys: { space: "pre-rope", rope: { layout: "half", theta: 10000 } },
        tiers: { sinks: 1, window: 3 },
        capacity: {
          sequences: 1,
          tokens: 100,
          sequenceTokens: 100,
          stepTokens: 50,
          appendTokens: 50,
        },
      },
      kernels: [...manifest, ...own.manifest],
      moves: [{ tokens: { 0: 50 } }, { tokens: { 0: 31 } }, { tokens: { 0: 1 } }],
    });
    assert.equal(plan.layers[0]!.decode.attend!.name, "attend_c4b6_c2b3_d48_rope");
    assert.ok(error < 2e-5, `the largest difference is ${error}`);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
});

Deno.test("generateKernels() gives what the command writes, with the published templates", async () => {
  await withFolder((folder, path) => {
    assert.equal(generate(["--pair", "c4b6/c2b3", "--head-dim", "48", "--out", path]), 0);
    const files = generateKernels({ pairs: ["c4b6/c2b3"], headDims: [48] });
    // Their reader has neither the package's table nor its templates.
    for (const [path, text] of files) {
      const [first] = text.split("\n");
      assert.match(first!, /^\/\/ Generated .*@couplet\/kv\/generate.*again\.$/, path);
    }
    assert.ok(files.has("manifest.ts") && files.has("c4b6_c2b3/c4b6_c2b3_d48.ts"));
    assert.deepEqual(compareFiles(folder, files), { missing: [], stale: [], orphaned: [] });
    return Promise.resolve();
  });
});

Deno.test("generateKernels() refuses a request that gives no row, or no kernel", () => {
  for (
    const [request, code] of [
      [{ headDims: [64] }, "usage"],
      [{ schemes: ["c4b8"], headDims: [] }, "usage"],
      [{ schemes: ["c3b3"], headDims: [64] }, "scheme"],
      [{ schemes: ["c16b8"], headDims: [24] }, "shape"],
      [{ pairs: ["u8b8/c4b8"], headDims: [48] }, "shape"],
    ] as const
  ) {
    assert.throws(
      () => generateKernels(request),
      (error) => error instanceof CoupletError && error.code === code,
      JSON.stringify(request),
    );
  }
});

Deno.test("generate() refuses what it cannot do, and says so", () => {
  for (
    const args of [
      ["--only", "nothing_*"],
      ["--scheme", "c4b8"],
      ["--out", "somewhere"],
      ["--pair", "c4b8/c8b8/c1b1", "--head-dim", "64", "--out", "somewhere"],
      ["--scheme", "c3b3", "--head-dim", "64", "--out", "somewhere"],
    ]
  ) {
    assert.throws(() => generate(args), (error) => {
      assert.ok(error instanceof CoupletError, String(error));
      return true;
    });
  }
});
