import { type Command, Option } from "commander";
import { basename } from "node:path";
import { calibrate } from "../src/calibrate/calibrate.ts";
import { joinSamples, readSamples } from "../src/calibrate/samples_file.ts";
import { readWeights, withWeights } from "../src/calibrate/weights_file.ts";
import { encodeCodebooks } from "../src/codebooks/file.ts";
import type { KeySpace } from "../src/model/model.ts";
import { parseScheme } from "../src/schemes/parse_scheme.ts";
import type { SchemeId } from "../src/schemes/scheme.ts";
import { checkWritable, integerFrom, usageError } from "./arguments.ts";
import { addPolicyOptions, type PolicyArguments, readPolicyArguments } from "./cache_arguments.ts";
import { type Answer, type Answering, createCommand, type Host } from "./command.ts";
import { readFile } from "./files.ts";
import { kernels } from "./kernels.ts";
import { Progress } from "./progress.ts";
import { requestDevice } from "./request_device.ts";
import { formatBytes, formatTable } from "./table.ts";

interface CalibrateOptions extends PolicyArguments {
  readonly space: KeySpace;
  readonly model: string;
  readonly digest: string;
  readonly weights?: string;
  readonly seed: number;
  readonly iterations: number;
  readonly cpu?: true;
  readonly out: string;
}

const WHAT = "Cannot calibrate";

/** `couplet calibrate samples`. */
export function command(answering: Answering, host: Host): Command {
  return addPolicyOptions(
    createCommand("calibrate samples", {
      details:
        "Samples are safetensors files with tensors layers.<n>.keys and layers.<n>.values,\n" +
        "[tokens, KV heads, head dimension], F32, F64, F16 or BF16. Of several files, tokens are joined.",
      examples: [
        "calibrate samples kv.safetensors --scheme c4b8 --space pre-rope \\\n" +
        "    --model my-model --digest sha256:... --out codebooks.safetensors",
        "calibrate samples kv-*.safetensors --weights fisher.safetensors --keys c4b8 --values c8b8 ...",
      ],
    })
      .argument("<files...>", "files of samples")
      .addOption(
        new Option("--space <space>", "the space the keys' samples are in")
          .choices(["pre-rope", "as-scored"]).makeOptionMandatory(),
      )
      .requiredOption("--model <name>", "name of the model that the samples come from")
      .requiredOption(
        "--digest <text>",
        "its digest: what caches compare with the model they serve",
      )
      .requiredOption("--out <file>", "where the codebooks go")
      .option("--weights <file>", "weights of the samples, such as squared gradients")
      .option("--seed <n>", "seed of the run", integerFrom(0), 1)
      .option("--iterations <n>", "most Lloyd iterations of a group", integerFrom(1), 30)
      .option("--cpu", "on the CPU, which is slow, instead of a WebGPU device"),
  ).action(
    answering((files: string[], options: CalibrateOptions) =>
      calibrateSamples(files, options, host)
    ),
  );
}

async function calibrateSamples(
  files: readonly string[],
  options: CalibrateOptions,
  host: Host,
): Promise<Answer> {
  const { space, model, digest, seed, iterations, out } = options;
  const policy = await readPolicyArguments(options, WHAT);
  const pairs = [policy, ...Object.values(policy.layers ?? {})];
  if (!pairs.flatMap(({ keys, values }) => [keys, values]).some(isLearned)) {
    throw usageError(WHAT, "none of the schemes has a codebook to learn");
  }
  await checkWritable(out);
  const samples = await readAllSamples(files, options.weights);
  const device = options.cpu ? undefined : await requestDevice(WHAT, host);
  const stage = new Progress(1).stage("codebooks");
  const set = await calibrate({
    samples,
    schemes: policy,
    keySpace: space,
    model: { name: model, digest },
    source: files.map((file) => basename(file)).join(", "),
    seed,
    iterations,
    onProgress: ({ fraction, secondsLeft }) => stage.update(fraction, secondsLeft),
    ...(device === undefined ? {} : { device, kernels }),
  }).finally(() => device?.destroy());
  stage.done();
  const bytes = encodeCodebooks(set);
  await Deno.writeFile(out, bytes);
  const codebooks = set.codebooks.map(({ layer, side, scheme, fit }) => ({
    layer,
    side,
    scheme,
    // Over all heads: the share of the variance that coding loses.
    ...(fit === undefined ? {} : { lostVariance: total(fit.errors) / total(fit.variances) }),
  }));
  return {
    data: { out, bytes: bytes.length, tokens: set.provenance.tokens, codebooks },
    text: [
      formatTable([
        ["layer", "side", "scheme", "error / variance"],
        ...codebooks.map(({ layer, side, scheme, lostVariance }) => [
          `${layer}`,
          side,
          scheme,
          lostVariance?.toFixed(4) ?? "",
        ]),
      ], [0, 3]),
      `${set.provenance.tokens} tokens, ${codebooks.length} codebooks, ${
        formatBytes(bytes.length)
      } in ${out}`,
    ].join("\n"),
  };
}

async function readAllSamples(files: readonly string[], weights: string | undefined) {
  const remedy = "Give safetensors files with tensors layers.<n>.keys and layers.<n>.values";
  const parts = [];
  for (const path of files) {
    parts.push(await readFile(path, { what: `the samples ${path}`, remedy }, readSamples));
  }
  const samples = joinSamples(parts);
  if (weights === undefined) return samples;
  const source = {
    what: `the weights ${weights}`,
    remedy: "Give a safetensors file of weights (docs/weights.md)",
  };
  return withWeights(samples, await readFile(weights, source, readWeights));
}

function isLearned(scheme: SchemeId): boolean {
  return parseScheme(scheme).codebook === "learned";
}

function total(numbers: Float32Array): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}
