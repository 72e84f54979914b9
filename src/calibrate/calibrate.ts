import { measureFit } from "../codebooks/fit.ts";
import type { Codebook, CodebookSet } from "../codebooks/codebook.ts";
import { roundToGrid } from "../codebooks/grid.ts";
import { checkOptions } from "../base/check_options.ts";
import { CoupletError } from "../base/errors.ts";
import type { KernelInfo } from "../kernels/kernel.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { SchemeId } from "../schemes/scheme.ts";
import { calibrationFields, type CalibrationOptions } from "./calibrate_options.ts";
import { learnAdded, stageIterations } from "./added_codebooks.ts";
import { kmeansSteps } from "./kmeans.ts";
import {
  createKmeansPipelines,
  type KmeansKernels,
  kmeansKernels,
  kmeansOnGpu,
  type KmeansPipelines,
} from "./kmeans_gpu.ts";
import { createPipeline, findKernel, type KmeansPipeline } from "./kmeans_dispatch.ts";
import { kmeansAssignCost, kmeansUpdateCost } from "./kmeans_layout.ts";
import { openGpuSearch } from "./kmeans_search_gpu.ts";
import { type HeadPart, headParts, type KmeansSide, uploadSide } from "./kmeans_side.ts";
import { DEFAULT_ITERATIONS, defaultTolerance, type KmeansResult } from "./lloyd.ts";
import { Pace } from "./pace.ts";
import { type Random, seededRandom } from "../base/random.ts";
import { type CalibrationSamples, checkSamples, groupInput, tokensOf } from "./samples.ts";
import { chooseTransforms, type SharedGroups, shareGroups } from "./shared_groups.ts";
import { cpuSearch, type OpenSearch } from "./stage_search.ts";
import { type CodedSpace, samplesAsCoded, turnOf } from "./turned_samples.ts";
import { anchorTokens, type TokenTurn } from "../model/anchors.ts";

export type { CalibrationSamples } from "./samples.ts";

/**
 * Layers and sides that are clustered concurrently, so that the device works while results are read
 * back.
 */
const CONCURRENT_SIDES = 4;

/**
 * Most bytes of samples on the device at once, of all layers and sides that are clustered
 * concurrently: 128 MiB.
 */
const CONCURRENT_BYTES = 134_217_728;

/** One codebook to learn. */
interface Task {
  /** The samples as they are coded, but for the rotary embedding that the scheme itself applies. */
  readonly samples: CalibrationSamples;
  readonly scheme: SchemeId;
  /** The values as they were sampled. */
  readonly sampled: Float32Array;
  /** What they are turned by before they are coded, if anything. */
  readonly turn: TokenTurn | undefined;
  /** Whether all KV heads get the same centroids, if these are added. */
  readonly shareHeads: boolean;
  /** Multiply-adds of one iteration, roughly. */
  readonly cost: number;
  /** The part that is done. */
  done: number;
}

/**
 * Learns codebooks: weighted k-means for every layer, side, KV head and group of channels (Coupled
 * Quantization, arXiv 2405.03917 §3), with a k-means++ start.
 *
 * A codebook depends only on its own samples, its scheme and the seed, not on what else is learned
 * in the same call. Every run on the same device returns the same codebook. Between devices, and
 * between a device and the CPU, codebooks differ by rounding.
 *
 * @example Calibrate one layer's keys, and keep the result
 * ```ts
 * import { calibrate, decodeCodebooks, encodeCodebooks } from "@couplet/kv";
 *
 * // Captured from the model: [tokens][keyValueHeads][headDim], before the rotary embedding.
 * const values = Float32Array.from({ length: 256 * 2 * 8 }, (_, i) => Math.sin(i * i));
 * const model = { name: "my model", digest: "sha256:..." };
 * const set = await calibrate({
 *   samples: [{ layer: 0, side: "keys", keyValueHeads: 2, headDim: 8, values }],
 *   schemes: { keys: ["c4b4"], values: [] },
 *   keySpace: "pre-rope",
 *   model,
 *   seed: 1,
 * });
 * const file = encodeCodebooks(set);
 * const loaded = decodeCodebooks(file, { model, keySpace: "pre-rope" });
 * console.assert(loaded.codebooks.length === 1);
 * ```
 *
 * @throws {CoupletError} before any work: `usage` for unknown options, where a layer and side is
 * listed twice, `shareHeads` is not the policy's or the seed is not an integer, `scheme` for an unknown scheme, `shape` where sizes
 * do not divide, `samples` where values cannot be clustered (not finite, fewer than centroids,
 * weights zero), `kernel` where there is a device and no kernel for it. On a device also `limits`
 * and `device`.
 */
export async function calibrate(options: CalibrationOptions): Promise<CodebookSet> {
  checkOptions("usage", "Cannot calibrate", calibrationFields(), options);
  const { device, signal } = options;
  signal?.throwIfAborted();
  const iterations = options.iterations ?? DEFAULT_ITERATIONS;
  const space = codedSpace(options);
  const sides = planTasks(options, space, iterations);
  const tasks = sides.flat();
  const work = device && gpuWork(device, tasks, options.kernels ?? []);
  const started = performance.now();
  function report(task: Task, done: number): void {
    task.done = done;
    const total = tasks.reduce((sum, { cost }) => sum + cost, 0);
    const fraction = tasks.reduce((sum, { cost, done }) => sum + cost * done, 0) / total;
    const seconds = (performance.now() - started) / 1000;
    options.onProgress?.({
      fraction,
      secondsLeft: fraction > 0 ? seconds * (1 / fraction - 1) : undefined,
    });
  }

  const codebooks = work === undefined
    ? await onCpu(tasks, options, iterations, report)
    : await onGpu(work, sides, options, iterations, report);
  return {
    model: options.model,
    ...space,
    provenance: {
      source: options.source ?? "unspecified samples",
      tokens: Math.max(0, ...options.samples.map(tokensOf)),
      seed: options.seed,
      iterations,
    },
    ...(options.valueRotations === undefined ? {} : { valueRotations: options.valueRotations }),
    codebooks,
  };
}

/**
 * The codebooks to learn, by layer and side. All checks of the input are made here.
 */
function planTasks(
  options: CalibrationOptions,
  space: CodedSpace,
  iterations: number,
): Task[][] {
  const { samples, schemes, seed } = options;
  if (!Number.isSafeInteger(seed) || !Number.isSafeInteger(iterations) || iterations < 1) {
    throw new CoupletError("usage", {
      what: "Cannot calibrate",
      why: `the seed is ${seed} and the number of iterations ${iterations}`,
      remedy: "Give an integer seed, and at least one iteration",
    });
  }
  const shareHeads = headsShare(options);
  const seen = new Set<string>();
  return samples.flatMap((one) => {
    const key = `${one.side} of layer ${one.layer}`;
    if (seen.has(key)) {
      throw new CoupletError("usage", {
        what: "Cannot calibrate",
        why: `the ${key} come twice`,
        remedy: "Put all samples of one layer and side into one entry",
      });
    }
    seen.add(key);
    const wanted = wantedSchemes(schemes, one).filter((id) =>
      parseScheme(id).codebook === "learned"
    );
    checkSamples(one, wanted);
    /** The samples in a space of anchors, which is the same for all schemes. */
    let anchored: CalibrationSamples | undefined;
    const tasks = wanted.map((scheme): Task => {
      const { centroids, channels, positional } = parseScheme(scheme);
      const cost = kmeansAssignCost(channels, centroids) + kmeansUpdateCost(channels);
      const turn = turnOf(one, scheme, space);
      const coded = positional ? one : anchored ??= samplesAsCoded(one, scheme, space);
      const { values } = one;
      const task = { samples: coded, scheme, sampled: values, turn, shareHeads };
      return { ...task, cost: values.length * cost, done: 0 };
    });
    if (anchored !== undefined && anchored !== one) checkSamples(anchored, wanted);
    // Those whose groups share their centroids, or add them, have points of their own.
    const [own, apart] = [false, true].map((groups) =>
      tasks.filter((one) => (shares(one) || adds(one)) === groups)
    );
    return [own!, ...apart!.map((one) => [one])];
  });
}

/**
 * Whether KV heads are to share centroids that are added: as the option or the policy says, where
 * either does.
 *
 * @throws {CoupletError} `usage` where they contradict each other: a cache of the policy would refuse
 * the codebooks, or hold each of them once for every head.
 */
function headsShare({ schemes, shareHeads }: CalibrationOptions): boolean {
  const ofPolicy = "shareHeads" in schemes ? schemes.shareHeads : undefined;
  if (ofPolicy !== undefined && shareHeads !== undefined && ofPolicy !== shareHeads) {
    throw new CoupletError("usage", {
      what: "Cannot calibrate",
      why: `shareHeads is ${shareHeads}, and that of the policy in schemes ${ofPolicy}`,
      remedy: "Leave shareHeads out: the policy's own counts",
    });
  }
  return shareHeads ?? ofPolicy ?? false;
}

/**
 * The space that keys are to be coded in.
 *
 * @throws {CoupletError} `usage` where anchors are described in another space, `samples` where no
 * samples say how keys turn, or they differ.
 */
function codedSpace({ keySpace, anchor, samples }: CalibrationOptions): CodedSpace {
  if (keySpace !== "anchored") {
    if (anchor === undefined) return { keySpace };
    throw new CoupletError("usage", {
      what: "Cannot calibrate",
      why: `keys ${keySpace} have no anchors, and an option describes some`,
      remedy: 'Leave anchor out, or calibrate for keySpace "anchored"',
    });
  }
  const lists = samples.flatMap(({ side, rope, headDim }) =>
    side === "keys" && rope !== undefined ? [anchorTokens(rope, headDim, anchor)] : []
  );
  const [anchors] = lists;
  if (anchors === undefined || lists.some((list) => String(list) !== String(anchors))) {
    throw new CoupletError("samples", {
      what: "Cannot calibrate for anchored keys",
      why: anchors === undefined
        ? "no samples of keys have the model's rotary embedding"
        : "the keys of some layers turn otherwise than those of others",
      remedy: "Give keys before their rotary embedding, with positions and the same rope",
    });
  }
  return { keySpace, anchors };
}

/** Whether all groups of a head share the centroids to learn. */
function shares({ scheme }: Task): boolean {
  return parseScheme(scheme).codebookSpec?.groupsShare === true;
}

/** Whether the centroids to learn are added. */
function adds({ scheme }: Task): boolean {
  return parseScheme(scheme).codebookSpec?.stages !== undefined;
}

/** What a task learns from, if all groups of a head share the centroids. */
function sharedGroups(task: Task): SharedGroups | undefined {
  return shares(task) ? shareGroups(task.samples, task.scheme, task.turn) : undefined;
}

/** The schemes of one layer and side, each once. */
function wantedSchemes(
  schemes: CalibrationOptions["schemes"],
  { layer, side }: CalibrationSamples,
): SchemeId[] {
  const ofAll = schemes[side];
  if (typeof ofAll !== "string") return [...new Set(ofAll)];
  return [("layers" in schemes ? schemes.layers?.[layer] : undefined)?.[side] ?? ofAll];
}

/** Where to calibrate, and the kernels for each number of channels per group. */
interface GpuWork {
  readonly device: GPUDevice;
  readonly kernels: ReadonlyMap<number, KmeansKernels>;
  /** `kmeans_search`, where centroids are added. */
  readonly searches: ReadonlyMap<number, KernelInfo>;
}

function gpuWork(
  device: GPUDevice,
  tasks: readonly Task[],
  kernels: readonly KernelInfo[],
): GpuWork {
  const widths = (of: readonly Task[]) =>
    new Set(of.map(({ scheme }) => parseScheme(scheme).channels));
  return {
    device,
    kernels: new Map(
      [...widths(tasks)].map((channels) => [channels, kmeansKernels(kernels, channels)]),
    ),
    searches: new Map(
      [...widths(tasks.filter(adds))].map((channels) => [
        channels,
        findKernel(kernels, "kmeans_search", channels),
      ]),
    ),
  };
}

/** The random numbers of one group. They do not depend on what else is learned. */
function groupRandom(seed: number, { samples, scheme }: Task, group: number): Random {
  return seededRandom(seed, samples.layer, samples.side, scheme, group);
}

async function onCpu(
  tasks: readonly Task[],
  options: CalibrationOptions,
  iterations: number,
  report: (task: Task, done: number) => void,
): Promise<Codebook[]> {
  const pace = new Pace(options.signal);
  const codebooks: Codebook[] = [];

  const cluster: Cluster = async ({ scheme }, samples, { most, random, report }) => {
    const { channels, centroids } = parseScheme(scheme);
    const groups = (samples.keyValueHeads * samples.headDim) / channels;
    const results: KmeansResult[] = [];
    for (let group = 0; group < groups; group++) {
      const steps = kmeansSteps({
        ...groupInput(samples, channels, group),
        centroids,
        random: random(group),
        iterations: most,
      });
      let step = steps.next();
      for (let iteration = 0; !step.done; iteration++) {
        report((group + Math.min(1, iteration / most)) / groups);
        await pace.pause();
        step = steps.next();
      }
      results.push(step.value);
    }
    return results;
  };

  for (const task of tasks) {
    if (adds(task)) {
      codebooks.push(
        await addedCodebook(task, options, iterations, pace, report, {
          cluster,
          openSearch: cpuSearch(() => pace.pause()),
        }),
      );
      continue;
    }
    const shared = sharedGroups(task);
    const results = await cluster(task, shared?.points ?? task.samples, {
      most: iterations,
      random: (group) => groupRandom(options.seed, task, group),
      report: (done) => report(task, done),
    });
    report(task, 1);
    codebooks.push(codebookOf(task, results, shared));
  }
  return codebooks;
}

/** How points are clustered: with at most so many iterations. */
interface Clustering {
  readonly most: number;
  random(group: number): Random;
  report(done: number): void;
}

/** Clusters all groups of a task's samples, or of points that take their place. */
type Cluster = (
  task: Task,
  samples: CalibrationSamples,
  clustering: Clustering,
) => Promise<KmeansResult[]>;

/** Where the parts of learning that take long are computed. */
interface AddedWork {
  readonly cluster: Cluster;
  readonly openSearch: OpenSearch;
}

/** Learns a codebook whose centroids are added. */
async function addedCodebook(
  task: Task,
  { seed }: CalibrationOptions,
  iterations: number,
  pace: Pace,
  report: (task: Task, done: number) => void,
  { cluster, openSearch }: AddedWork,
): Promise<Codebook> {
  const { samples, scheme, sampled, turn, shareHeads } = task;
  const { layer, side, keyValueHeads, headDim } = samples;
  const numbers = await learnAdded(samples, scheme, {
    shareHeads,
    cluster: (points, stage, report) =>
      cluster(task, points, {
        most: stageIterations(scheme, iterations),
        random: (group) => seededRandom(seed, layer, side, scheme, group, stage),
        report,
      }),
    openSearch,
    report: (done) => report(task, done),
    pause: () => pace.pause(),
  });
  const codebook = { layer, side, scheme, keyValueHeads, headDim, ...numbers };
  return { ...codebook, fit: measureFit(codebook, sampled, turn) };
}

async function onGpu(
  { device, kernels, searches }: GpuWork,
  sides: readonly (readonly Task[])[],
  options: CalibrationOptions,
  iterations: number,
  report: (task: Task, done: number) => void,
): Promise<Codebook[]> {
  const { signal } = options;
  const pipelines = new Map<number, Promise<KmeansPipelines>>();
  const searchPipelines = new Map<number, Promise<KmeansPipeline>>();
  // The first failure stops the other sides too, before their buffers are destroyed.
  const failure = new AbortController();
  const pace = new Pace(
    signal === undefined ? failure.signal : AbortSignal.any([signal, failure.signal]),
  );

  async function clusterPart(
    { scheme }: Task,
    side: KmeansSide,
    part: HeadPart,
    { keyValueHeads, headDim }: CalibrationSamples,
    { most, random, report }: Clustering,
  ): Promise<KmeansResult[]> {
    const { channels, centroids } = parseScheme(scheme);
    const firstGroup = (part.firstHead * headDim) / channels;
    let compiled = pipelines.get(channels);
    if (compiled === undefined) {
      compiled = createKmeansPipelines(device, kernels.get(channels)!);
      pipelines.set(channels, compiled);
    }
    return await kmeansOnGpu(device, await compiled, side, {
      scheme,
      random: (group) => random(firstGroup + group),
      iterations: most,
      tolerance: defaultTolerance(centroids),
      pace,
      onProgress(done) {
        const heads = part.firstHead + done * part.samples.keyValueHeads;
        report(heads / keyValueHeads);
      },
    });
  }

  /** The results of several tasks on the same samples. */
  async function clusterTasks(
    tasks: readonly (readonly [Task, Clustering])[],
    samples: CalibrationSamples,
  ): Promise<KmeansResult[][]> {
    const results = tasks.map((): KmeansResult[] => []);
    for (const part of headParts(device, samples)) {
      const side = await uploadSide(device, part.samples);
      try {
        for (const [i, [task, clustering]] of tasks.entries()) {
          results[i]!.push(...await clusterPart(task, side, part, samples, clustering));
        }
      } finally {
        side.buffer.destroy();
      }
    }
    return results;
  }

  const openSearch: OpenSearch = async (points, channels) => {
    let compiled = searchPipelines.get(channels);
    if (compiled === undefined) {
      compiled = createPipeline(device, searches.get(channels)!);
      searchPipelines.set(channels, compiled);
    }
    return await openGpuSearch(device, await compiled, points, channels, pace);
  };

  async function runSide(tasks: readonly Task[]): Promise<Codebook[]> {
    const [first] = tasks;
    if (first === undefined) return [];
    if (adds(first)) {
      const cluster: Cluster = async (task, points, clustering) =>
        (await clusterTasks([[task, clustering]], points))[0]!;
      return [
        await addedCodebook(first, options, iterations, pace, report, {
          cluster,
          openSearch,
        }),
      ];
    }
    const shared = sharedGroups(first);
    const results = await clusterTasks(
      tasks.map((task) => [task, {
        most: iterations,
        random: (group) => groupRandom(options.seed, task, group),
        report: (done) => report(task, done),
      }]),
      shared?.points ?? first.samples,
    );
    return tasks.map((task, i) => codebookOf(task, results[i]!, shared));
  }

  const codebooks: Codebook[][] = sides.map(() => []);
  let next = 0;
  async function worker(): Promise<void> {
    while (next < sides.length) {
      const i = next++;
      try {
        codebooks[i] = await runSide(sides[i]!);
      } catch (error) {
        failure.abort(error);
        throw error;
      }
    }
  }
  const largest = Math.max(1, ...sides.flat().map(sampleBytes));
  const workers = Math.max(1, Math.min(CONCURRENT_SIDES, Math.floor(CONCURRENT_BYTES / largest)));
  const ends = await Promise.allSettled(Array.from({ length: workers }, worker));
  // A worker that was stopped throws the first failure's reason, so any of them says what went
  // wrong.
  for (const end of ends) if (end.status === "rejected") throw end.reason;
  return codebooks.flat();
}

/** Bytes of a task's samples on the device: where centroids are added, what they leave as well. */
function sampleBytes(task: Task): number {
  return task.samples.values.length * (adds(task) ? 8 : 4);
}

function codebookOf(
  { samples, scheme, sampled, turn }: Task,
  results: readonly KmeansResult[],
  shared: SharedGroups | undefined,
): Codebook {
  const { layer, side, keyValueHeads, headDim, scale } = samples;
  const groups = results.map(({ centroids }) => centroids);
  const all = new Float64Array(groups.length * groups[0]!.length);
  groups.forEach((group, i) => all.set(group, i * group.length));
  const numbers = shared === undefined
    ? {
      ...roundToGrid(all, scheme),
      ...(scale === undefined ? {} : { scale: scale.slice() }),
    }
    : chooseTransforms(shared, samples, scheme, turn, groups);
  const codebook = { layer, side, scheme, keyValueHeads, headDim, ...numbers };
  return { ...codebook, fit: measureFit(codebook, sampled, turn) };
}
