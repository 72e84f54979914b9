/**
 * Learns codebooks of a checkpoint on a text: `deno task calibrate --help` lists the options.
 *
 * @module
 */
import { calibrate, encodeCodebooks } from "@couplet/kv";
import { kernels } from "@couplet/kv/kernels/kmeans";
import { Progress } from "../../cli/progress.ts";
import { describeRecipe } from "../../cli/recipes.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { checkCodebooksOut } from "../../cli/codebook_facts.ts";
import { writeWhole } from "../../cli/files.ts";
import { runProgram } from "../command_line.ts";
import { mobyDick, readText, spreadContexts } from "../demo/texts.ts";
import { checkContext, loadConfig, loadModel } from "../engine/mod.ts";
import { weightedSamples } from "../engine/weighted_samples.ts";
import { parseArguments } from "./arguments.ts";

async function main(argv: readonly string[]): Promise<void> {
  const parsed = parseArguments(argv);
  if ("help" in parsed) return console.log(parsed.help);
  const { options } = parsed;
  const { context, out, schemes, seed, space } = options;
  await checkCodebooksOut(out);
  checkContext("Cannot calibrate", await loadConfig(options.model), context);
  const text = await (options.text === undefined ? mobyDick() : readText(options.text));
  const checkpoint = await loadModel(options.model);
  const windows = spreadContexts(
    "calibrate on",
    checkpoint.tokenizer.encode(text.text),
    context,
    Math.ceil(options.tokens / context),
  );
  if (options.recipe !== undefined) console.error(describeRecipe(options.recipe));
  const device = await requestTestDevice();
  const progress = new Progress(2);

  const capture = progress.stage("capture keys and values");
  const samples = await weightedSamples({
    device,
    checkpoint,
    windows,
    weighting: options.weights,
    keySpace: space,
    onProgress: capture.update,
  });
  capture.done();

  const learn = progress.stage("learn codebooks");
  const set = await calibrate({
    device,
    samples,
    schemes: {
      keys: schemes.map(({ keys }) => keys),
      values: schemes.map(({ values }) => values),
    },
    keySpace: space,
    model: checkpoint.fingerprint,
    valueRotations: checkpoint.valueRotations,
    source: text.name,
    seed,
    shareHeads: options.shareHeads,
    kernels,
    onProgress: ({ fraction, secondsLeft }) => learn.update(fraction, secondsLeft),
  });
  learn.done();

  const bytes = encodeCodebooks(set);
  await writeWhole(out, bytes);
  console.log(
    `${set.codebooks.length} codebooks from ${
      windows.length * context
    } tokens, ${bytes.length} bytes in ${out}`,
  );
  device.destroy();
}

if (import.meta.main) await runProgram(main);
