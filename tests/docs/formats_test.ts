/** docs/formats.md against the code: examples are decoded, tables compared. */
import assert from "node:assert/strict";
import {
  type CodebookSet,
  encodeCodebooks,
  PAGE_TOKENS,
  parseScheme,
  planCache,
  type Policy,
  readSafetensors,
  roundToGrid,
  type SafetensorsTensor,
  type Scheme,
  schemeCodec,
  spanKinds,
  writeSamples,
} from "../../mod.ts";
import { folderDigest } from "../../cli/model_folder.ts";
import { manifest } from "../../generated/manifest.ts";
import { crc32 } from "../../src/base/crc32.ts";
import { fromFloat16Array } from "../../src/base/float16.ts";
import { PLAIN_ROPE_FIELDS } from "../../src/model/rope_options.ts";
import { recordBits } from "../../src/records/layout.ts";
import { readBits } from "../../src/records/pack.ts";
import { sha256, sha256Bytes } from "../../src/base/sha256.ts";
import { encryptSnapshot } from "../../src/snapshots/stores/encrypted.ts";
import { encodeSnapshot, snapshotTensors } from "../../src/snapshots/file.ts";

const FIXTURE = new URL("../fixtures/tiny-llama", import.meta.url).pathname;
const TEXT = await Deno.readTextFile(new URL("../../docs/formats.md", import.meta.url));

/** The text under a heading, up to the next of its kind. */
function section(title: string): string {
  const [, text] = TEXT.split(`\n## ${title}\n`);
  assert.ok(text !== undefined, title);
  return text.split("\n## ")[0]!;
}

/** The rows of the tables in a text, without their heads; code without its marks. */
function tableRows(text: string): string[][] {
  return text.split("\n\n").filter((block) => block.trim().startsWith("| ")).flatMap((block) =>
    block.trim().split("\n").slice(2).map((row) =>
      row.split("|").slice(1, -1).map((cell) => cell.trim())
    )
  );
}

function plain(cell: string): string {
  return cell.replaceAll("`", "").trim();
}

Deno.test("docs/formats.md: every row of the table of records is the layout of its scheme", () => {
  const rows = tableRows(section("Records"));
  assert.ok(rows.length > 20);
  for (const [id, ...sizes] of rows) {
    const [headDim, ...stated] = sizes.map(Number);
    const layout = parseScheme(plain(id!)).layout(headDim!);
    const { tokens, metadata, metadataWords, words } = layout;
    const bits = recordBits(layout, headDim!);
    assert.deepEqual(
      stated,
      [tokens, metadata.sharedBits, metadata.tokenBits, metadataWords, words, bits],
      `${id} at ${headDim}`,
    );
    assert.equal(PAGE_TOKENS % tokens, 0);
  }
});

/** The centroids of the examples: learned ones as the page says. */
function exampleCentroids(scheme: Scheme, headDim: number): Float64Array<ArrayBuffer> {
  const { centroids, channels, codebookSpec } = scheme;
  if (codebookSpec?.definition !== undefined) {
    return Float64Array.from(fromFloat16Array(codebookSpec.definition(headDim)));
  }
  return Float64Array.from(
    { length: centroids * headDim * (codebookSpec?.stages ?? 1) },
    (_, i) => Math.floor(i / channels) % centroids + (i % channels) / 4,
  );
}

const EXAMPLES = [...section("Records").matchAll(/^```text\n(.*?)^```$/gms)].map(([, text]) =>
  text!
);

for (const example of EXAMPLES) {
  const [title, ...lines] = example.trimEnd().split("\n");
  Deno.test(`docs/formats.md: the example of ${title} is decoded to the numbers it gives`, () => {
    const [, id, size, space] =
      /^(\w+), head dimension (\d+)(?:, (before the rotary embedding|as scored))?$/
        .exec(title!)!;
    const scheme = parseScheme(id!);
    const headDim = Number(size);
    const record = new Uint32Array(scheme.layout(headDim).words);
    const counts = { word: 0, bits: 0, token: 0 };
    for (const line of lines) {
      const word = /^word (\d+) = (0x[0-9a-f]{8})$/.exec(line);
      const bits = /^bits (\d+) to (\d+) = (0x[0-9a-f]+): ./.exec(line);
      const number = /^token (\d+), channel (\d+) = (-?[\d.]+)$/.exec(line);
      if (word !== null) {
        assert.ok(Number(word[1]) < record.length, line);
        record[Number(word[1])] = Number(word[2]);
        counts.word++;
      } else if (bits !== null) {
        const [first, last, value] = bits.slice(1).map(Number);
        assert.equal(readBits(record, first!, last! - first! + 1), value, line);
        counts.bits++;
      } else {
        assert.ok(number !== null, line);
        const [token, channel, value] = number.slice(1).map(Number);
        const vector = schemeCodec(scheme).decode(record, token!, headDim, {
          centroids: exampleCentroids(scheme, headDim),
          // Factors of 1 and means of 0, as the page says.
          ...(scheme.codebookSpec?.groupsShare
            ? { transform: Float64Array.from({ length: 2 * headDim }, (_, i) => 1 - i % 2) }
            : {}),
          ...(scheme.codebookSpec?.normalised
            ? {
              normalisation: {
                offsets: new Float64Array(headDim),
                meanSteps: new Float64Array(headDim).fill(1),
                sizes: Float64Array.from({ length: 16 }, (_, k) => 2 ** (k - 8)),
              },
            }
            : {}),
          // At position 0 the rotary embedding leaves vectors as they are.
          ...(space?.startsWith("before") ? { turn: (vector) => Float64Array.from(vector) } : {}),
          scored: space === "as scored",
          levels: Array.from({ length: headDim }, () => [0.5, -1]).flat(),
        });
        assert.equal(vector[channel!], value, line);
        counts.token++;
      }
    }
    assert.ok(Object.values(counts).every((count) => count > 0));
  });
}

Deno.test("docs/formats.md: every family of schemes has an example", () => {
  const families = EXAMPLES.map((example) => /^[a-z]+/.exec(example)![0]);
  for (const { name } of manifest) {
    const scheme = /^encode_([a-z]+)/.exec(name)?.[1];
    if (scheme !== undefined) assert.ok(families.includes(scheme), scheme);
  }
});

/** Rows that say which tensors a file has: a pattern of names, the dtype, the names of the sizes, whether they may lack. */
function tensorRows(title: string) {
  let base = "";
  return tableRows(section(title)).filter((row) => row.length === 4).map((row) => {
    const [name, dtype, shape] = row.map(plain) as [string, string, string];
    if (!name.startsWith(".")) base = name;
    const full = name.startsWith(".") ? `${base}${name}` : name;
    const pattern = full.replaceAll(".", "\\.").replace("N", "\\d+").replace(/\bI\b/, "\\d+")
      .replace("<side>", "(keys|values)").replace("<scheme>", "[a-z]+\\d+[a-z]*\\d*")
      .replace("<added>", "[nc]\\d+b\\d+x\\d+");
    return {
      pattern: new RegExp(`^${pattern}$`),
      dtype,
      sizes: shape.slice(1, -1).split(", "),
    };
  });
}

/** Checks that each tensor is as one row says, and that no row is idle. */
function checkTensors(
  title: string,
  tensors: ReadonlyMap<string, Pick<SafetensorsTensor, "dtype" | "shape">>,
  sizeOf: (size: string, name: string) => number,
): void {
  const rows = tensorRows(title);
  const used = new Set<unknown>();
  for (const [name, { dtype, shape }] of tensors) {
    const row = rows.find(({ pattern }) => pattern.test(name));
    assert.ok(row !== undefined, name);
    used.add(row);
    assert.equal(dtype, row.dtype, name);
    assert.deepEqual(shape, row.sizes.map((size) => sizeOf(size, name)), name);
  }
  assert.equal(used.size, rows.length);
}

/** Checks that the metadata are those that the page names, and the format and version those it gives. */
function checkMetadata(title: string, metadata: Readonly<Record<string, string>>): void {
  const rows = tableRows(section(title)).filter((row) => row.length === 2);
  const names = rows.flatMap(([name]) => plain(name!).split(", "));
  assert.deepEqual(names.toSorted(), Object.keys(metadata).toSorted());
  assert.equal(plain(rows[0]![1]!), `${metadata["format"]}, ${metadata["version"]}`);
  assert.ok(section(title).includes(`\`${metadata["format"]}\`, version ${metadata["version"]}:`));
}

const HEADS = 2;
const HEAD_DIM = 8;
const SHARED_HEAD_DIM = 32; // of a scheme with a Hadamard rotation
const STAGES = 2; // of a scheme whose centroids are added

Deno.test("docs/formats.md: a codebook file has the metadata, tensors and checksum of the page", () => {
  const { centroids } = parseScheme("c4b4");
  const identity = Float32Array.from(
    { length: HEADS * HEAD_DIM * HEAD_DIM },
    (_, i) => Number(Math.floor(i / HEAD_DIM) % HEAD_DIM === i % HEAD_DIM),
  );
  const set: CodebookSet = {
    model: { name: "a model", digest: "sha256:0123" },
    keySpace: "anchored",
    anchors: [0],
    provenance: { source: "a text", tokens: 512, seed: 1, iterations: 30 },
    valueRotations: [{ layer: 3, keyValueHeads: HEADS, headDim: HEAD_DIM, axes: identity }],
    codebooks: [{
      layer: 3,
      side: "values",
      scheme: "c4b4",
      keyValueHeads: HEADS,
      headDim: HEAD_DIM,
      ...roundToGrid(
        Float64Array.from({ length: HEADS * HEAD_DIM * centroids }, (_, i) => i),
        "c4b4",
      ),
      scale: new Float32Array(HEADS * HEAD_DIM).fill(1),
      fit: { errors: new Float32Array(HEADS), variances: new Float32Array(HEADS).fill(1) },
    }, {
      layer: 4,
      side: "keys",
      scheme: "v4b8",
      keyValueHeads: HEADS,
      headDim: SHARED_HEAD_DIM,
      ...roundToGrid(Float64Array.from({ length: HEADS * 4 * 256 }, (_, i) => i), "v4b8"),
      transform: new Uint16Array(2 * HEADS * SHARED_HEAD_DIM),
    }, {
      layer: 4,
      side: "values",
      scheme: "n4b4x2",
      keyValueHeads: HEADS,
      headDim: HEAD_DIM,
      ...roundToGrid(
        Float64Array.from({ length: HEADS * HEAD_DIM * STAGES * centroids }, (_, i) => i),
        "n4b4x2",
      ),
      normalisation: {
        offsets: new Float32Array(HEADS * HEAD_DIM),
        meanSteps: new Uint16Array(HEADS * HEAD_DIM),
        sizes: new Uint16Array(HEADS * 16).fill(1),
      },
    }],
  };
  const { metadata, tensors } = readSafetensors(encodeCodebooks(set));
  checkMetadata("Codebook file", metadata);
  checkTensors("Codebook file", tensors, (size, name) => {
    const shared = name.includes("v4b8");
    const headDim = shared ? SHARED_HEAD_DIM : HEAD_DIM;
    const groups = shared ? 1 : HEAD_DIM / 4;
    return ({
      heads: HEADS,
      headDim,
      groups,
      centroids: shared ? 256 : centroids,
      channels: 4,
      stages: STAGES,
      "stages + 1": STAGES + 1,
      16: 16,
      "groups * channels": groups * 4,
      2: 2,
    })[size]!;
  });

  const encoder = new TextEncoder();
  let crc = 0;
  for (const name of Object.keys(metadata).toSorted().filter((name) => name !== "checksum")) {
    crc = crc32(encoder.encode(`${JSON.stringify([name, metadata[name]])}\n`), crc);
  }
  for (const name of [...tensors.keys()].toSorted()) {
    const { dtype, shape, data } = tensors.get(name)!;
    crc = crc32(data, crc32(encoder.encode(`${name} ${dtype} ${shape.join(",")}\n`), crc));
  }
  assert.equal(metadata["checksum"], `crc32:${crc.toString(16).padStart(8, "0")}`);
});

Deno.test("docs/formats.md: a samples file has the metadata and tensors of the page", () => {
  const tokens = 3;
  const vectors = new Float32Array(tokens * HEADS * HEAD_DIM);
  const { metadata, tensors } = readSafetensors(writeSamples([{
    layer: 3,
    side: "keys",
    keyValueHeads: HEADS,
    headDim: HEAD_DIM,
    values: vectors,
    weights: vectors,
    scale: vectors.slice(0, HEADS * HEAD_DIM).fill(1),
    positions: [0, 1, 0],
    rope: { layout: "half", theta: 10000 },
  }], {
    model: { name: "a model", digest: "sha256:0123" },
    keySpace: "pre-rope",
    source: "a text",
  }));
  checkMetadata("Samples file", metadata);
  checkTensors(
    "Samples file",
    tensors,
    (size) => ({ heads: HEADS, headDim: HEAD_DIM, tokens })[size]!,
  );
  const rope = [...Object.keys(PLAIN_ROPE_FIELDS)].map((name) => name.replace("?", ""));
  const told = rope.filter((name) => section("Samples file").includes(name));
  // What shifts all positions is of no use in a file.
  assert.deepEqual(told, rope.filter((name) => name !== "positionOffset"));
});

Deno.test("docs/formats.md: the shell computes the digest of a model", async () => {
  const [, script] = /^```sh\n(.*?)^```$/ms.exec(section("Digest of a model"))!;
  const { stdout } = await new Deno.Command("sh", { args: ["-c", script!], cwd: FIXTURE }).output();
  assert.equal(new TextDecoder().decode(stdout).trim(), await folderDigest(FIXTURE));
});

Deno.test("docs/formats.md: a snapshot file has the metadata, tensors and checksum of the page", async () => {
  const length = 200;
  const { options } = planCache({
    shape: { layers: 2, queryHeads: 4, keyValueHeads: HEADS, headDim: 64 },
    policy: { keys: "c4b8", values: "c8b8" },
    keys: { space: "as-scored" },
    tiers: { sinks: 4, window: 16 },
    capacity: {
      sequences: 1,
      tokens: length,
      sequenceTokens: length,
      stepTokens: 8,
      appendTokens: 8,
    },
    spans: spanKinds({ image: { keys: "sc2", values: "sc2", tokens: 200, count: 1 } }),
    kernels: manifest,
  });
  // As after single tokens: the ring holds 24, and the rollback's 8 are coded as well.
  const spans = [{ name: "image", tokens: 200, place: 1 }];
  const state = { length, exactFrom: length - 24, codedFrom: [0], spans };
  const shapes = snapshotTensors(options, state);
  const coded = length - 4 - 16;
  checkTensors("Snapshot file", shapes, (size, name) =>
    ({
      heads: HEADS,
      words: coded * (name.includes("keys") ? 4 : 2),
      tokens: 4 + 24,
      headDim: 64,
      // Whole records of 64 tokens.
      spanWords: 4 * 64 * 4,
      2: 2,
    })[size]!);
  const tensors = new Map([...shapes].map(([name, { dtype, shape }]) => {
    const elements = shape.reduce((product, size) => product * size, dtype === "U32" ? 4 : 2);
    return [name, { dtype, shape, data: new Uint8Array(elements) }];
  }));
  const plan = "{}";
  const bytes = await encodeSnapshot({
    info: {
      ...state,
      model: undefined,
      plan,
      planFingerprint: await sha256(new TextEncoder().encode(plan)),
      codebookFingerprint: "0",
      prompt: "a key",
    },
    tensors,
  });
  const { metadata } = readSafetensors(bytes);
  checkMetadata("Snapshot file", metadata);

  const start = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const head = new TextDecoder().decode(bytes.subarray(0, start))
    .replace(metadata["checksum"]!, `sha256:${"0".repeat(64)}`);
  // The length prefix is no UTF-8, so it is taken as it is.
  const cleared = bytes.slice(0, start);
  cleared.set(new TextEncoder().encode(head.slice(head.indexOf("{"))), 8);
  const digests = await Promise.all([cleared, bytes.subarray(start)].map(sha256Bytes));
  const both = new Uint8Array(digests.flatMap((digest) => [...digest]));
  assert.equal(metadata["checksum"], `sha256:${await sha256(both)}`);
});

Deno.test("docs/formats.md: an encrypted snapshot has the bytes of the page, and WebCrypto decrypts it by them", async () => {
  const rows = [...section("Encrypted snapshot").matchAll(/^\| +(\w+) \| +([\w ]+?) \|/gm)]
    .map(([, offset, bytes]) => [offset!, bytes!]).filter(([offset]) => offset !== "offset");
  assert.deepEqual(rows.map(([, bytes]) => bytes), ["15", "1", "12", "all but 16", "16"]);
  const [, version, nonce, sealed] = rows.map(([offset]) => Number(offset));
  const key = await crypto.subtle.generateKey({ name: "AES-GCM", length: 128 }, false, [
    "encrypt",
    "decrypt",
  ]);
  const bytes = Uint8Array.of(1, 2, 3);
  const encrypted = await encryptSnapshot(bytes, key, "prompt-é");
  assert.equal(encrypted.length, sealed! + bytes.length + 16);
  const text = new TextDecoder();
  assert.equal(text.decode(encrypted.subarray(0, version)), "couplet-aes-gcm");
  assert.equal(encrypted[version!], 1);
  const name = new TextEncoder().encode("prompt-é");
  const decrypted = await crypto.subtle.decrypt(
    {
      name: "AES-GCM",
      iv: encrypted.subarray(nonce, sealed),
      additionalData: Uint8Array.of(...encrypted.subarray(0, nonce), ...name),
    },
    key,
    encrypted.subarray(sealed),
  );
  assert.deepEqual(new Uint8Array(decrypted), bytes);
});

Deno.test("docs/formats.md: the policy is one that a plan takes", () => {
  const [, json] = /^```json\n(.*?)^```$/ms.exec(section("Policy file"))!;
  const { name, policy }: { name: string; policy: Policy } = JSON.parse(json!);
  assert.equal(typeof name, "string");
  const { options } = planCache({
    shape: { layers: 4, queryHeads: 4, keyValueHeads: HEADS, headDim: 64 },
    policy,
    keys: { space: "as-scored" },
    tiers: { sinks: 0, window: 0 },
    capacity: { sequences: 1, tokens: 64, sequenceTokens: 64, stepTokens: 1, appendTokens: 1 },
    kernels: manifest,
  });
  assert.deepEqual(
    options.layers.map(({ keys, values }) => `${keys}/${values}`),
    ["c8b8/c8b8", "c8b8/c8b8", "c8b8/c8b8", "c4b8/c8b8"],
  );
});
