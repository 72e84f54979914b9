/** Files that are absurd, or no files at all, and texts in them that command a terminal. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { encodeCodebooks, writeSafetensors } from "../../mod.ts";
import { encodeSnapshot } from "../../src/snapshots/file.ts";
import { couplet, samplesFile, withFolder } from "../helpers/cli.ts";
import { nested } from "../helpers/forged_files.ts";

const SAMPLES =
  "calibrate samples --space as-scored --model m --digest d --cpu --scheme c1b1 --out";

const LLAMA = {
  model_type: "llama",
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 64,
};

/** Commands that read a file, of which FILE is to be one; GOOD are samples, and CONFIG is a model's. */
const READING: readonly string[] = [
  "plan FILE --scheme u8b8",
  "plan CONFIG --policy FILE",
  "plan CONFIG --scheme u8b8 --kernels FILE",
  "kernels list --kernels FILE",
  "snapshot info FILE",
  "codebooks info FILE",
  "codebooks verify FILE",
  `${SAMPLES} OUT FILE`,
  `${SAMPLES} OUT GOOD --weights FILE`,
];

/** What is there and is no file; gives its path. */
const NO_FILES: Readonly<Record<string, (folder: string) => string>> = {
  "a folder": (folder) => {
    Deno.mkdirSync(join(folder, "a folder"));
    return join(folder, "a folder");
  },
  ...(Deno.build.os === "windows" ? {} : {
    "a named pipe": (folder: string) => {
      execFileSync("mkfifo", [join(folder, "pipe")]);
      return join(folder, "pipe");
    },
    "a device without end": () => "/dev/zero",
  }),
};

/** Runs a command, plain and with `--json`, beside the files that it may name. */
async function run(
  command: string,
  file: (folder: string) => string | Promise<string>,
): Promise<{ readonly plain: Awaited<ReturnType<typeof couplet>>; readonly json: unknown }> {
  return await withFolder(async (folder) => {
    const paths: Record<string, string> = {
      FILE: await file(folder),
      GOOD: join(folder, "samples.safetensors"),
      CONFIG: join(folder, "good.json"),
      OUT: join(folder, "out.safetensors"),
    };
    await Deno.writeFile(paths["GOOD"]!, samplesFile());
    await Deno.writeTextFile(paths["CONFIG"]!, JSON.stringify(LLAMA));
    const args = command.split(" ").map((word) => paths[word] ?? word);
    const plain = await couplet(args);
    const json = await couplet([...args, "--json"]);
    assert.equal(json.exitCode, plain.exitCode);
    assert.doesNotMatch(plain.output + plain.errors + json.output + json.errors, COMMANDS);
    return { plain, json: JSON.parse(json.output) };
  });
}

const COMMANDS = /(?![\n\t])[\p{Cc}\u2028-\u202e\u2066-\u2069]/u;

for (const command of READING) {
  for (const [what, make] of Object.entries(NO_FILES)) {
    // A model's folder is one that holds its config.json.
    const says = what !== "a folder"
      ? /pipe or a device/
      : command.startsWith("plan FILE")
      ? /no such file/
      : /it is a folder/;
    Deno.test(`couplet ${command} refuses ${what}`, async () => {
      const { plain } = await run(command, make);
      assert.equal(plain.exitCode, 1, plain.errors);
      assert.match(plain.errors, says);
    });
  }
}

/** Files that are larger than any of their kind; sparse, so that they take no room. */
const LARGE: readonly (readonly [command: string, bytes: number, says: RegExp])[] = [
  ["plan FILE --scheme u8b8", 2 ** 25, /it has 32\.0 MiB, and may have 16\.0 MiB/],
  ["plan CONFIG --policy FILE", 2 ** 40, /it has 1\.00 TiB/],
  ["snapshot info FILE", 2 ** 40, /it has 1\.00 TiB/],
  ["codebooks verify FILE", 2 ** 40, /it has 1\.00 TiB/],
  [`${SAMPLES} OUT FILE`, 2 ** 40, /it has 1\.00 TiB/],
];

for (const [command, bytes, says] of LARGE) {
  Deno.test(`couplet ${command} refuses a file of ${bytes} bytes`, async () => {
    const { plain } = await run(command, (folder) => {
      Deno.writeTextFileSync(join(folder, "large"), "{}");
      Deno.truncateSync(join(folder, "large"), bytes);
      return join(folder, "large");
    });
    assert.equal(plain.exitCode, 1, plain.output);
    assert.match(plain.errors, says);
  });
}

/** What a config.json may say of a model, and no computer can list; texts are JSON, and stand in the place of any value. */
const ABSURD: readonly (readonly [entries: Readonly<Record<string, unknown>>, says: RegExp])[] = [
  ...[200_000, 1e7, 1e9, Number.MAX_SAFE_INTEGER].flatMap((value) => [
    [{ num_hidden_layers: value }, /num_hidden_layers/] as const,
    [{ num_attention_heads: value }, /num_attention_heads/] as const,
    [{ head_dim: value }, /head_dim/] as const,
    [{ head_dim: null, hidden_size: value, num_attention_heads: 1 }, /hidden_size/] as const,
  ]),
  [{ head_dim: 2 ** 30, rope_scaling: { rope_type: "linear", factor: 2 } }, /head_dim/],
  [{ layer_types: Array(1e6).fill(1) }, /layer_types is a list of 1000000/],
  [{ no_rope_layers: Array(1e6).fill("1") }, /no_rope_layers is a list of 1000000/],
  [{ rope_scaling: JSON.parse(nested(60)) }, /record|object/],
  [
    { num_hidden_layers: 4096, head_dim: 1024, rope_scaling: { type: "linear", factor: 2 } },
    /head dimension 1024/,
  ],
  [
    Object.fromEntries(Array.from({ length: 1e4 }, (_, i) => [`window_${"x".repeat(99)}${i}`, i])),
    /window_x+\.\.\., .* and 9994 more may change/,
  ],
];

for (const [entries, says] of ABSURD) {
  const name = JSON.stringify(entries).slice(0, 80);
  Deno.test(`couplet plan refuses a model with ${name}`, async () => {
    const { plain } = await run("plan FILE --scheme u8b8", (folder) => {
      const file = join(folder, "config.json");
      Deno.writeTextFileSync(file, JSON.stringify({ ...LLAMA, ...entries }));
      return file;
    });
    assert.equal(plain.exitCode, 1, plain.output);
    assert.match(plain.errors, says);
    assert.ok(plain.errors.length < 1000);
  });
}

for (const deep of [65, 3000, 100_000]) {
  for (const command of ["plan FILE --scheme u8b8", "plan CONFIG --policy FILE"]) {
    Deno.test(`couplet ${command} refuses JSON ${deep} deep`, async () => {
      const { plain } = await run(command, (folder) => {
        Deno.writeTextFileSync(join(folder, "deep.json"), `{"model_type":${nested(deep)}}`);
        return join(folder, "deep.json");
      });
      assert.equal(plain.exitCode, 1);
      assert.match(plain.errors, /nests more than 64 deep/);
    });
  }
}

/** Clears a screen, sets a title, turns letters around, and forges a line. */
const EVIL = "\x1b[2J\x1b]0;x\x07\x9b31m\u202e\x7f\r\nExit code 0";
const SHOWN = "\\u001b[2J\\u001b]0;x\\u0007\\u009b31m\\u202e\\u007f";

/** Commands over files with such texts, and whether they succeed. */
const EVIL_FILES: Readonly<Record<string, readonly [command: string, bytes: string | Uint8Array]>> =
  {
    "a model_type": ["plan FILE --scheme u8b8", JSON.stringify({ ...LLAMA, model_type: EVIL })],
    "a layer's type": [
      "plan FILE --scheme u8b8",
      JSON.stringify({ ...LLAMA, num_hidden_layers: 1, layer_types: [EVIL] }),
    ],
    "the name of a rotary scaling": [
      "plan FILE --scheme u8b8",
      JSON.stringify({ ...LLAMA, rope_scaling: { rope_type: EVIL } }),
    ],
    "what is no JSON": ["plan FILE --scheme u8b8", EVIL],
    "a policy's scheme": [
      "plan CONFIG --policy FILE",
      JSON.stringify({ name: "a", policy: { keys: EVIL, values: "c8b8" } }),
    ],
    "a policy's entry": [
      "plan CONFIG --policy FILE",
      JSON.stringify({ name: "a", policy: { keys: "c8b8", values: "c8b8", [EVIL]: 1 } }),
    ],
    "a tensor's name": [
      `${SAMPLES} OUT FILE`,
      writeSafetensors({
        metadata: {},
        tensors: new Map([[EVIL, { dtype: "F32", shape: [0], data: new Uint8Array(0) }]]),
      }),
    ],
    "the metadata of samples": [
      `${SAMPLES} OUT FILE`,
      writeSafetensors({
        metadata: { format: "couplet-samples", version: "1", key_space: EVIL },
        tensors: new Map(),
      }),
    ],
    "codebooks' texts": [
      "codebooks info FILE",
      encodeCodebooks({
        model: { name: EVIL, digest: EVIL },
        keySpace: "pre-rope",
        provenance: { source: EVIL, tokens: 1, seed: 1, iterations: 1 },
        codebooks: [],
      }),
    ],
    "a format": [
      "snapshot info FILE",
      writeSafetensors({ metadata: { format: EVIL }, tensors: new Map() }),
    ],
    "a snapshot's texts": [
      "snapshot info FILE",
      await encodeSnapshot({
        info: {
          model: { name: EVIL, digest: EVIL },
          plan: JSON.stringify({ [EVIL]: EVIL }),
          planFingerprint: EVIL,
          codebookFingerprint: EVIL,
          prompt: EVIL,
          length: 1,
          exactFrom: 0,
          codedFrom: [0],
          spans: [],
        },
        tensors: new Map(),
      }),
    ],
  };

for (const [name, [command, content]] of Object.entries(EVIL_FILES)) {
  Deno.test(`couplet shows what is in ${name}, and lets no terminal do it`, async () => {
    const { plain } = await run(command, (folder) => {
      const file = join(folder, "evil");
      if (typeof content === "string") Deno.writeTextFileSync(file, content);
      else Deno.writeFileSync(file, content);
      return file;
    });
    const all = plain.output + plain.errors;
    assert.ok(all.includes(SHOWN) || /JSON/.test(name) && all.includes("\\u001b"), all);
    assert.doesNotMatch(all, /^Exit code 0/m);
  });
}

Deno.test("couplet shows what is in a file's name, and lets no terminal do it", async () => {
  const name = "\x1b[2J\x9b31m";
  const { plain } = await run("snapshot info FILE", (folder) => join(folder, name));
  assert.equal(plain.exitCode, 1);
  assert.ok(plain.errors.includes("\\u001b[2J\\u009b31m"), plain.errors);
});
