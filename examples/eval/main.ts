/**
 * Measures what a compressed KV cache costs a language model, through the cache that programs use, and
 * shows it as a table, a file of figures and a report with plots.
 *
 * `deno task eval --help` lists the options; docs/evaluation.md says what each number means.
 *
 * @module
 */
import type { CodebookSet } from "@couplet/kv";
import type { AdapterReport } from "../../tools/adapters.ts";
import { requestAdapter, requestTestDevice } from "../../tools/adapter.ts";
import { writeWhole } from "../../cli/files.ts";
import { runProgram } from "../command_line.ts";
import { rotateValues } from "../engine/mod.ts";
import { Progress } from "../../cli/progress.ts";
import { type EvalArguments, parseArguments } from "./arguments.ts";
import { codebookNeeds, needId, provideCodebooks } from "./codebook_store.ts";
import { measure } from "./measure.ts";
import { methodId } from "./methods.ts";
import { prepare, type Work } from "./prepare.ts";
import { formatReport } from "./report/report.ts";
import { type Evaluation, formatEvaluation, readEvaluation } from "./figures/results.ts";
import { formatSummary } from "./figures/summary.ts";
import { evaluateVisionCommand } from "./vision/main.ts";

async function main(args: readonly string[]): Promise<void> {
  if (args.includes("--vision")) return await evaluateVisionCommand(args);
  const parsed = parseArguments(args);
  if ("help" in parsed) return console.log(parsed.help);
  const { options } = parsed;
  const figures = options.from === undefined
    ? await evaluateModel(options)
    : await readEvaluation(options.from);
  console.log(`\n${formatSummary(figures)}`);
  if (options.json !== undefined) await writeWhole(options.json, formatEvaluation(figures));
  if (options.html !== undefined) {
    await writeWhole(options.html, await formatReport(figures));
  }
}

async function evaluateModel(options: EvalArguments): Promise<Evaluation> {
  const started = performance.now();
  const prepared = await prepare(options);
  const { report: adapter } = await requestAdapter();
  const device = await requestTestDevice({ requiredLimits: prepared.limits });
  if (options.codebooks !== undefined) await Deno.mkdir(options.codebooks, { recursive: true });
  console.error(describeWork(prepared, adapter));

  const needs = codebookNeeds(prepared.methods);
  const progress = new Progress(needs.length + (options.rotateValues ? 2 : 1));
  const work = options.rotateValues
    ? await withRotatedValues(prepared, device, progress)
    : prepared;
  const codebooks = new Map<string, CodebookSet>();
  for (const need of needs) {
    const id = needId(need.weights, need.keySpace, need.shareHeads);
    const stage = progress.stage(`codebooks, ${id}`);
    const source = {
      device,
      checkpoint: work.checkpoint,
      contexts: work.calibrationContexts,
      name: work.calibrationText.name,
      seed: options.seed,
      folder: options.codebooks,
    };
    codebooks.set(id, await provideCodebooks(need, source, stage));
    stage.done();
  }
  const stage = progress.stage("evaluate");
  const found = await measure({ work, device, codebooks, onProgress: stage.update });
  stage.done();
  device.destroy();
  return {
    format: "couplet-eval",
    version: 3,
    adapter: { name: adapter.name, kind: adapter.kind },
    model: work.checkpoint.fingerprint,
    settings: settings(work),
    ...found,
    refused: work.refused.map(({ method, error }) => ({
      method: methodId(method),
      why: error.parts.why,
    })),
    seconds: (performance.now() - started) / 1000,
  };
}

/** The same work on the model with its values rotated. */
async function withRotatedValues(
  work: Work,
  device: GPUDevice,
  progress: Progress,
): Promise<Work> {
  const stage = progress.stage("rotate values");
  const checkpoint = await rotateValues({
    device,
    checkpoint: work.checkpoint,
    windows: work.calibrationContexts,
    onProgress: stage.update,
  });
  stage.done();
  return { ...work, checkpoint };
}

function settings(work: Work): Evaluation["settings"] {
  const { options, texts, prompts, calibrationContexts, calibrationText, sizes } = work;
  return {
    seed: options.seed,
    context: options.context,
    chunk: sizes.chunk,
    calibration: {
      name: calibrationText.name,
      tokens: calibrationContexts.length * options.context,
    },
    texts: {
      different: { name: texts.different.name, contexts: texts.different.contexts.length },
      inDomain: { name: texts.inDomain.name, contexts: texts.inDomain.contexts.length },
    },
    retrieval: { trials: options.trials, distances: [...options.distances] },
    generation: {
      prompts: prompts.length,
      promptTokens: prompts[0]?.length ?? 0,
      tokens: options.generate,
    },
  };
}

function describeWork({ checkpoint, methods, refused, texts }: Work, adapter: AdapterReport) {
  const { layers, keyValueHeads, headDim } = checkpoint.config;
  return [
    `model:   ${checkpoint.fingerprint.name}, ${layers} layers, ${keyValueHeads} KV heads of ${headDim} channels`,
    `adapter: ${adapter.name}`,
    ...Object.values(texts).map(({ name, contexts }) =>
      `text:    ${contexts.length} x ${contexts[0]!.length} tokens of ${name}`
    ),
    `methods: ${methods.length}`,
    ...refused.map(({ method, error }) => `refused: ${methodId(method)}: ${error.parts.why}`),
  ].join("\n");
}

if (import.meta.main) await runProgram(main);
