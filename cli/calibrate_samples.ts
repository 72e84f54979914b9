import { type Command, Option } from "commander";
import { basename } from "node:path";
import { calibrate } from "../src/calibrate/calibrate.ts";
import { joinSamples } from "../src/calibrate/join_samples.ts";
import type { SampleOrigin } from "../src/calibrate/sample_origin.ts";
import { type CalibrationSamples, moreSamples } from "../src/calibrate/samples.ts";
import { readSampleOrigin, readSamples } from "../src/calibrate/samples_file.ts";
import { readWeights, withWeights } from "../src/calibrate/weights_file.ts";
import { CoupletError } from "../src/base/errors.ts";
import { encodeCodebooks } from "../src/codebooks/file.ts";
import type { KeySpace, ModelFingerprint } from "../src/model/model.ts";
import { parseScheme } from "../src/schemes/parse_scheme.ts";
import type { SchemeId } from "../src/schemes/scheme.ts";
import { integerFrom, usageError } from "./arguments.ts";
import { addPolicyOptions, type PolicyArguments, readPolicyArguments } from "./cache_arguments.ts";
import { type Answer, type Answering, createCommand, type Host } from "./command.ts";
import { checkCodebooksOut, lostVariance } from "./codebook_facts.ts";
import { readFile, writeWhole } from "./files.ts";
import { kernels } from "./kernels.ts";
import { Progress } from "./progress.ts";
import { describeRecipe, findRecipe } from "./recipes.ts";
import { requestDevice } from "./request_device.ts";
import { formatBytes } from "./format_bytes.ts";
import { formatTable } from "./table.ts";

interface CalibrateOptions extends PolicyArguments {
  readonly space?: KeySpace;
  readonly model?: string;
  readonly digest?: string;
  readonly weights?: string;
  readonly seed: number;
  readonly iterations: number;
  readonly length: number;
  readonly cpu?: true;
  readonly out: string;
}

const WHAT = "Cannot calibrate";

/** `couplet calibrate samples`. */
export function command(answering: Answering, host: Host): Command {
  return addPolicyOptions(
    createCommand("calibrate samples", {
      details:
        "Samples are safetensors files with tensors layers.<n>.keys and layers.<n>.values, " +
        "[tokens, KV heads, head dimension], F32, F64, F16 or BF16. Of several files, tokens are joined. " +
        "Their metadata may tell the model, its digest and the keys' space (docs/formats.md), as those of " +
        "tools/python/couplet_samples.py do. Otherwise --space, --model and --digest tell them.",
      examples: [
        "calibrate samples samples.safetensors --keys c4b8 --values c8b8 --out codebooks.safetensors",
        "calibrate samples kv.safetensors --scheme c4b8 --space pre-rope --model my-model " +
        "--digest sha256:... --out codebooks.safetensors",
        "calibrate samples kv.safetensors --recipe best --length 32768 --space pre-rope ...",
        "calibrate samples kv-*.safetensors --weights fisher.safetensors --keys c4b8 --values c8b8 ...",
      ],
    })
      .argument("<files...>", "files of samples")
      .addOption(
        new Option("--space <space>", "the space keys are coded in; anchored: samples are pre-rope")
          .choices(["pre-rope", "anchored", "as-scored"] satisfies KeySpace[]),
      )
      .option("--model <name>", "name of the model that the samples come from")
      .option("--digest <text>", "its digest: what caches compare with the model they serve")
      .requiredOption("--out <file>", "where the codebooks go")
      .option(
        "--weights <file>",
        "weights of the samples, such as squared gradients, instead of the files' own",
      )
      .option("--seed <n>", "seed of the run", integerFrom(0), 1)
      .option("--iterations <n>", "most Lloyd iterations of a group", integerFrom(1), 30)
      .option(
        "--length <n>",
        "tokens of all sequences of a cache, which --recipe is chosen for",
        integerFrom(1),
        4096,
      )
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
  const { seed, iterations, out } = options;
  const policy = await readPolicyArguments(options, WHAT, options.length);
  const recipe = options.recipe && findRecipe(options.recipe, options.length);
  const pairs = [policy, ...Object.values(policy.layers ?? {})];
  if (!pairs.flatMap(({ keys, values }) => [keys, values]).some(isLearned)) {
    throw usageError(WHAT, "none of the schemes has a codebook to learn");
  }
  await checkCodebooksOut(out);
  const { samples, origins } = await readAllSamples(files, options.weights);
  const { keySpace, model } = agreedOrigin(origins, options);
  if (recipe !== undefined && recipe.space !== keySpace) {
    throw usageError(
      WHAT,
      `the recipe "${recipe.name}" is of keys ${recipe.space}, and the samples are ${keySpace}`,
    );
  }
  const sources = files.map((file, i) => origins[i]!.source ?? basename(file));
  const device = options.cpu ? undefined : await requestDevice(WHAT, host);
  const stage = new Progress(1).stage("codebooks");
  const set = await calibrate({
    samples,
    schemes: policy,
    keySpace,
    model,
    source: [...new Set(sources)].join(", "),
    seed,
    iterations,
    onProgress: ({ fraction, secondsLeft }) => stage.update(fraction, secondsLeft),
    ...(device === undefined ? {} : { device, kernels }),
  }).finally(() => device?.destroy());
  stage.done();
  const bytes = encodeCodebooks(set);
  await writeWhole(out, bytes);
  const codebooks = set.codebooks.map((codebook) => {
    const { layer, side, scheme } = codebook;
    const lost = lostVariance(codebook);
    return { layer, side, scheme, ...(lost === undefined ? {} : { lostVariance: lost }) };
  });
  const notes = [
    ...(recipe?.fisher && samples.every(({ weights }) => weights === undefined)
      ? [
        `The recipe "${recipe.name}" was measured with weights (--weights), and loses more without.`,
      ]
      : []),
    ...new Set(
      set.codebooks.flatMap(({ scheme }) => {
        const more = moreSamples(scheme, set.provenance.tokens);
        return more === undefined ? [] : [
          `${scheme} is better learned from ${more} tokens or more: other tokens lose more than these.`,
        ];
      }),
    ),
  ];
  return {
    data: {
      out,
      bytes: bytes.length,
      tokens: set.provenance.tokens,
      ...(recipe === undefined ? {} : { recipe }),
      codebooks,
      notes,
    },
    text: (width) =>
      [
        ...(recipe === undefined ? [] : [describeRecipe(recipe)]),
        formatTable([
          ["layer", "side", "scheme", "error / variance"],
          ...codebooks.map(({ layer, side, scheme, lostVariance }) => [
            `${layer}`,
            side,
            scheme,
            lostVariance?.toFixed(4) ?? "",
          ]),
        ], { width, right: [0, 3] }),
        `${set.provenance.tokens} tokens, ${codebooks.length} codebooks, ${
          formatBytes(bytes.length)
        } in ${out}`,
        ...notes,
      ].join("\n"),
  };
}

interface SampleFiles {
  /** Those of all files, joined. */
  readonly samples: readonly CalibrationSamples[];
  /** Of each file. */
  readonly origins: readonly SampleOrigin[];
}

async function readAllSamples(
  files: readonly string[],
  weights: string | undefined,
): Promise<SampleFiles> {
  const remedy = "Give safetensors files with tensors layers.<n>.keys and layers.<n>.values";
  const parts = [];
  for (const path of files) {
    const read = (bytes: Uint8Array) => [readSamples(bytes), readSampleOrigin(bytes)] as const;
    parts.push(await readFile(path, { what: `the samples ${path}`, remedy }, read));
  }
  const samples = joinSamples(parts.map(([own]) => own));
  const origins = parts.map(([, origin]) => origin);
  if (weights === undefined) return { samples, origins };
  const source = {
    what: `the weights ${weights}`,
    remedy: "Give a safetensors file of weights (docs/weights.md)",
  };
  return { samples: withWeights(samples, await readFile(weights, source, readWeights)), origins };
}

/**
 * The model and key space that all files and options agree on.
 *
 * @throws {CoupletError} `usage` where nothing tells one of them; `samples` where two differ.
 */
function agreedOrigin(
  origins: readonly SampleOrigin[],
  { space, model, digest }: CalibrateOptions,
): { readonly keySpace: KeySpace; readonly model: ModelFingerprint } {
  const name = model ?? origins.find((origin) => origin.model !== undefined)?.model?.name;
  if (name === undefined) throw untold("model", "the model");
  // Keys get their anchors in calibration.
  const sampled = agreed("space", "the keys' space", [
    space === "anchored" ? "pre-rope" : space,
    ...origins.map((one) => one.keySpace),
  ]);
  return {
    keySpace: space ?? sampled,
    model: {
      name,
      digest: agreed("digest", "the model's digest", [
        digest,
        ...origins.map((one) => one.model?.digest),
      ]),
    },
  };
}

function agreed<T>(option: string, what: string, told: readonly (T | undefined)[]): T {
  const [first, ...others] = new Set(told.filter((one) => one !== undefined));
  if (first === undefined) throw untold(option, what);
  if (others.length === 0) return first;
  throw new CoupletError("samples", {
    what: WHAT,
    why: `${what} is ${[first, ...others].join(" and ")}, as --${option} and the files tell it`,
    remedy: "Join samples of one model in one space, and give no options that the files contradict",
  });
}

function untold(option: string, what: string): CoupletError {
  return usageError(WHAT, `neither --${option} nor the samples tell ${what}`);
}

function isLearned(scheme: SchemeId): boolean {
  return parseScheme(scheme).codebook === "learned";
}
