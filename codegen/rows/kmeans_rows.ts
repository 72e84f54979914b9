/** Turns the table's calibration rows into kernels. */
import { WORKGROUP_SIZE } from "../../src/kernels/constants.ts";
import { formatKernelName } from "../../src/kernels/name.ts";
import {
  kmeansQuads,
  kmeansRowVectors,
  kmeansSlices,
  kmeansTableRows,
} from "../../src/calibrate/kmeans_layout.ts";
import type { KernelRow } from "../kernels/kernel_row.ts";
import type { KmeansRow } from "../kernels/table.ts";

/** The component of the centroid table's row that holds value `index`, in WGSL. */
function component(index: number): string {
  return `c_${index >> 2}.${"xyzw"[index & 3]}`;
}

/** Assignment and update for one number of channels. */
export function kmeansRows({ channels, reason }: KmeansRow): KernelRow[] {
  const quadCount = kmeansQuads(channels);
  const rowLength = kmeansRowVectors(channels);
  const bias = component(channels);
  return [
    {
      name: formatKernelName({ family: "kmeans_assign", schemes: [], size: channels }),
      template: "kmeans_assign",
      reason,
      bindings: ["batch", "samples", "centroid_table", "scores", "codes_written"],
      context: {
        channels,
        rowLength,
        quadCount,
        workgroupSize: WORKGROUP_SIZE,
        tableRows: kmeansTableRows(channels),
        row: Array.from({ length: rowLength }, (_, index) => ({ index, vector: `c_${index}` })),
        quads: Array.from({ length: quadCount }, (_, quad) => ({
          quad,
          bias,
          channels: Array.from({ length: channels }, (_, channel) => ({
            channel,
            quad,
            sample: `x_${quad}_${channel}`,
            centroid: component(channel),
          })),
        })),
      },
    },
    {
      name: formatKernelName({ family: "kmeans_update", schemes: [], size: channels }),
      template: "kmeans_update",
      reason,
      bindings: [
        "batch",
        "samples",
        "weights",
        "codes",
        "centroids",
        "partial_sums",
        "group_results",
      ],
      context: {
        channels,
        rowLength,
        terms: channels + 1,
        slices: kmeansSlices(channels),
        workgroupSize: WORKGROUP_SIZE,
      },
    },
  ];
}
