/**
 * Weighted k-means on WebGPU. Assignment and update are generated kernels; the start, and the
 * moving of empty clusters, are the CPU reference's own. One run clusters all groups of one layer
 * and side.
 */
import { WORKGROUP_SIZE } from "../kernels/constants.ts";
import type { KernelInfo } from "../kernels/kernel.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { SchemeId } from "../schemes/scheme.ts";
import { allocateBuffers, readBuffer } from "./gpu_memory.ts";
import { energy, moveClusters, scaledPoints } from "./kmeans.ts";
import {
  BATCH_BYTES,
  bindResources,
  createPipeline,
  type Dispatch,
  findKernel,
  type KmeansPipeline,
  submitDispatches,
} from "./kmeans_dispatch.ts";
import {
  kmeansAssignCost,
  kmeansQuads,
  kmeansRowVectors,
  kmeansSlices,
  kmeansTableRows,
  kmeansUpdateCost,
} from "./kmeans_layout.ts";
import type { KmeansSide } from "./kmeans_side.ts";
import { type KmeansPoints, startCentroids } from "./kmeans_start.ts";
import { type KmeansResult, LloydProgress, unscaledCentroids } from "./lloyd.ts";
import type { Pace } from "./pace.ts";
import type { Random } from "../base/random.ts";
import { groupInput, groupScale } from "./samples.ts";

/** Most bytes of the update's partial sums. */
const MAX_SUM_BYTES = 33_554_432;

/** The kernels of one width of group. */
export interface KmeansPipelines {
  /** `kmeans_assign`. */
  readonly assign: KmeansPipeline;
  /** `kmeans_update`. */
  readonly update: KmeansPipeline;
}

/** Options of a run, besides the samples. */
export interface KmeansGpuOptions {
  /** The scheme whose centroids are wanted. */
  readonly scheme: SchemeId;
  /** The source of random numbers for one group's start. */
  readonly random: (group: number) => Random;
  /** Most Lloyd iterations. */
  readonly iterations: number;
  /** Relative decrease of a group's error below which it stops. */
  readonly tolerance: number;
  /** Yields to other work, and throws on an abort. */
  readonly pace: Pace;
  /** Called with the part of the run that is done, 0 to 1. */
  readonly onProgress: (done: number) => void;
}

/** Sizes of one run. */
interface RunSizes {
  readonly channels: number;
  readonly clusters: number;
  readonly groups: number;
  /** Centroids from one group to the next: a binding begins at a multiple of 256 bytes. */
  readonly groupRows: number;
  /** f32s of a centroid. */
  readonly rowLength: number;
  /** Centroids that one binding of the centroid table holds. */
  readonly tableRows: number;
  /** Bytes of one group's partial sums. */
  readonly sumBytes: number;
  /** Groups of one update dispatch. */
  readonly updateGroups: number;
}

/** The buffers of one run, by their names in the kernels. */
type RunBuffers = Readonly<
  Record<
    "centroids" | "weights" | "codes" | "scores" | "partial_sums" | "group_results" | "batch",
    GPUBuffer
  >
>;

/** The state of one run. */
interface Run {
  readonly device: GPUDevice;
  readonly side: KmeansSide;
  readonly options: KmeansGpuOptions;
  readonly sizes: RunSizes;
  readonly buffers: RunBuffers;
  readonly groups: readonly LloydProgress[];
}

/** The kernels of one width of group, before they are compiled. */
export interface KmeansKernels {
  /** `kmeans_assign`. */
  readonly assign: KernelInfo;
  /** `kmeans_update`. */
  readonly update: KernelInfo;
}

/**
 * The kernels for groups of `channels` channels.
 *
 * @throws {CoupletError} `kernel` where they are not among `kernels`.
 */
export function kmeansKernels(kernels: readonly KernelInfo[], channels: number): KmeansKernels {
  return {
    assign: findKernel(kernels, "kmeans_assign", channels),
    update: findKernel(kernels, "kmeans_update", channels),
  };
}

/** Compiles the kernels of one width of group. */
export async function createKmeansPipelines(
  device: GPUDevice,
  kernels: KmeansKernels,
): Promise<KmeansPipelines> {
  const [assign, update] = await Promise.all([
    createPipeline(device, kernels.assign),
    createPipeline(device, kernels.update),
  ]);
  return { assign, update };
}

/**
 * Clusters every group of a side; one result per group.
 *
 * Equal to the CPU's {@linkcode kmeans} except for f32 arithmetic: a sample within rounding of two
 * centroids may go to the other one, and the runs may differ from there on. The tests require
 * errors within 0.2 % of each other (the usual difference is below one part in a million), and
 * centroids of separated clusters to a millionth of their range.
 *
 * @throws {CoupletError} `limits` where the device's buffers are too small, `device` where it is
 * lost, and `samples` where a group has fewer samples of positive weight than centroids.
 */
export async function kmeansOnGpu(
  device: GPUDevice,
  pipelines: KmeansPipelines,
  side: KmeansSide,
  options: KmeansGpuOptions,
): Promise<KmeansResult[]> {
  const sizes = runSizes(side, options.scheme);
  const buffers = await allocateBuffers(device, bufferBytes(side, sizes));
  try {
    const groups: LloydProgress[] = [];
    const run: Run = { device, side, options, sizes, buffers, groups };
    for (let group = 0; group < sizes.groups; group++) {
      groups.push(startGroup(run, group));
      await options.pace.pause();
    }
    const assign = bind(run, pipelines.assign);
    const update = bind(run, pipelines.update);
    while (groups.some(({ done }) => !done)) {
      await submitDispatches(device, buffers.batch, [
        ...assignDispatches(run, pipelines.assign.pipeline, assign),
        ...updateDispatches(run, pipelines.update.pipeline, update),
      ], options.pace);
      await judge(run);
      const done = groups.reduce(
        (sum, { done, iterations }) => sum + (done ? 1 : iterations / options.iterations),
        0,
      );
      options.onProgress(done / sizes.groups);
      await options.pace.pause();
    }
    return await readResults(run);
  } finally {
    for (const buffer of Object.values(buffers)) buffer.destroy();
  }
}

function runSizes({ samples }: KmeansSide, scheme: SchemeId): RunSizes {
  const { channels, centroids: clusters } = parseScheme(scheme);
  const groups = (samples.keyValueHeads * samples.headDim) / channels;
  const sumBytes = kmeansSlices(channels) * clusters * (channels + 1) * 4;
  return {
    channels,
    clusters,
    groups,
    groupRows: Math.max(16, clusters),
    rowLength: 4 * kmeansRowVectors(channels),
    tableRows: kmeansTableRows(channels),
    sumBytes,
    updateGroups: Math.min(groups, Math.max(1, Math.floor(MAX_SUM_BYTES / sumBytes))),
  };
}

function bufferBytes(side: KmeansSide, sizes: RunSizes): Record<keyof RunBuffers, number> {
  const { groups, groupRows, rowLength, tableRows } = sizes;
  const perSample = groups * side.padded * 4;
  const turns = Math.ceil(sizes.clusters / tableRows);
  return {
    // The last group's binding reaches past its centroids.
    centroids: (groups * groupRows + tableRows) * rowLength * 4,
    weights: perSample,
    codes: perSample,
    scores: perSample,
    partial_sums: sizes.updateGroups * sizes.sumBytes,
    group_results: groups * 8,
    batch: groups * (turns + 1) * BATCH_BYTES,
  };
}

/** One group's points and weights, in float64. */
function groupOf({ side, sizes }: Run, group: number): KmeansPoints {
  return scaledPoints(groupInput(side.samples, sizes.channels, group), sizes.clusters);
}

/** Writes one group's weights and start. */
function startGroup(run: Run, group: number): LloydProgress {
  const { device, side, options, sizes, buffers } = run;
  const { channels, clusters, rowLength } = sizes;
  const scaled = groupOf(run, group);
  const start = startCentroids(scaled, clusters, options.random(group));
  const rows = new Float32Array(clusters * rowLength);
  for (let code = 0; code < clusters; code++) {
    for (let j = 0; j < channels; j++) {
      const value = start[code * channels + j]! - side.means[group * channels + j]!;
      rows[code * rowLength + j] = value / side.unit;
    }
  }
  writeRows(run, group, 0, rows);

  const weights = new Float32Array(side.padded);
  weights.set(scaled.weights);
  device.queue.writeBuffer(buffers.weights, group * side.padded * 4, weights);
  return new LloydProgress(
    energy(scaled) / side.unit ** 2,
    options.iterations,
    options.tolerance,
  );
}

/** Writes centroids from code `first` on, with their biases. */
function writeRows(run: Run, group: number, first: number, rows: Float32Array<ArrayBuffer>): void {
  const { channels, groupRows, rowLength } = run.sizes;
  for (let row = 0; row < rows.length; row += rowLength) {
    let bias = 0;
    for (let j = 0; j < channels; j++) bias -= 0.5 * rows[row + j]! ** 2;
    rows[row + channels] = bias;
  }
  const at = (group * groupRows + first) * rowLength * 4;
  run.device.queue.writeBuffer(run.buffers.centroids, at, rows);
}

/** Binds a kernel's resources by name: buffers of the run, or views of them. */
function bind(run: Run, pipeline: KmeansPipeline): GPUBindGroup {
  const { side, sizes, buffers } = run;
  const resources: Record<string, GPUBufferBinding> = {
    batch: { buffer: buffers.batch, size: BATCH_BYTES },
    samples: { buffer: side.buffer },
    weights: { buffer: buffers.weights },
    centroid_table: { buffer: buffers.centroids, size: sizes.tableRows * sizes.rowLength * 4 },
    centroids: { buffer: buffers.centroids },
    scores: { buffer: buffers.scores },
    codes: { buffer: buffers.codes },
    codes_written: { buffer: buffers.codes },
    partial_sums: { buffer: buffers.partial_sums },
    group_results: { buffer: buffers.group_results },
  };
  return bindResources(run.device, pipeline, resources);
}

/** Runs of neighbouring groups that are not done, each of at most `most`. */
function activeRuns(run: Run, most: number): { readonly first: number; readonly count: number }[] {
  const runs: { first: number; count: number }[] = [];
  run.groups.forEach(({ done }, group) => {
    if (done) return;
    const last = runs.at(-1);
    if (last !== undefined && last.first + last.count === group && last.count < most) last.count++;
    else runs.push({ first: group, count: 1 });
  });
  return runs;
}

function assignDispatches(
  run: Run,
  pipeline: GPUComputePipeline,
  bindGroup: GPUBindGroup,
): Dispatch[] {
  const { channels, clusters, groupRows, rowLength, tableRows } = run.sizes;
  const { padded } = run.side;
  const workgroups = padded / (4 * kmeansQuads(channels) * WORKGROUP_SIZE);
  const together = Math.max(1, Math.floor(tableRows / groupRows));
  return activeRuns(run, together).flatMap(({ first, count }) =>
    Array.from({ length: Math.ceil(clusters / tableRows) }, (_, turn) => {
      const from = turn * tableRows;
      const centroids = Math.min(tableRows, clusters - from);
      return {
        pipeline,
        bindGroup,
        batch: [first, from, centroids, groupRows, padded],
        table: [(first * groupRows + from) * rowLength * 4],
        grid: [workgroups, count],
        cost: count * channels * padded * kmeansAssignCost(channels, centroids),
      };
    })
  );
}

function updateDispatches(
  run: Run,
  pipeline: GPUComputePipeline,
  bindGroup: GPUBindGroup,
): Dispatch[] {
  const { channels, clusters, groupRows, updateGroups } = run.sizes;
  const { padded } = run.side;
  return activeRuns(run, updateGroups).map(({ first, count }) => ({
    pipeline,
    bindGroup,
    batch: [first, 0, clusters, groupRows, padded],
    table: [],
    grid: [count, 1],
    cost: count * channels * padded * kmeansUpdateCost(channels),
  }));
}

/** Records the iteration's result for every group that is not done, and moves empty clusters. */
async function judge(run: Run): Promise<void> {
  const { device, sizes, buffers } = run;
  const bytes = await readBuffer(device, buffers.group_results, sizes.groups * 8);
  const found = new Float32Array(bytes);
  for (const [group, progress] of run.groups.entries()) {
    if (progress.done) continue;
    const error = found[group * 2]!;
    const empty = found[group * 2 + 1]!;
    const moved = empty > 0 && progress.improvable(error) ? await moveEmpty(run, group) : 0;
    progress.step(error, moved);
  }
}

/** Moves one group's empty clusters. Returns how many were moved. */
async function moveEmpty(run: Run, group: number): Promise<number> {
  const { device, side, sizes, buffers } = run;
  const { channels, clusters, groupRows, rowLength } = sizes;
  const { padded, planes } = side;
  const { weights } = groupOf(run, group);
  const codeBytes = await readBuffer(device, buffers.codes, padded * 4, group * padded * 4);
  const codes = new Uint32Array(codeBytes, 0, weights.length);
  const rowBytes = rowLength * 4;
  const from = group * groupRows * rowBytes;
  const rows = new Float32Array(
    await readBuffer(device, buffers.centroids, clusters * rowBytes, from),
  );

  const points = new Float64Array(weights.length * channels);
  const centroids = new Float64Array(clusters * channels);
  for (let j = 0; j < channels; j++) {
    const plane = (group * channels + j) * padded;
    for (let i = 0; i < weights.length; i++) points[i * channels + j] = planes[plane + i]!;
    for (let code = 0; code < clusters; code++) {
      centroids[code * channels + j] = rows[code * rowLength + j]!;
    }
  }
  const totals = new Float64Array(clusters);
  codes.forEach((code, i) => totals[code]! += weights[i]!);
  const empty = [...totals.keys()].filter((code) => totals[code] === 0);
  const moved = moveClusters(empty, points, weights, codes, centroids, channels);
  for (const code of empty) {
    const row = new Float32Array(rowLength);
    row.set(centroids.subarray(code * channels, (code + 1) * channels));
    writeRows(run, group, code, row);
  }
  return moved;
}

async function readResults(run: Run): Promise<KmeansResult[]> {
  const { device, side, sizes, buffers, groups } = run;
  const { channels, clusters, groupRows, rowLength } = sizes;
  const bytes = await readBuffer(
    device,
    buffers.centroids,
    sizes.groups * groupRows * rowLength * 4,
  );
  const rows = new Float32Array(bytes);
  return groups.map(({ error, iterations, moved }, group) => {
    const centroids = new Float64Array(clusters * channels);
    for (let i = 0; i < centroids.length; i++) {
      const row = group * groupRows + Math.floor(i / channels);
      const value = rows[row * rowLength + (i % channels)]!;
      centroids[i] = value * side.unit + side.means[group * channels + (i % channels)]!;
    }
    const scale = groupScale(side.samples, channels, group);
    return {
      centroids: unscaledCentroids(centroids, channels, scale),
      error: error * side.unit ** 2,
      iterations,
      moved,
    };
  });
}
