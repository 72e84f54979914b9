/** The npm package, packed, and installed in projects of its own as a user's would be. */
import assert from "node:assert/strict";
import { build, stop } from "esbuild";
import { gzipSync } from "node:zlib";
import { SUMMARIES } from "../cli/summaries.ts";
import config from "../deno.json" with { type: "json" };
import { kernels as c8b8 } from "../generated/c8b8/c8b8_d128.ts";
import { samplesFile } from "../tests/helpers/cli.ts";
import { BUDGETS } from "../tools/budgets.ts";
import { ROOT } from "../tools/project.ts";
import { relativeLinks, REPOSITORY } from "../tools/publication.ts";
import { dawnEnvironment, end, installProjects, run } from "./npm_project.ts";

const { project, bare } = await installProjects();

/** Runs a program in the project. */
async function inProject(program: string, ...args: string[]): Promise<string> {
  return await run(project, program, args);
}

Deno.test("the npm package plans a cache in Node, from one set whose kernels load minified", async () => {
  const { kernels, chosen, wgsl } = JSON.parse(await inProject("node", "plan.js"));
  assert.deepEqual(chosen, ["store_d128", "encode_c8b8_d128"]);
  assert.equal(kernels, c8b8.length);
  assert.match(wgsl, /@compute@workgroup_size/);
});

/** Arguments of the compiler. */
const STRICT = [
  ..."--strict --noEmit --exactOptionalPropertyTypes --module nodenext --target es2024".split(" "),
  ...["--lib", "es2024,dom,dom.iterable", "--types", ""],
];

Deno.test("the npm package has every entry but the command line's, and depends on nothing", async () => {
  const installed = JSON.parse(
    await Deno.readTextFile(`${project}/node_modules/@couplet/kv/package.json`),
  );
  assert.equal(installed.dependencies, undefined);
  assert.equal(installed.sideEffects, false);
  const wanted = Object.keys(config.exports).filter((entry) => entry !== "./cli");
  assert.deepEqual(Object.keys(installed.exports), wanted);
  const imports = wanted.map((entry) => `await import("@couplet/kv${entry.slice(1)}");`);
  await run(bare, "node", ["--input-type=module", "--eval", imports.join("\n")]);
  const packages = Deno.readDirSync(`${bare}/node_modules`).map(({ name }) => name);
  assert.deepEqual([...packages].filter((name) => !name.startsWith(".")), ["@couplet"]);
});

Deno.test("the npm package's manifest has what npm shows, and its pages lead nowhere that it lacks", async () => {
  const folder = `${project}/node_modules/@couplet/kv`;
  const installed = JSON.parse(await Deno.readTextFile(`${folder}/package.json`));
  for (const field of ["description", "keywords", "author", "license"]) {
    assert.ok(installed[field].length > 0, field);
  }
  assert.equal(installed.repository.url, `git+${REPOSITORY}.git`);
  assert.ok(installed.homepage.startsWith(REPOSITORY) && installed.bugs.url.startsWith(REPOSITORY));
  for (const page of ["README.md", "CHANGELOG.md"]) {
    assert.deepEqual(relativeLinks(await Deno.readTextFile(`${folder}/${page}`)), []);
  }
  const licences = await Deno.readTextFile(`${folder}/cli/bundled/LICENSES.txt`);
  for (const name of Deno.readDirSync(`${folder}/cli/bundled`).map((file) => file.name)) {
    if (name.endsWith(".js")) assert.match(licences, new RegExp(`^${name.slice(0, -3)} \\d`, "m"));
  }
});

Deno.test("the npm package has what Node 20 has: nothing of a later JavaScript", async () => {
  // Texts' isWellFormed() is of ES2024, and Node 20 has it.
  const { output } = await end(ROOT, `${project}/node_modules/.bin/tsc`, [
    ..."--noEmit --ignoreConfig --strict --skipLibCheck --allowImportingTsExtensions".split(" "),
    ..."--module esnext --moduleResolution bundler --target es2022".split(" "),
    ...["--lib", "es2023,es2024.string,dom,dom.iterable,dom.asynciterable", "--types", ""],
    "mod.ts",
    ...Object.keys(SUMMARIES).map((name) => `cli/${name.replace(" ", "_")}.ts`),
    "cli/main.ts",
    ...["src/hosts/ort.ts", "src/hosts/transformers.ts", "src/models/mod.ts"],
    ...["src/snapshots/stores/directory.ts", "src/snapshots/stores/opfs.ts"],
  ]);
  // The compiler lacks the packages, and Node's and Deno's own types: only what it says of JavaScript counts.
  assert.match(output, /error TS2307/);
  assert.deepEqual(output.split("\n").filter((line) => / TS(2550|2583|2568)/.test(line)), []);
});

Deno.test("a bundle made from the npm package keeps to the engine's budget, with the kernels of its set alone", async () => {
  const contents = `
    import { createCache, decodeCodebooks, planCache, requiredFeatures, requiredLimits } from "@couplet/kv";
    import { kernels } from "@couplet/kv/kernels/c8b8_d128";
    export { createCache, decodeCodebooks, planCache, requiredFeatures, requiredLimits };
    export const load = () => kernels;
  `;
  const { metafile, outputFiles } = await build({
    stdin: { contents, resolveDir: project },
    absWorkingDir: project,
    bundle: true,
    splitting: true,
    minify: true,
    format: "esm",
    outdir: "unused",
    entryNames: "entry",
    metafile: true,
    write: false,
  });
  await stop();
  const texts = Object.keys(metafile.inputs).filter((path) => path.endsWith(".wgsl.js"));
  assert.equal(texts.length, c8b8.length);
  const entry = outputFiles.find(({ path }) => path.endsWith("/entry.js"))!;
  const rows = 2_000;
  assert.ok(gzipSync(entry.contents, { level: 9 }).length < BUDGETS.engine.ceiling + rows);
});

/** The command line, as npm links it. */
const COUPLET = "node_modules/.bin/couplet";

/** What a program that attends prints. */
interface Attended {
  readonly adapter: string;
  readonly codedTokens: number;
  readonly error: number;
}

function checkAttended({ adapter, codedTokens, error }: Attended): void {
  assert.match(adapter, /SwiftShader/);
  assert.equal(codedTokens, 70 + 1 + 20 + 1 - 1 - 3);
  // The plan may choose kernels that keep tables of scores in f16.
  assert.ok(error < 2e-3, `the largest difference is ${error}`);
}

Deno.test("the npm package attends on Dawn in Node as its reference does", async () => {
  checkAttended(JSON.parse(await run(project, "node", ["attend.js"], await dawnEnvironment())));
});

/** What a program in TypeScript sees of generated kernels. Types that are `any` would let the last line pass. */
const GENERATED_CONSUMER = `
import type { PlanOptions } from "@couplet/kv";
import { manifest } from "./my_kernels/manifest.js";
export const kernels: PlanOptions["kernels"] = manifest;
// @ts-expect-error kernels are no numbers
export const numbers: readonly number[] = manifest;
`;

Deno.test("couplet of npm calibrates and generates in Node, and a program attends with both, typed", async () => {
  const environment = await dawnEnvironment();
  await Deno.writeFile(`${project}/samples`, samplesFile({ tokens: 300, headDim: 48 }));
  const couplet = async (line: string) => await run(project, COUPLET, line.split(" "), environment);
  const generated = await couplet("generate --pair c4b6/c2b3 --head-dim 48 --out my_kernels");
  assert.match(generated, /import \{ manifest \} from ".\/my_kernels\/manifest.js";/);
  await couplet(
    "calibrate samples samples --space as-scored --model m --digest d --keys c4b6 --values c2b3 " +
      "--out codebooks",
  );
  assert.match(await couplet("codebooks info codebooks"), /c4b6/);
  checkAttended(JSON.parse(await run(project, "node", ["attend_generated.js"], environment)));
  await Deno.writeTextFile(`${project}/generated_consumer.ts`, GENERATED_CONSUMER);
  await inProject("node_modules/.bin/tsc", ...STRICT, "consumer.ts", "generated_consumer.ts");
});

Deno.test("the program of docs/webgpu_in_node.md runs as it stands there", async () => {
  const page = await Deno.readTextFile(`${ROOT}docs/webgpu_in_node.md`);
  const [, program] = /^```js ignore\n([\s\S]*?)^```$/m.exec(page)!;
  await Deno.writeTextFile(`${project}/attend.mjs`, program!);
  const output = await run(project, "node", ["attend.mjs"], await dawnEnvironment());
  assert.match(output, /^SwiftShader[\s\S]*\noutputs of 12 heads, the first 0\.\d+\n$/);
});

/** Command lines where only the package is installed. */
const WITHOUT_DAWN: readonly (readonly [line: string, code: number, says: RegExp])[] = [
  ["--help", 0, /^Usage: couplet [\s\S]*couplet is npx @couplet\/kv here/],
  ["plan . --scheme u8b8 --tokens 4096", 0, /llama: 2 layers[\s\S]*total/],
  ["kernels show encode_c8b8_d64 --wgsl", 0, /const HEAD_DIM: u32 = 64u;/],
  ["generate --scheme c4b6 --head-dim 16 --out mine", 0, /kernels in mine/],
  ["kernels list encode_c4b6_d16 --kernels mine/manifest.js", 0, /encode_c4b6_d16/],
  [
    "calibrate samples samples --space as-scored --model m --digest d --scheme c4b4 --out books --cpu",
    0,
    /in books/,
  ],
  [
    "calibrate samples samples --space as-scored --model m --digest d --scheme c4b4 --out more",
    3,
    /webgpu is not\s+installed. Install it beside: npm install webgpu/,
  ],
  ["doctor", 3, /^Node \d+[\s\S]*webgpu is not\s+installed/],
  ["plan . --scheme u8b8 --token 4096", 2, /unknown option '--token'/],
  ["bench", 1, /Clone the repository/],
];

Deno.test("couplet of npm runs with nothing beside it, and misses Dawn only where it computes", async (test) => {
  await Deno.writeFile(`${bare}/samples`, samplesFile());
  await Deno.writeTextFile(
    `${bare}/config.json`,
    JSON.stringify({
      model_type: "llama",
      num_hidden_layers: 2,
      num_attention_heads: 2,
      head_dim: 64,
    }),
  );
  for (const [line, wanted, says] of WITHOUT_DAWN) {
    await test.step(line, async () => {
      const { code, output, errors } = await end(bare, COUPLET, line.split(" "));
      assert.equal(code, wanted, output + errors);
      assert.match(output + errors, says);
    });
  }
  assert.equal(await run(bare, "npx", ["couplet", "--version"]), `${config.version}\n`);
  // The modules around it are CommonJS.
  const load = 'import("./mine/manifest.js").then(({ manifest }) => manifest[0].load())';
  await run(bare, "node", ["--eval", load]);
});
