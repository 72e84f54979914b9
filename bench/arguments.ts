/** The command line of `deno task bench`. */
import type { KeySpace, Precision } from "../mod.ts";
import { PRECISIONS } from "../src/kernels/precision.ts";
import { Command, InvalidArgumentError, Option } from "commander";
import {
  integerFrom,
  listOf,
  oneOf,
  optionWithDefault,
  readCommandLine,
} from "../examples/command_line.ts";
import { KEY_SPACES } from "../examples/eval/figures/results.ts";
import { parseSchemePairs, type SchemePair, UNCOMPRESSED } from "../examples/demo/scheme_pairs.ts";
import type { AttentionChoice } from "./attention/attention.ts";
import { type BenchModel, MODELS } from "./measure/models.ts";
import type { OnnxChoice } from "./onnx/onnx.ts";
import { COUNTED } from "./count/kernels.ts";
import type { GpuChoice } from "./gpu/gpu.ts";
import type { SkipChoice } from "./skip.ts";
import type { SpansChoice } from "./spans.ts";

/** The spaces that all schemes have kernels for. */
const SPACES: readonly KeySpace[] = ["pre-rope", "as-scored"];

/** Files to write. */
export interface OutputFiles {
  /** The figures, unrounded. */
  readonly json?: string;
  /** A page with plots. */
  readonly html?: string;
}

/** What the encode suite measures. */
export interface EncodeChoice {
  readonly models: readonly BenchModel[];
  readonly schemes: readonly SchemePair[];
  /** Tokens before the step that is measured. */
  readonly contexts: readonly number[];
  /** New tokens of a prefill step. */
  readonly chunk: number;
  /** The space that coded keys are coded in. */
  readonly space: KeySpace;
  /** Whether to plan each scheme by what `tune()` measures of it. */
  readonly tune: boolean;
  /** The least precision that is planned with. Defaults to `f16`. */
  readonly precision?: Precision;
  readonly seconds: number;
}

/** What the count suite counts. */
export interface CountChoice {
  /** Names of kernels, or patterns. */
  readonly kernels: readonly string[];
  /** The chip compiled for, in RADV's word. */
  readonly family: string;
  /** Pipeline-overridable constants. */
  readonly overrides: Readonly<Record<string, number>>;
}

/** What a command line asks for. */
export type BenchCommand =
  | { readonly suite: "attention"; readonly choice: AttentionChoice; readonly files: OutputFiles }
  | { readonly suite: "report"; readonly from: string; readonly files: OutputFiles }
  | { readonly suite: "bandwidth"; readonly seconds: number }
  | { readonly suite: "count"; readonly choice: CountChoice; readonly files: OutputFiles }
  | { readonly suite: "gpu"; readonly choice: GpuChoice; readonly folder: string }
  | { readonly suite: "encode"; readonly choice: EncodeChoice; readonly files: OutputFiles }
  | { readonly suite: "kmeans"; readonly schemes: readonly SchemePair[]; readonly tokens: number }
  | { readonly suite: "prefill"; readonly schemes: readonly SchemePair[] }
  | { readonly suite: "skip"; readonly choice: SkipChoice }
  | { readonly suite: "spans"; readonly choice: SpansChoice }
  | { readonly suite: "trellis" }
  | { readonly suite: "host" }
  | { readonly suite: "onnx"; readonly choice: OnnxChoice; readonly files: OutputFiles };

const WHAT = "Cannot start the benchmark";

/** Powers of two, as contexts are compared on a scale of ratios. */
const CONTEXTS: readonly number[] = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072];

const PRECISION = new Option("--precision <type>", "how much attention may round (default: f16)")
  .choices([...PRECISIONS]);

const SCHEMES = "f16,c2b8,c4b8,c8b8,c8b10,c4b8/c8b8";

/** What `--quick` measures: two minutes on a software adapter. */
const QUICK = {
  models: MODELS.filter(({ name }) => ["SmolLM2-135M", "Qwen3-0.6B"].includes(name)),
  contexts: [512, 2048, 8192],
  batches: [1],
  seconds: 2,
} as const;

/** What `gpu` measures attention to. */
const GPU_SCHEMES = "f16,c8b8,c4b8,n8b8x2";

/** Options of the attention suite as commander gives them: absent where nothing was said. */
interface AttentionFlags extends OutputFiles {
  readonly quick: boolean;
  readonly models?: readonly BenchModel[];
  readonly contexts?: readonly number[];
  readonly batches?: readonly number[];
  readonly schemes: readonly SchemePair[];
  readonly space: readonly KeySpace[];
  readonly seconds?: number;
  readonly memory: number;
  readonly tune: boolean;
  readonly precision?: Precision;
  readonly profile: boolean;
}

/**
 * What a command line asks for, or the help text.
 *
 * @throws {CoupletError} `usage` or `scheme`, where an argument is wrong.
 */
export function parseArguments(
  argv: readonly string[],
): { readonly command: BenchCommand } | { readonly help: string } {
  let command: BenchCommand | undefined;
  const program = new Command("bench").description(
    "Measures the library on this machine. Without a suite's name: attention.",
  );
  const help = readCommandLine(program, argv, WHAT, (program) => {
    addAttention(program, (found) => command = found);
    addOthers(program, (found) => command = found);
  });
  return help === undefined ? { command: command! } : { help };
}

type Found = (command: BenchCommand) => void;

function addAttention(program: Command, found: Found): void {
  program.command("attention", { isDefault: true })
    .description(
      "Decode attention of one layer, by model, context, batch, scheme and key space, beside f16 " +
        "in the same run.",
    )
    .addHelpText(
      "after",
      "\nExamples:\n" +
        "  deno task bench --quick --html attention.html\n" +
        "  deno task bench attention --models Llama-3.1-8B --contexts 4096,32768\n" +
        "  deno task bench attention --quick --tune --profile",
    )
    .option("--quick", "few shapes: about two minutes on a software adapter", false)
    .option("--models <list>", `shapes: ${names(MODELS)}`, models)
    .option(
      "--contexts <list>",
      `tokens a query attends to (default: ${CONTEXTS.join(",")})`,
      listOf(integerFrom(2)),
    )
    .option("--batches <list>", "sequences (default: 1,4,16)", listOf(integerFrom(1)))
    .addOption(
      optionWithDefault("--schemes <list>", "schemes, or pairs keys/values", pairs, SCHEMES),
    )
    .option("--space <list>", "spaces keys are coded in", listOf(oneOf(KEY_SPACES)), SPACES)
    .option("--seconds <n>", "to spend on each shape at each context (default: 4)", positive)
    .option("--memory <GiB>", "that the caches compared may take together", positive, 4)
    .option("--tune", "plan each row by what tune() measures for it, f16 included", false)
    .addOption(PRECISION)
    .option("--profile", "also time each kernel, by timestamps around each dispatch", false)
    .option("--json <file>", "write the figures, unrounded")
    .option("--html <file>", "write a report with plots")
    .action(({ quick, json, html, ...given }: AttentionFlags) =>
      found({
        suite: "attention",
        choice: {
          ...(quick
            ? QUICK
            : { models: MODELS, contexts: CONTEXTS, batches: [1, 4, 16], seconds: 4 }),
          ...given,
          spaces: given.space,
        },
        files: files({ json, html }),
      })
    );
  program.command("report")
    .description("Shows figures that the attention suite wrote; measures nothing.")
    .argument("<file>", "its --json")
    .option("--html <file>", "write a report with plots")
    .action((from: string, { html }: OutputFiles) =>
      found({ suite: "report", from, files: files({ html }) })
    );
  program.command("bandwidth")
    .description("Bytes a second that a kernel moves which does nothing but copy.")
    .option("--seconds <n>", "to measure for", positive, 4)
    .action(({ seconds }: { seconds: number }) => found({ suite: "bandwidth", seconds }));
}

function addOthers(program: Command, found: Found): void {
  addGpu(program, found);
  program.command("count")
    .description(
      "What a GPU's compiler makes of attention kernels, without a GPU: instructions, registers, " +
        "spills and gathers of a token, by Mesa's RADV.",
    )
    .addHelpText(
      "after",
      "\nExamples:\n" +
        "  deno task bench count --kernel attend_c8b8_c8b8_d128_rope --family gfx1100",
    )
    .addOption(
      new Option("--kernel <names...>", "names of kernels, or patterns")
        .default([...COUNTED], "some of each class, at 128 channels"),
    )
    .option("--family <chip>", "of AMD's, in RADV's word: navi21, gfx1100", "navi21")
    .addOption(
      new Option("--override <list>", "constants of the kernels, such as SPAN=4")
        .argParser(overrides).default({}, "none"),
    )
    .option("--json <file>", "write the figures, unrounded")
    .action(({ kernel, family, override, json }: CountFlags) =>
      found({
        suite: "count",
        choice: { kernels: kernel, family, overrides: override },
        files: files({ json }),
      })
    );
  program.command("encode")
    .description(
      "What appending costs beside attention, in a decode step and in a chunk of a prefill; and a " +
        "chunk's attention to coded pages beside its attention to f16.",
    )
    .addOption(optionWithDefault("--models <list>", "shapes", models, names(QUICK.models)))
    .addOption(
      optionWithDefault("--schemes <list>", "schemes, or pairs keys/values", pairs, SCHEMES),
    )
    .option("--contexts <list>", "tokens before the step", listOf(integerFrom(1)), [1024, 4096])
    .option("--chunk <n>", "new tokens of a prefill step", integerFrom(2), 256)
    .addOption(
      new Option("--space <name>", "the space that keys are coded in, but for those in f16")
        .choices([...KEY_SPACES]).default("as-scored"),
    )
    .option("--tune", "plan each scheme by what tune() measures for it, f16 included", false)
    .addOption(PRECISION)
    .option("--seconds <n>", "to spend on each comparison", positive, 1)
    .option("--json <file>", "write the figures, unrounded")
    .action(({ json, ...choice }: EncodeChoice & OutputFiles) =>
      found({ suite: "encode", choice, files: files({ json }) })
    );
  program.command("kmeans")
    .description(
      "Calibration on the GPU, measured on a slice of Llama-3.1-8B's shape and extrapolated to all " +
        "of it: 32 layers, 8 KV heads of 128 channels, 32768 tokens.",
    )
    .addOption(optionWithDefault("--schemes <list>", "schemes", coded, "c8b8"))
    .option("--tokens <n>", "tokens of the slice", integerFrom(4096), 8192)
    .action((choice: { schemes: readonly SchemePair[]; tokens: number }) =>
      found({ suite: "kmeans", ...choice })
    );
  program.command("prefill")
    .description(
      "Appending a prompt of 4096 tokens beside the example host's whole prefill of it.",
    )
    .addOption(
      optionWithDefault("--schemes <list>", "schemes, or pairs keys/values", coded, "c4b8,c8b8"),
    )
    .action(({ schemes }: { schemes: readonly SchemePair[] }) =>
      found({ suite: "prefill", schemes })
    );
  program.command("skip")
    .description(
      "What attention with the option `skip` saves where one token has most of the weight, and costs " +
        "where scores are flat, by the CPU's time: a software adapter's.",
    )
    .addOption(
      optionWithDefault("--schemes <list>", "schemes, or pairs keys/values", pairs, "f16,c8b8"),
    )
    .option(
      "--contexts <list>",
      "tokens a query attends to",
      listOf(integerFrom(1024)),
      [8192, 32768],
    )
    .action((choice: SkipChoice) => found({ suite: "skip", choice }));
  program.command("spans")
    .description(
      "Attention to a span, such as an image's, in floats and in integers, beside a span in f16.",
    )
    .addOption(
      optionWithDefault("--schemes <list>", "schemes, or pairs keys/values", coded, "sc4,sc2"),
    )
    .option("--tokens <n>", "tokens of the span", integerFrom(64), 8192)
    .option("--seconds <n>", "to spend on the comparison", positive, 15)
    .action((choice: SpansChoice) => found({ suite: "spans", choice }));
  program.command("trellis")
    .description("Errors of trellis codes, which no scheme has, beside those of lattices: no GPU.")
    .action(() => found({ suite: "trellis" }));
  program.command("host")
    .description("The host's side of one decode step: beginning it and recording 32 layers.")
    .action(() => found({ suite: "host" }));
  program.command("onnx")
    .description(
      "Attention of ONNX Runtime Web (WebGPU, GroupQueryAttention) beside the library's on f16, on " +
        "equal shapes, in one headless Chromium.",
    )
    .addOption(optionWithDefault("--models <list>", "shapes", models, names(QUICK.models)))
    .option("--contexts <list>", "tokens a query attends to", listOf(integerFrom(2)), [512, 2048])
    .option("--rounds <n>", "samples of each", integerFrom(3), 7)
    .option("--json <file>", "write the figures, unrounded")
    .action(({ json, ...choice }: OnnxChoice & OutputFiles) =>
      found({ suite: "onnx", choice, files: files({ json }) })
    );
}

/** Options of the count suite as commander gives them. */
interface CountFlags extends OutputFiles {
  readonly kernel: readonly string[];
  readonly family: string;
  readonly override: CountChoice["overrides"];
}

function addGpu(program: Command, found: Found): void {
  program.command("gpu")
    .description(
      "Everything worth knowing of a GPU, in ten minutes: whether its kernels agree with float64, what " +
        "it copies, gathers and multiplies, and tuned attention from 1k to 128k tokens beside f16. " +
        "Writes gpu.json and gpu.html into a folder of the adapter's name.",
    )
    .option("--minutes <n>", "that it may take", positive, 10)
    .addOption(optionWithDefault("--model <name>", "a shape", model, "Llama-3.1-8B"))
    .option(
      "--contexts <list>",
      "tokens a query attends to",
      listOf(integerFrom(2)),
      CONTEXTS.filter((context) => context >= 1024),
    )
    .addOption(
      optionWithDefault("--schemes <list>", "schemes, or pairs keys/values", pairs, GPU_SCHEMES),
    )
    .option("--space <list>", "spaces keys are coded in", listOf(oneOf(KEY_SPACES)), KEY_SPACES)
    .option("--memory <GiB>", "that the caches compared may take together", positive, 4)
    .option("--folder <path>", "to write into", "bench/results")
    .action(({ space, folder, ...choice }: GpuFlags) =>
      found({ suite: "gpu", choice: { ...choice, spaces: space }, folder })
    );
}

/** Options of the gpu suite as commander gives them. */
type GpuFlags = Omit<GpuChoice, "spaces"> & {
  readonly space: readonly KeySpace[];
  readonly folder: string;
};

/** The files that are asked for, without those that are not. */
function files(
  { json, html }: { json?: string | undefined; html?: string | undefined },
): OutputFiles {
  return { ...(json === undefined ? {} : { json }), ...(html === undefined ? {} : { html }) };
}

function pairs(list: string): readonly SchemePair[] {
  return parseSchemePairs(list);
}

/** Pairs without the uncompressed one. */
function coded(list: string): readonly SchemePair[] {
  return pairs(list).filter(({ id }) => id !== UNCOMPRESSED.id);
}

function models(list: string): readonly BenchModel[] {
  return listOf(model)(list);
}

function names(models: readonly BenchModel[]): string {
  return models.map(({ name }) => name).join(", ");
}

function model(text: string): BenchModel {
  const name = oneOf(MODELS.map(({ name }) => name))(text);
  return MODELS.find((model) => model.name === name)!;
}

/** Constants by name: `SPAN=4,ROTARY_CHUNKS=12`. */
function overrides(list: string): Readonly<Record<string, number>> {
  const given = list.split(",").map((text) => /^([A-Z_]+)=(\d+(?:\.\d+)?)$/.exec(text));
  if (given.some((one) => one === null)) {
    throw new InvalidArgumentError("It must be a list of NAME=NUMBER.");
  }
  return Object.fromEntries(given.map((one) => [one![1]!, Number(one![2])]));
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) {
    throw new InvalidArgumentError("It must be a positive number.");
  }
  return value;
}
