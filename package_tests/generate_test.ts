/** The generator of the published package, in a folder that holds nothing of the repository. */
import assert from "node:assert/strict";
import { PACKAGE, serveRegistry } from "./registry.ts";

const GENERATE = `
import { generateKernels, writeFiles } from "@couplet/kv/generate";
const files = generateKernels({ pairs: ["c4b6/c2b3"], headDims: [48] });
writeFiles(new URL("./my_kernels/", import.meta.url), files);
`;

const PLAN = `
import { planCache } from "@couplet/kv";
import { manifest } from "./my_kernels/manifest.ts";
const { layers } = planCache({
  shape: { layers: 1, queryHeads: 2, keyValueHeads: 1, headDim: 48 },
  policy: { keys: "c4b6", values: "c2b3" },
  keys: { space: "as-scored" },
  tiers: { sinks: 1, window: 3 },
  capacity: { sequences: 1, tokens: 100, sequenceTokens: 100, stepTokens: 50, appendTokens: 50 },
  kernels: manifest,
});
const { encodeKeys } = layers[0]!;
console.log(encodeKeys.name, (await encodeKeys.load()).wgsl.includes("HEAD_DIM: u32 = 48u"));
`;

/** The kernels' folder, as a permission. */
const OWN = "my_kernels";

Deno.test("the generator runs from the published package, imported or as a command, and a plan takes what it gives", async () => {
  const folder = await Deno.makeTempDir({ prefix: "couplet_generate_" });
  try {
    await using registry = await serveRegistry();
    const run = async (...args: string[]) =>
      await registry.run(folder, ["run", "--check", "--no-lock", ...args]);
    await Deno.writeTextFile(
      `${folder}/deno.json`,
      JSON.stringify({
        imports: { "@couplet/kv": PACKAGE, "@couplet/kv/generate": `${PACKAGE}/generate` },
      }),
    );
    await Deno.writeTextFile(`${folder}/generate.ts`, GENERATE);
    await Deno.writeTextFile(`${folder}/plan.ts`, PLAN);
    // Nothing but that folder may be read or written: templates come as modules.
    await run(`--allow-read=${OWN}`, `--allow-write=${OWN}`, "generate.ts");
    assert.equal((await run("plan.ts")).output, "encode_c4b6_d48 true");

    const { requests } = await run(
      "--allow-read",
      "--allow-write",
      "--allow-env",
      "--allow-sys",
      `${PACKAGE}/cli`,
      ...["generate", "--pair", "c4b6/c2b3", "--head-dim", "48", "--out", "by_command"],
    );
    assert.deepEqual(requests.filter(({ path }) => path.endsWith(".wgsl.ts")), []);
    const sets = async (out: string) =>
      await Deno.readTextFile(`${folder}/${out}/c4b6_c2b3/c4b6_c2b3_d48.ts`);
    assert.equal(await sets("by_command"), await sets(OWN));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
