import assert from "node:assert/strict";
import { join } from "node:path";
import type { Host } from "../../cli/command.ts";
import { CHECKOUT, couplet, samplesFile, withFolder } from "../helpers/cli.ts";

const README = new URL("../../README.md", import.meta.url).pathname;
const HELPERS = new URL("../helpers/cli.ts", import.meta.url).pathname;
const FIXTURE = new URL("../fixtures/tiny-llama", import.meta.url).pathname;
const SAMPLES = "calibrate samples --space pre-rope --model m --digest d";

/** A policy's file. */
const UNKNOWN_SCHEME = '{ "name": "a", "policy": { "keys": "u8b8", "values": "u8b9" } }';

/** WebGPU without an adapter. */
const NO_ADAPTER = { requestAdapter: () => Promise.resolve(null) } as unknown as GPU;

const REFUSED: readonly {
  readonly args: string;
  readonly exitCode: number;
  /** The error's code. */
  readonly code: string;
  readonly says: RegExp;
  readonly host?: Partial<Host>;
}[] = [
  // The command line.
  {
    args: "kernel list",
    exitCode: 2,
    code: "usage",
    says: /unknown command.*Did you mean kernels/,
  },
  { args: "kernels lst", exitCode: 2, code: "usage", says: /Did you mean list/ },
  { args: "kernels list --famly mix", exitCode: 2, code: "usage", says: /Did you mean --family/ },
  { args: "kernels list a b", exitCode: 2, code: "usage", says: /too many arguments/ },
  {
    args: `plan ${FIXTURE} --scheme f16 --span image=sc1`,
    exitCode: 2,
    code: "usage",
    says: /such as image=sc1:576x4/,
  },
  {
    args: `plan ${FIXTURE} --scheme f16 --span image=sc1:576 --space pre-rope`,
    exitCode: 1,
    code: "shape",
    says: /no positions in the cache/,
  },
  { args: "kernels show", exitCode: 2, code: "usage", says: /missing required argument/ },
  { args: "kernels list --head-dim x", exitCode: 2, code: "usage", says: /integer from 1/ },
  { args: "kernels explain --scheme c8b8", exitCode: 2, code: "usage", says: /--head-dim/ },
  { args: "kernels explain --head-dim 64", exitCode: 2, code: "usage", says: /no scheme is given/ },
  {
    args: "kernels explain --head-dim 64 --keys c8b8",
    exitCode: 2,
    code: "usage",
    says: /belong together/,
  },
  {
    args: "kernels explain --head-dim 64 --scheme c8b8 --keys c8b8 --values c8b8",
    exitCode: 2,
    code: "usage",
    says: /exclude each other/,
  },
  {
    args: "kernels explain --head-dim 64 --scheme c8b8 --recipe best",
    exitCode: 2,
    code: "usage",
    says: /exclude each other/,
  },
  {
    args: "kernels explain --head-dim 64 --share-heads",
    exitCode: 2,
    code: "usage",
    says: /no scheme is given/,
  },
  {
    args: "kernels explain --head-dim 64 --recipe tiny",
    exitCode: 2,
    code: "usage",
    says: /best, small, fast/,
  },
  {
    args: "kernels explain --head-dim 64 --scheme c8b8 --limit maxFun=1",
    exitCode: 2,
    code: "usage",
    says: /maxStorageBufferBindingSize/,
  },
  {
    args: "kernels explain --head-dim 64 --scheme c8b8 --feature f16",
    exitCode: 2,
    code: "usage",
    says: /shader-f16 or subgroups/,
  },
  {
    args: "kernels explain --head-dim 64 --scheme c8b8 --limit maxBufferSize=1e9",
    exitCode: 2,
    code: "usage",
    says: /maxBufferSize=1e9/,
  },
  {
    args: "generate --out x --head-dim 64",
    exitCode: 2,
    code: "usage",
    says: /--scheme nor --pair/,
  },
  {
    args: "generate --out x --scheme c4b4",
    exitCode: 2,
    code: "usage",
    says: /--head-dim/,
  },
  {
    args: "generate --out x --pair c4b4/c4b4/c4b4 --head-dim 64",
    exitCode: 2,
    code: "usage",
    says: /c4b4\/c4b4\/c4b4/,
  },
  // Unknown names.
  {
    args: "kernels show attend_c8b8_c8b8_d64_ropes",
    exitCode: 1,
    code: "kernel",
    says: /nearest are attend_c8b8_c8b8_d64_rope,/,
  },
  { args: "kernels diff copy copi", exitCode: 1, code: "kernel", says: /nearest is copy\./ },
  { args: "kernels list stre_*", exitCode: 1, code: "kernel", says: /nearest are store_/ },
  { args: "kernels list --family atend", exitCode: 2, code: "usage", says: /nearest is attend\./ },
  {
    args: "kernels list --scheme c8b9x",
    exitCode: 2,
    code: "usage",
    says: /nearest are c8b10, c8b8/,
  },
  { args: "kernels list --scheme c8b7", exitCode: 1, code: "kernel", says: /couplet generate/ },
  {
    args: "kernels explain --head-dim 64 --scheme c8b8b",
    exitCode: 2,
    code: "usage",
    says: /nearest are c8b8,/,
  },
  {
    args: "generate --out x --pair c4b4/u3b8 --head-dim 64",
    exitCode: 2,
    code: "usage",
    says: /nearest are u4b8,/,
  },
  { args: `plan ${FIXTURE} --scheme u8b9`, exitCode: 2, code: "usage", says: /nearest are u8b8,/ },
  {
    args: `plan ${FIXTURE} --scheme f16 --span image=sc9:576`,
    exitCode: 2,
    code: "usage",
    says: /"sc9".*nearest/,
  },
  {
    args: `plan ${FIXTURE} --policy POLICY`,
    exitCode: 1,
    code: "scheme",
    says: /nearest are u8b8/,
  },
  // Sizes.
  {
    args: "generate --out x --scheme c4b4 --head-dim 12",
    exitCode: 1,
    code: "shape",
    says: /head dimension 12/,
  },
  {
    args: "kernels explain --head-dim 64 --query-heads 7 --kv-heads 2 --scheme c8b8",
    exitCode: 1,
    code: "shape",
    says: /do not divide/,
  },
  // Files.
  {
    args: `plan ${FIXTURE} --as lama --scheme c8b8`,
    exitCode: 2,
    code: "usage",
    says: /--as is "lama".*nearest (is|are) (gemma, )?llama/,
  },
  { args: "plan /nowhere --scheme c8b8", exitCode: 1, code: "file", says: /no such file/ },
  { args: `plan ${README} --scheme c8b8`, exitCode: 1, code: "file", says: /JSON/ },
  {
    args: `plan ${FIXTURE} --policy /nowhere`,
    exitCode: 1,
    code: "file",
    says: /policy \/nowhere.*no such file/,
  },
  {
    args: `plan ${FIXTURE} --policy ${FIXTURE}/config.json`,
    exitCode: 1,
    code: "file",
    says: /policy/,
  },
  {
    args: "kernels list --kernels /nowhere/manifest.ts",
    exitCode: 1,
    code: "file",
    says: /kernels of \/nowhere\/manifest\.ts/,
  },
  {
    args: `kernels list --kernels ${HELPERS}`,
    exitCode: 1,
    code: "file",
    says: /exports no manifest/,
  },
  { args: "snapshot info /nowhere", exitCode: 1, code: "file", says: /no such file/ },
  { args: `snapshot info ${README}`, exitCode: 1, code: "file", says: /README\.md/ },
  { args: `snapshot info ${FIXTURE}`, exitCode: 1, code: "file", says: /tiny-llama/ },
  { args: "codebooks info /nowhere", exitCode: 1, code: "file", says: /no such file/ },
  { args: `codebooks info ${README}`, exitCode: 1, code: "file", says: /README\.md/ },
  { args: `codebooks verify ${README}`, exitCode: 1, code: "file", says: /README\.md/ },
  {
    args: `codebooks verify ${FIXTURE}/model.safetensors --model ${FIXTURE}`,
    exitCode: 1,
    code: "file",
    says: /the format "pt", not "couplet-codebooks"/,
  },
  {
    args: `codebooks verify ${README} --as llama`,
    exitCode: 2,
    code: "usage",
    says: /--as is for/,
  },
  {
    args: `${SAMPLES} /nowhere --scheme c8b8 --out OUT`,
    exitCode: 1,
    code: "file",
    says: /samples \/nowhere.*no such file/,
  },
  {
    args: `${SAMPLES} ${README} --scheme c8b8 --out OUT`,
    exitCode: 1,
    code: "file",
    says: /README\.md/,
  },
  {
    args: `${SAMPLES} ${FIXTURE}/model.safetensors --scheme c8b8 --out OUT`,
    exitCode: 1,
    code: "file",
    says: /model\.safetensors.*it holds "/,
  },
  {
    args: `${SAMPLES} ${README} --scheme c8b8 --out /nowhere/x`,
    exitCode: 1,
    code: "file",
    says: /no folder \/nowhere/,
  },
  {
    args: `${SAMPLES} ${README} --scheme u8b8 --out OUT`,
    exitCode: 2,
    code: "usage",
    says: /none of the schemes has a codebook/,
  },
  // The repository.
  {
    args: "eval --schemes c8b8",
    exitCode: 1,
    code: "file",
    says: /Clone the repository and run deno task eval/,
    host: { checkout: undefined },
  },
  {
    args: "bench",
    exitCode: 1,
    code: "file",
    says: /deno task bench/,
    host: { checkout: undefined },
  },
  {
    args: "calibrate text --schemes c8b8",
    exitCode: 1,
    code: "file",
    says: /deno task calibrate/,
    host: { checkout: undefined },
  },
  // The device; the samples are well and good.
  {
    args: `${SAMPLES} GOOD --scheme c1b1 --out OUT`,
    exitCode: 3,
    code: "device",
    says: /no WebGPU.*--unstable-webgpu/,
  },
  {
    args: `${SAMPLES} GOOD --scheme c1b1 --out OUT`,
    exitCode: 3,
    code: "device",
    says: /no adapter.*deno task adapter/,
    host: { gpu: NO_ADAPTER },
  },
  {
    args: `${SAMPLES} GOOD --scheme c1b1 --out OUT`,
    exitCode: 3,
    code: "device",
    says: /no adapter.*mesa-vulkan-drivers/,
    host: { gpu: NO_ADAPTER, checkout: undefined },
  },
];

for (const { args, exitCode, code, says, host = {} } of REFUSED) {
  const where = host.checkout === undefined && "checkout" in host ? ", without a checkout" : "";
  const adapter = host.gpu === undefined ? "" : ", without an adapter";
  Deno.test(`couplet ${args} ends with ${exitCode}${adapter}${where}`, async () => {
    await withFolder(async (folder) => {
      const good = join(folder, "samples.safetensors");
      await Deno.writeFile(good, samplesFile());
      const policy = join(folder, "policy.json");
      await Deno.writeTextFile(policy, UNKNOWN_SCHEME);
      const argv = args.replace("GOOD", good).replace("POLICY", policy)
        .replace("OUT", join(folder, "out")).split(" ");
      const plain = await couplet(argv, host);
      assert.equal(plain.exitCode, exitCode, plain.errors);
      assert.match(plain.errors, says);
      assert.equal(plain.output, "");

      const json = await couplet([...argv, "--json"], host);
      assert.equal(json.exitCode, exitCode);
      assert.equal(json.errors, "");
      const { error } = JSON.parse(json.output);
      assert.equal(error.code, code);
      for (const part of ["what", "why", "remedy"]) assert.ok(error[part].length > 5, part);
    });
  });
}

Deno.test("couplet calibrate samples replaces codebooks, and no other file", async () => {
  await withFolder(async (folder) => {
    const [samples, out] = ["samples.safetensors", "codebooks.safetensors"]
      .map((file) => join(folder, file)) as [string, string];
    const bytes = samplesFile({ tokens: 300 });
    await Deno.writeFile(samples, bytes);
    const learn = (to: string) =>
      couplet([
        ...`${SAMPLES} --cpu --iterations 1 --scheme c4b4`.split(" "),
        ...[samples, "--out", to],
      ]);
    const refused = await learn(samples);
    assert.equal(refused.exitCode, 1);
    assert.match(refused.errors, /holds something else\. Give another name/);
    assert.deepEqual(await Deno.readFile(samples), bytes);
    for (let run = 0; run < 2; run++) {
      const { exitCode, errors } = await learn(out);
      assert.equal(exitCode, 0, errors);
    }
    const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
    assert.deepEqual(names, ["codebooks.safetensors", "samples.safetensors"]);
  });
});

Deno.test("no remedy tells people to delete a file", async () => {
  const found: string[] = [];
  const walk = async (folder: URL): Promise<void> => {
    for await (const { name, isDirectory } of Deno.readDir(folder)) {
      const path = new URL(name + (isDirectory ? "/" : ""), folder);
      if (isDirectory) await walk(path);
      else if (name.endsWith(".ts")) {
        const text = await Deno.readTextFile(path);
        for (
          const [line] of text.matchAll(
            /^[^\n]*"[^"\n]*\bdelete (it|the file)\b[^\n]*$/gim,
          )
        ) {
          found.push(`${path.pathname}: ${line.trim()}`);
        }
      }
    }
  };
  for (const folder of ["src/", "cli/"]) await walk(new URL(folder, CHECKOUT));
  assert.deepEqual(found, []);
});

Deno.test("couplet without a command prints its help, and is wrong", async () => {
  const { exitCode, output, errors } = await couplet([]);
  assert.equal(exitCode, 2);
  assert.equal(output, "");
  assert.match(errors, /Usage: couplet/);
});
