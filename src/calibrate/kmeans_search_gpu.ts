/** Finds codes of points as sums of centroids on WebGPU, by a generated kernel. */
import { WORKGROUP_SIZE } from "../kernels/constants.ts";
import { allocateBuffers, readBuffer } from "./gpu_memory.ts";
import {
  BATCH_BYTES,
  bindResources,
  type Dispatch,
  type KmeansPipeline,
  submitDispatches,
} from "./kmeans_dispatch.ts";
import {
  kmeansRowVectors,
  kmeansSearchCost,
  kmeansTableRows,
  SEARCH_BEAM,
  SEARCH_CODE_BITS,
} from "./kmeans_layout.ts";
import { headParts, type KmeansSide, uploadSide } from "./kmeans_side.ts";
import type { Pace } from "./pace.ts";
import { type CalibrationSamples, tokensOf } from "./samples.ts";
import type { StageSearch } from "./stage_search.ts";

/** Most bytes of the sums that are kept from stage to stage. */
const MAX_BEAM_BYTES = 33_554_432;

/** Sizes of one search. */
interface SearchSizes {
  readonly channels: number;
  readonly groups: number;
  readonly stages: number;
  /** Centroids of a stage: at least 16, so that a group's begin at a multiple of 256 bytes. */
  readonly centroids: number;
  /** f32s of a centroid. */
  readonly rowLength: number;
  /** Groups of one dispatch: one binding of the table holds their centroids. */
  readonly together: number;
}

/**
 * A search on a device, which keeps the points until it is closed.
 *
 * Its codes are those of `searchStages` except for f32 arithmetic: a point within rounding
 * of two sums may get either. Every run on the same device gives the same codes.
 *
 * @param pipeline `kmeans_search` for groups of `channels` channels.
 * @throws {CoupletError} as {@linkcode uploadSide} does.
 */
export async function openGpuSearch(
  device: GPUDevice,
  pipeline: KmeansPipeline,
  points: CalibrationSamples,
  channels: number,
  pace: Pace,
): Promise<StageSearch> {
  const sides: KmeansSide[] = [];
  const close = () => sides.forEach(({ buffer }) => buffer.destroy());
  try {
    for (const { samples } of headParts(device, points)) {
      sides.push(await uploadSide(device, samples));
      await pace.pause();
    }
  } catch (error) {
    close();
    throw error;
  }
  return {
    async search(stages, report) {
      const codes: Uint16Array[] = [];
      for (const side of sides) {
        const groups = (side.samples.keyValueHeads * side.samples.headDim) / channels;
        const own = stages.slice(codes.length, codes.length + groups);
        codes.push(...await searchOnGpu(device, pipeline, side, channels, own, pace));
        report(codes.length / stages.length);
      }
      return codes;
    },
    close,
  };
}

/**
 * The codes of all points of a side, `[groups][count][stages]`.
 *
 * @param stages `[groups][stages]` centroids `[centroids][channels]`.
 * @throws {CoupletError} `limits` where the device's buffers are too small, and `device` where it is
 * lost.
 */
async function searchOnGpu(
  device: GPUDevice,
  pipeline: KmeansPipeline,
  side: KmeansSide,
  channels: number,
  stages: readonly (readonly Float64Array[])[],
  pace: Pace,
): Promise<Uint16Array[]> {
  const sizes = searchSizes(side, channels, stages);
  const { groups, centroids, rowLength, together } = sizes;
  const tableBytes = kmeansTableRows(channels) * rowLength * 4;
  const rows = centroidRows(side, stages, sizes);
  const dispatches = Math.ceil(groups / together) * sizes.stages;
  const buffers = await allocateBuffers(device, {
    // The last group's binding reaches past its centroids.
    centroids: sizes.stages * groups * centroids * rowLength * 4 + tableBytes,
    beam: together * SEARCH_BEAM * side.padded * 4,
    sums: groups * side.padded * 4,
    batch: dispatches * BATCH_BYTES,
  });
  try {
    device.queue.writeBuffer(buffers.centroids, 0, rows);
    const bindGroup = bindResources(device, pipeline, {
      batch: { buffer: buffers.batch, size: BATCH_BYTES },
      samples: { buffer: side.buffer },
      centroid_table: { buffer: buffers.centroids, size: tableBytes },
      added_centroids: { buffer: buffers.centroids },
      beam_written: { buffer: buffers.beam },
      sums_written: { buffer: buffers.sums },
    });
    const work = searchDispatches(pipeline.pipeline, bindGroup, side.padded, sizes);
    await submitDispatches(device, buffers.batch, work, pace);
    return unpackSums(
      new Uint32Array(await readBuffer(device, buffers.sums, groups * side.padded * 4)),
      side,
      sizes,
    );
  } finally {
    for (const buffer of Object.values(buffers)) buffer.destroy();
  }
}

function searchSizes(
  { padded }: KmeansSide,
  channels: number,
  stages: readonly (readonly Float64Array[])[],
): SearchSizes {
  const centroids = stages[0]![0]!.length / channels;
  return {
    channels,
    groups: stages.length,
    stages: stages[0]!.length,
    centroids,
    rowLength: 4 * kmeansRowVectors(channels),
    together: Math.min(
      stages.length,
      Math.floor(kmeansTableRows(channels) / centroids),
      Math.max(1, Math.floor(MAX_BEAM_BYTES / (SEARCH_BEAM * padded * 4))),
    ),
  };
}

/**
 * Centroids with their biases, `[stages][groups][centroids][rowLength]`, in the space of the side's
 * planes: those of the first stage are centred, so sums of later ones are.
 */
function centroidRows(
  side: KmeansSide,
  stages: readonly (readonly Float64Array[])[],
  { channels, groups, centroids, rowLength }: SearchSizes,
): Float32Array<ArrayBuffer> {
  const rows = new Float32Array(stages[0]!.length * groups * centroids * rowLength);
  stages.forEach((ofGroup, group) =>
    ofGroup.forEach((own, stage) => {
      let at = (stage * groups + group) * centroids * rowLength;
      for (let from = 0; from < own.length; from += channels, at += rowLength) {
        let bias = 0;
        for (let j = 0; j < channels; j++) {
          const mean = stage === 0 ? side.means[group * channels + j]! : 0;
          rows[at + j] = (own[from + j]! - mean) / side.unit;
          bias -= 0.5 * rows[at + j]! ** 2;
        }
        rows[at + channels] = bias;
      }
    })
  );
  return rows;
}

/** One stage after the other for each run of groups, because their beams take the same memory. */
function searchDispatches(
  pipeline: GPUComputePipeline,
  bindGroup: GPUBindGroup,
  padded: number,
  { channels, groups, stages, centroids, rowLength, together }: SearchSizes,
): Dispatch[] {
  return Array.from({ length: Math.ceil(groups / together) }, (_, run) => run * together).flatMap(
    (first) =>
      Array.from({ length: stages }, (_, stage): Dispatch => {
        const count = Math.min(together, groups - first);
        const kept = stage === 0 ? 1 : SEARCH_BEAM;
        return {
          pipeline,
          bindGroup,
          batch: [first, stage, kept, centroids, groups * centroids, padded],
          table: [(stage * groups + first) * centroids * rowLength * 4],
          grid: [padded / WORKGROUP_SIZE, count],
          cost: count * channels * padded * kmeansSearchCost(channels, centroids, kept),
        };
      }),
  );
}

function unpackSums(
  sums: Uint32Array,
  { samples, padded }: KmeansSide,
  { groups, stages }: SearchSizes,
): Uint16Array[] {
  const count = tokensOf(samples);
  return Array.from({ length: groups }, (_, group) => {
    const codes = new Uint16Array(count * stages);
    for (let point = 0, at = 0; point < count; point++) {
      const sum = sums[group * padded + point]!;
      for (let stage = 0; stage < stages; stage++, at++) {
        codes[at] = (sum >>> (stage * SEARCH_CODE_BITS)) & (2 ** SEARCH_CODE_BITS - 1);
      }
    }
    return codes;
  });
}
