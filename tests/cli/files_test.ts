import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import {
  calibrate,
  decodeCodebooks,
  type KernelInfo,
  planCache,
  readSamples,
  writeSafetensors,
} from "../../mod.ts";
import { centroidHeads } from "../../src/codebooks/device.ts";
import { specifier } from "../../cli/generate.ts";
import { encodeSnapshot } from "../../src/snapshots/file.ts";
import { couplet, coupletJson, samplesFile, withFolder } from "../helpers/cli.ts";

const CALIBRATE = "calibrate samples --space as-scored --model m --digest d --cpu --seed 3".split(
  " ",
);

Deno.test("couplet calibrate samples learns what calibrate() learns", async () => {
  await withFolder(async (folder) => {
    const [samples, out] = ["samples", "codebooks"].map((name) => join(folder, name));
    const bytes = samplesFile({ layers: 2 });
    await Deno.writeFile(samples!, bytes);
    const { output, errors, exitCode } = await couplet(
      [...CALIBRATE, samples!, "--keys", "c2b2", "--values", "c4b4", "--out", out!],
    );
    assert.equal(exitCode, 0, errors);
    const set = decodeCodebooks(await Deno.readFile(out!), { keySpace: "as-scored" });
    const expected = await calibrate({
      samples: readSamples(bytes),
      schemes: { keys: ["c2b2"], values: ["c4b4"] },
      keySpace: "as-scored",
      model: { name: "m", digest: "d" },
      source: "samples",
      seed: 3,
    });
    assert.deepEqual(set, expected);
    assert.match(output, /^ +1 +values +c4b4 +0\.\d{4}$/m);
    assert.match(output, /^64 tokens, 4 codebooks, /m);
  });
});

Deno.test("couplet calibrate samples shares centroids as the policy's file says", async () => {
  await withFolder(async (folder) => {
    const [samples, file, out] = ["samples", "policy", "out"].map((name) => join(folder, name));
    await Deno.writeFile(samples!, samplesFile({ tokens: 256 }));
    const policy = { keys: "n8b4x2", values: "f16" };
    for (const shareHeads of [false, true]) {
      await Deno.writeTextFile(
        file!,
        JSON.stringify({ name: "p", policy: { ...policy, shareHeads } }),
      );
      await coupletJson([...CALIBRATE, samples!, "--policy", file!, "--out", out!]);
      const [keys] = decodeCodebooks(await Deno.readFile(out!)).codebooks;
      assert.equal(centroidHeads(keys!), shareHeads ? 1 : keys!.keyValueHeads);
    }
  });
});

Deno.test("couplet calibrate samples joins files, and takes weights", async () => {
  await withFolder(async (folder) => {
    const path = (name: string) => join(folder, name);
    await Deno.writeFile(path("a"), samplesFile());
    await Deno.writeFile(path("b"), samplesFile({ tokens: 32, seed: 2 }));
    // Only the first file's tokens count.
    const weights = Float32Array.from({ length: 96 * 2 }, (_, i) => i < 64 * 2 ? 1 : 0);
    await Deno.writeFile(
      path("weights"),
      writeSafetensors({
        metadata: {},
        tensors: new Map([["layers.0.keys", {
          dtype: "F32",
          shape: [96, 2],
          data: new Uint8Array(weights.buffer),
        }]]),
      }),
    );
    const run = async (out: string, ...args: string[]) => {
      await coupletJson([...CALIBRATE, ...args, "--scheme", "c1b1", "--out", path(out)]);
      return decodeCodebooks(await Deno.readFile(path(out)));
    };
    const first = await run("first", path("a"));
    const both = await run("both", path("a"), path("b"));
    const weighted = await run("weighted", path("a"), path("b"), "--weights", path("weights"));
    assert.equal(both.provenance.tokens, 96);
    assert.equal(both.provenance.source, "a, b");
    const keys = (set: typeof first) => set.codebooks.find(({ side }) => side === "keys")!;
    assert.deepEqual(keys(weighted).grid, keys(first).grid);
    assert.notDeepEqual(keys(both).grid, keys(first).grid);
  });
});

Deno.test("couplet snapshot info says what a snapshot holds", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "snapshot");
    const info = {
      model: { name: "my model", digest: "abc" },
      plan: '{"tiers":{"sinks":4}}',
      planFingerprint: "12",
      codebookFingerprint: "34",
      prompt: undefined,
      length: 100,
      exactFrom: 36,
      codedFrom: [0, 16],
      spans: [{ name: "image", tokens: 576, place: 3 }],
    };
    const bytes = await encodeSnapshot({ info, tensors: new Map() });
    await Deno.writeFile(path, bytes);
    const found = await coupletJson<Record<string, unknown>>(["snapshot", "info", path]);
    const { prompt: _absent, ...rest } = info;
    assert.deepEqual(found, { ...rest, plan: { tiers: { sinks: 4 } }, bytes: bytes.length });
    const { output } = await couplet(["snapshot", "info", path]);
    assert.match(output, /my model \(abc\)/);
    assert.match(output, /100, exact from 36, coded from 0 and 16 behind the sinks/);

    bytes[bytes.length - 1]! ^= 1;
    await Deno.writeFile(path, bytes);
    const damaged = await couplet(["snapshot", "info", path]);
    assert.equal(damaged.exitCode, 1);
    assert.ok(damaged.errors.includes(path));
  });
});

const MANIFESTS = { typescript: "manifest.ts", javascript: "manifest.js" } as const;

for (const [language, file] of Object.entries(MANIFESTS)) {
  Deno.test(`couplet generate writes kernels in ${language} that a plan takes, and keeps what it did not write`, async () => {
    await withFolder(async (parent) => {
      const out = join(parent, "kernels");
      const args = [
        "generate",
        "--pair",
        "c4b6/c2b4",
        "--head-dim",
        "16",
        "--out",
        out,
        "--language",
        language,
      ];
      const { kernels: names } = await coupletJson<{ kernels: string[] }>(args);
      const manifest: { manifest: readonly KernelInfo[] } = await import(
        pathToFileURL(join(out, file)).href
      );
      assert.deepEqual(manifest.manifest.map(({ name }) => name), names);
      const [layer] = planCache({
        shape: { layers: 1, queryHeads: 2, keyValueHeads: 1, headDim: 16 },
        policy: { keys: "c4b6", values: "c2b4" },
        keys: { space: "as-scored" },
        tiers: { sinks: 0, window: 0 },
        capacity: { sequences: 1, tokens: 64, sequenceTokens: 64, stepTokens: 1, appendTokens: 1 },
        kernels: manifest.manifest,
      }).layers;
      assert.equal(layer!.encodeKeys.name, "encode_c4b6_d16");

      const own = ["--kernels", join(out, file)];
      const listed = await coupletJson<{ name: string }[]>(["kernels", "list", "*_d16*", ...own]);
      assert.deepEqual(
        listed.map(({ name }) => name),
        names.filter((name) => /_d16(_|$)/.test(name)),
      );
      const shown = await couplet(["kernels", "show", "encode_c4b6_d16", "--wgsl", ...own]);
      assert.match(shown.output, /const HEAD_DIM: u32 = 16u;/);
      const config = join(parent, "config.json");
      await Deno.writeTextFile(
        config,
        JSON.stringify({
          model_type: "llama",
          num_hidden_layers: 1,
          num_attention_heads: 2,
          head_dim: 16,
        }),
      );
      const plan = await couplet(["plan", config, "--keys", "c4b6", "--values", "c2b4", ...own]);
      assert.equal(plan.exitCode, 0, plan.errors);
      assert.ok(!plan.output.includes("@couplet/kv/kernels/"));
      assert.match(plan.output, /attend_c4b6_c2b4_d16_rope/);
      assert.match(plan.output, /no f16 to compare with: .*encode_f16_d64/);

      const again = await coupletJson<{ written: string[]; removed: string[] }>(args);
      assert.deepEqual([again.written, again.removed], [[], []]);
      await Deno.writeTextFile(join(out, "notes.txt"), "mine");
      const { exitCode, errors } = await couplet(args);
      assert.equal(exitCode, 2);
      assert.match(errors, /notes\.txt/);
      assert.equal(await Deno.readTextFile(join(out, "notes.txt")), "mine");
    });
  });
}

Deno.test("couplet calibrate text runs the repository's task", async () => {
  await withFolder(async (folder) => {
    const out = join(folder, "codebooks");
    const { exitCode } = await couplet([
      ..."calibrate text --schemes c1b1 --weights none --tokens 256 --context 128".split(" "),
      ...["--out", out],
    ]);
    assert.equal(exitCode, 0);
    const { codebooks, provenance, keySpace } = decodeCodebooks(await Deno.readFile(out));
    assert.equal(codebooks.length, 8);
    assert.equal(provenance.tokens, 256);
    assert.equal(keySpace, "pre-rope");
  });
});

/** What may lie in a folder that was not generated, beside what was. */
const FOREIGN: Readonly<Record<string, (folder: string) => void>> = {
  "notes.txt": (folder) => Deno.writeTextFileSync(join(folder, "notes.txt"), "mine"),
  "package.json": (folder) => Deno.writeTextFileSync(join(folder, "package.json"), "{}"),
  "mine.ts": (folder) => Deno.writeTextFileSync(join(folder, "mine.ts"), "export {};"),
  "protocol.ts": (folder) =>
    Deno.writeTextFileSync(join(folder, "protocol.ts"), "// Generated by somebody else.\n"),
  "work": (folder) => Deno.mkdirSync(join(folder, "work")),
  "link": (folder) =>
    Deno.symlinkSync(Deno.makeTempDirSync({ dir: dirname(folder) }), join(folder, "link")),
  "mine.wgsl.ts": (folder) => Deno.writeTextFileSync(join(folder, "mine.wgsl.ts"), "export {};"),
  "link.wgsl.ts": (folder) => Deno.symlinkSync(dirname(folder), join(folder, "link.wgsl.ts")),
  "c4b6/link": (folder) => Deno.symlinkSync(dirname(folder), join(folder, "c4b6/link")),
  "folder.wgsl.ts": (folder) => Deno.mkdirSync(join(folder, "folder.wgsl.ts")),
  ...(Deno.build.os === "windows" ? {} : {
    "pipe.wgsl.ts": (folder: string) => void execFileSync("mkfifo", [join(folder, "pipe.wgsl.ts")]),
  }),
};

for (const [name, make] of Object.entries(FOREIGN)) {
  Deno.test(`couplet generate writes nothing beside ${name}`, async () => {
    await withFolder(async (parent) => {
      const out = join(parent, "kernels");
      const args = ["generate", "--scheme", "c4b6", "--head-dim", "16", "--out", out];
      assert.equal((await couplet(args)).exitCode, 0);
      make(out);
      Deno.removeSync(join(out, "manifest.ts"));
      const { exitCode, errors } = await couplet(args);
      assert.equal(exitCode, 2, errors);
      assert.ok(errors.includes(name), errors);
      assert.ok(Deno.lstatSync(join(out, name)) !== undefined);
      assert.throws(() => Deno.statSync(join(out, "manifest.ts")), Deno.errors.NotFound);
    });
  });
}

Deno.test("couplet generate replaces modules of the other language", async () => {
  await withFolder(async (parent) => {
    const out = join(parent, "kernels");
    const args = ["generate", "--scheme", "c4b6", "--head-dim", "16", "--out", out, "--language"];
    for (const language of ["javascript", "typescript", "javascript"] as const) {
      const { exitCode, errors } = await couplet([...args, language]);
      assert.equal(exitCode, 0, errors);
      const files = Deno.readDirSync(out).map(({ name }) => name).filter((one) => /\./.test(one));
      const own = language === "typescript" ? [] : ["manifest.d.ts", "package.json"];
      assert.deepEqual([...files].sort(), [...own, MANIFESTS[language]].sort());
    }
  });
});

Deno.test("couplet generate replaces what an earlier version wrote, with sets in a folder of their own", async () => {
  await withFolder(async (parent) => {
    const out = join(parent, "kernels");
    Deno.mkdirSync(join(out, "sets"), { recursive: true });
    const old = ["encode_c4b6_d16.wgsl.ts", "sets/c4b6_d16.ts"].map((name) => join(out, name));
    for (const path of old) Deno.writeTextFileSync(path, "// Generated by an earlier version\n");
    const args = ["generate", "--scheme", "c4b6", "--head-dim", "16", "--out", out];
    const { exitCode, errors } = await couplet(args);
    assert.equal(exitCode, 0, errors);
    for (const path of old) assert.throws(() => Deno.statSync(path), Deno.errors.NotFound);
    assert.ok(Deno.statSync(join(out, "c4b6/encode_c4b6_d16.wgsl.ts")).isFile);
  });
});

/** Folders of kernels, and what a module imports their manifest by. */
const SPECIFIERS: readonly (readonly [out: string, specifier: string])[] = [
  ["gen2", "./gen2/manifest.ts"],
  ["gen2/", "./gen2/manifest.ts"],
  ["./gen2", "./gen2/manifest.ts"],
  ["../gen2", "../gen2/manifest.ts"],
  ["a/../b", "./b/manifest.ts"],
  [".", "./manifest.ts"],
  [".hidden", "./.hidden/manifest.ts"],
  ["my kernels #2", "./my%20kernels%20%232/manifest.ts"],
  ["/srv/my kernels", "file:///srv/my%20kernels/manifest.ts"],
];

Deno.test("couplet generate says how to import what it wrote", async () => {
  for (const [out, expected] of SPECIFIERS) {
    assert.equal(specifier(out, "typescript"), expected);
    assert.equal(specifier(out, "javascript"), expected.replace(/ts$/, "js"));
  }
  await withFolder(async (parent) => {
    const out = join(parent, "kernels");
    const args = ["generate", "--scheme", "c4b6", "--head-dim", "16", "--out", out];
    const { output } = await couplet(args);
    const [, module] = /import \{ manifest \} from "(.*)";/.exec(output)!;
    assert.ok((await import(module!)).manifest.length > 0);
  });
});

/** Arguments of the repository's tasks that are refused, and the exit code of the task and the command. */
const REFUSED_TASKS: readonly (readonly [args: string, exitCode: number])[] = [
  ["eval --schemes c8b8x", 1],
  ["eval --text /no/such.txt", 1],
  ["eval --tokens abc", 2],
  ["calibrate text --tokens abc", 2],
  ["bench --no-such-option", 2],
];

for (const [args, code] of REFUSED_TASKS) {
  Deno.test(`couplet ${args} ends with ${code}, as the repository's task does`, async () => {
    const { exitCode, output } = await couplet(args.split(" "));
    assert.equal(exitCode, code);
    assert.equal(output, "");
  });
}
