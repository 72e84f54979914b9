/**
 * Evaluates a model with its KV cache held in few bits per channel: learns codebooks on one text, then
 * measures memory, quality and time on another, through the cache that programs use.
 *
 * `deno task demo --help` lists the options.
 *
 * @module
 */
import { writeWhole } from "../../cli/files.ts";
import { printable, runProgram } from "../command_line.ts";
import {
  type Cache,
  type CacheOptions,
  calibrate,
  type CodebookSet,
  createCache,
  planCache,
  type Sequence,
} from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import type { AdapterReport } from "../../tools/adapters.ts";
import { requestAdapter, requestTestDevice } from "../../tools/adapter.ts";
import { createEngine, type Engine, modelCacheInit } from "../engine/mod.ts";
import { weightedSamples } from "../engine/weighted_samples.ts";
import { parseArguments } from "./arguments.ts";
import { CacheSwitch } from "./cache_switch.ts";
import { type CacheRun, evaluate } from "./evaluate.ts";
import { poolQuality } from "./metrics.ts";
import { residentBytes } from "../../src/plan/sizes.ts";
import { describeMemory, extrapolateMemory } from "./memory.ts";
import { prepare, type Work } from "./prepare.ts";
import { PUBLISHED, readCounts } from "../../bench/count/results.ts";
import { outputWidth } from "../../cli/output_width.ts";
import { Progress } from "../../cli/progress.ts";
import { wrapLines } from "../../cli/table.ts";
import { describeFigures, explainRows, formatRows, qualityChange, type Row } from "./report.ts";
import { smallestPair } from "./scheme_pairs.ts";
import { timeDecodeSteps } from "./timing.ts";
import { withWorkload } from "./workload.ts";
import { writeOn } from "./write_on.ts";

/** What the stages share. */
interface Bench extends Work {
  readonly device: GPUDevice;
  readonly engine: Engine<Sequence>;
  readonly cacheSwitch: CacheSwitch;
  readonly progress: Progress;
}

async function main(args: readonly string[]): Promise<void> {
  const parsed = parseArguments(args);
  if ("help" in parsed) return console.log(parsed.help);
  const started = performance.now();
  const { report: adapter } = await requestAdapter();
  const work = await prepare(withWorkload(parsed.options, adapter.kind));
  const device = await requestTestDevice({ requiredLimits: work.limits });
  console.log(wrapLines(describeWork(work, adapter), outputWidth()));

  const { checkpoint, options, sizes } = work;
  const progress = new Progress(3);
  const codebooks = await learnCodebooks(work, device, progress);
  const caches = await createCaches(work, device, codebooks);
  const cacheSwitch = new CacheSwitch(caches.get(work.setups[0]!.resident)!);
  const engine = await createEngine({
    device,
    checkpoint,
    cache: cacheSwitch,
    maxTokens: sizes.batch * sizes.chunk,
    appendTokens: sizes.chunk,
  });
  const bench = { ...work, device, engine, cacheSwitch, progress };
  const rows = await measure(bench, caches);
  const counts = await readCounts(PUBLISHED);
  console.log(`\n${formatRows(rows, options)}\n\n${explainRows(rows, options, counts)}`);

  const written = await write(bench, caches);
  const seconds = (performance.now() - started) / 1000;
  console.log(`\n${seconds.toFixed(0)} seconds in all.`);
  if (options.json !== undefined) {
    const figures = describeFigures({ work, adapter, rows, written, seconds });
    await writeWhole(options.json, `${JSON.stringify(figures, null, 2)}\n`);
  }
}

/** Lets the smallest cache hold a text that the model writes on. */
async function write(
  { engine, cacheSwitch, options, setups, contexts }: Bench,
  caches: ReadonlyMap<CacheOptions, Cache>,
): Promise<{ readonly pair: string; readonly text: string } | undefined> {
  if (options.generate === 0) return undefined;
  const { id } = smallestPair(setups.map(({ pair }) => pair))!;
  const { withTiers } = setups.find(({ pair }) => pair.id === id)!;
  cacheSwitch.cache = caches.get(withTiers)!;
  console.log(`\nThe model writes on, its cache in ${id}:\n`);
  const encoder = new TextEncoder();
  const text = await writeOn({
    engine,
    context: contexts[0]!,
    tokens: options.generate,
    seed: options.seed,
    onText: (piece) => Deno.stdout.writeSync(encoder.encode(printable(piece))),
  });
  console.log();
  return { pair: id, text };
}

function describeWork(work: Work, { name, kind }: AdapterReport): string {
  const { checkpoint, contexts, calibrationContexts, text, calibrationText } = work;
  const { layers, keyValueHeads, headDim } = checkpoint.config;
  const { context } = work.options;
  return [
    `model:       ${checkpoint.fingerprint.name}, ${layers} layers, ${keyValueHeads} KV heads of ${headDim} channels`,
    `adapter:     ${name} (${kind === "hardware" ? "hardware" : "software"})`,
    `calibration: ${calibrationContexts.length} x ${context} tokens of ${calibrationText.name}, weights: ${work.options.weights}`,
    `evaluation:  ${contexts.length} x ${context} tokens of ${text.name}`,
    "",
  ].join("\n");
}

async function learnCodebooks(
  { checkpoint, options, calibrationContexts, calibrationText }: Work,
  device: GPUDevice,
  progress: Progress,
): Promise<CodebookSet> {
  const capture = progress.stage(
    options.weights.includes("fisher")
      ? "capture keys, values and gradients"
      : "capture keys and values",
  );
  const samples = await weightedSamples({
    device,
    checkpoint,
    windows: calibrationContexts,
    weighting: options.weights,
    onProgress: capture.update,
  });
  capture.done();
  const learn = progress.stage("learn codebooks");
  const codebooks = await calibrate({
    device,
    kernels: manifest,
    samples,
    schemes: {
      keys: options.pairs.map(({ keys }) => keys),
      values: options.pairs.map(({ values }) => values),
    },
    keySpace: "pre-rope",
    model: checkpoint.fingerprint,
    seed: options.seed,
    source: calibrationText.name,
    onProgress: ({ fraction, secondsLeft }) => learn.update(fraction, secondsLeft),
  });
  learn.done();
  return codebooks;
}

/** A cache for every setup. */
async function createCaches(
  { checkpoint, setups }: Work,
  device: GPUDevice,
  codebooks: CodebookSet,
): Promise<ReadonlyMap<CacheOptions, Cache>> {
  const caches = new Map<CacheOptions, Cache>();
  for (const options of setups.flatMap(({ codesAlone, withTiers }) => [codesAlone, withTiers])) {
    if (caches.has(options)) continue;
    const plan = planCache({ ...options, limits: device.limits, kernels: manifest });
    caches.set(
      options,
      await createCache({ device, plan, codebooks, ...modelCacheInit(checkpoint) }),
    );
  }
  return caches;
}

async function measure(
  bench: Bench,
  caches: ReadonlyMap<CacheOptions, Cache>,
): Promise<readonly Row[]> {
  const { device, engine, cacheSwitch, setups, sizes, progress } = bench;
  const evaluating = progress.stage("evaluate");
  const entries = [...caches];
  let milliseconds: readonly number[] = [];
  let done = 0;
  const total = entries.length * bench.contexts.length * bench.options.context;
  const results = await evaluate({
    runs: entries.map(([, cache]): CacheRun => ({
      cache,
      forward(tokens, read) {
        cacheSwitch.cache = cache;
        return engine.forward(tokens, read);
      },
    })),
    contexts: bench.contexts,
    ...sizes,
    onTokens: (tokens) => evaluating.update((done += tokens) / total),
    async onFull(held): Promise<void> {
      const filled = new Map(entries.map(([options, cache], i) => [
        options,
        { cache, sequences: held[i]! },
      ]));
      milliseconds = await timeDecodeSteps({
        device,
        shape: setups[0]!.resident.shape,
        caches: setups.map(({ resident }) => filled.get(resident)!),
      });
    },
  });
  const qualities = new Map(
    entries.map(([options], i) => [options, poolQuality(results[i]!)]),
  );
  evaluating.done();

  const uncompressed = setups[0]!;
  const bytesOf = (options: CacheOptions) => caches.get(options)!.stats().bytes;
  const uncompressedBytes = residentBytes(bytesOf(uncompressed.resident));
  return setups.map(({ pair, codesAlone, withTiers, resident }, i): Row => ({
    pair,
    memory: {
      run: {
        ...describeMemory(resident, residentBytes(bytesOf(resident)), uncompressedBytes),
        byKind: bytesOf(resident),
      },
      extrapolated: extrapolateMemory(resident, uncompressed.resident),
    },
    codesAlone: qualityChange(qualities.get(codesAlone)!, qualities.get(uncompressed.codesAlone)!),
    withTiers: qualityChange(qualities.get(withTiers)!, qualities.get(uncompressed.codesAlone)!),
    attention: {
      milliseconds: milliseconds[i]!,
      timesUncompressed: milliseconds[i]! / milliseconds[0]!,
    },
  }));
}

if (import.meta.main) await runProgram(main);
