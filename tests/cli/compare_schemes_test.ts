/** `couplet plan` without schemes. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { parseScheme } from "../../mod.ts";
import { findRecipe } from "../../cli/recipes.ts";
import { PUBLISHED } from "../../tools/models/published.ts";
import { couplet, coupletJson, withFolder } from "../helpers/cli.ts";

const FIXTURE = new URL("../fixtures/tiny-llama", import.meta.url).pathname;

interface Compared {
  readonly keys: string;
  readonly values: string;
  readonly bytes: { readonly total: number };
  readonly effectiveBits: number;
  readonly calibration: boolean;
  readonly loss?: { readonly divergence: number };
  readonly biasLost: boolean;
}

interface Comparison {
  readonly schemes: readonly Compared[];
  readonly refused: readonly { readonly keys: string; readonly why: string }[];
  readonly recommended: (Compared & { readonly recipe?: string; readonly why: string }) | null;
}

/** Compares for a configuration, given as the content of its file. */
async function compare(config: unknown, ...args: string[]): Promise<Comparison> {
  return await withFolder(async (folder) => {
    const path = join(folder, "config.json");
    await Deno.writeTextFile(path, JSON.stringify(config));
    return await coupletJson<Comparison>(["plan", path, ...args]);
  });
}

Deno.test("couplet plan without schemes has the figures of each scheme's own plan", async () => {
  const { schemes } = await coupletJson<Comparison>(["plan", FIXTURE]);
  const bits = schemes.map(({ effectiveBits }) => effectiveBits);
  assert.deepEqual(bits, bits.toSorted((a, b) => b - a));
  for (const [keys, values] of [["u4b8", "u4b8"], ["c4b8", "c8b8"]] as const) {
    const own = await coupletJson<Compared>(["plan", FIXTURE, "--keys", keys, "--values", values]);
    const row = schemes.find((one) => one.keys === keys && one.values === values)!;
    assert.deepEqual(row.bytes, own.bytes);
    assert.equal(row.effectiveBits, own.effectiveBits);
  }
  for (const { keys, values, calibration } of schemes) {
    const learned = [keys, values].some((id) => parseScheme(id).codebook === "learned");
    assert.equal(calibration, learned, `${keys}/${values}`);
  }
});

for (const tokens of [512, 4096, 32768]) {
  Deno.test(`couplet plan without schemes recommends the recipe for ${tokens} tokens, and how to go on`, async () => {
    const args = ["plan", FIXTURE, "--tokens", `${tokens}`];
    const { recommended } = await coupletJson<Comparison>(args);
    const { keys, values, reason } = findRecipe("best", tokens);
    assert.deepEqual(
      [recommended!.keys, recommended!.values, recommended!.why],
      [keys, values, reason],
    );
    const { output } = await couplet(args);
    const lines = [...output.matchAll(/^ {2}couplet (plan .*)$/gm)].map(([, words]) => words!);
    assert.equal(lines.length, recommended!.calibration ? 2 : 1);
    for (const line of lines) {
      const { exitCode, errors } = await couplet(line.split(" "));
      assert.equal(exitCode, 0, errors);
    }
  });
}

/** Models of each kind of attention that a plan knows. */
const MODEL_TYPES = ["qwen2", "gemma3_text", "gemma4", "gpt_oss", "phi", "falcon"];

for (const type of MODEL_TYPES) {
  Deno.test(`couplet plan without schemes recommends what a model of type ${type} can have`, async () => {
    const { config, length = 4096 } = PUBLISHED.find(({ config, planned }) =>
      config.model_type === type && !(planned instanceof RegExp)
    )!;
    const { schemes, refused, recommended } = await compare(config, "--tokens", `${length}`);
    assert.ok(schemes.length > 0 && recommended !== null);
    assert.equal(recommended.biasLost, false);
    assert.ok(schemes.some(({ keys }) => keys === recommended.keys));
    for (const { keys, why } of refused) assert.ok(why.length > 10, keys);
  });
}

Deno.test("couplet plan without schemes marks those that a bias of the keys spoils", async () => {
  const { config } = PUBLISHED.find(({ config }) => config.model_type === "qwen2")!;
  const { schemes, recommended } = await compare(config, "--space", "as-scored");
  const spoiled = schemes.filter(({ biasLost }) => biasLost).map(({ keys }) => keys);
  assert.ok(spoiled.includes("u4b8") && !spoiled.includes("c4b8"), `${spoiled}`);
  assert.equal(recommended!.recipe, undefined);
  assert.ok(recommended!.loss!.divergence < 0.05);
});
