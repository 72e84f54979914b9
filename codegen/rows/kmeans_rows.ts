/** Turns the table's calibration rows into kernels. */
import { WORKGROUP_SIZE } from "../../src/kernels/constants.ts";
import { formatKernelName } from "../../src/kernels/name.ts";
import {
  kmeansQuads,
  kmeansRowVectors,
  kmeansSlices,
  kmeansTableRows,
  SEARCH_BEAM,
  SEARCH_CODE_BITS,
} from "../../src/calibrate/kmeans_layout.ts";
import type { KernelRow } from "../kernels/kernel_row.ts";
import type { KmeansRow } from "../kernels/table.ts";

/** Sums, and centroids, that the search compares at once. */
const AT_ONCE = 4;

/** The component of a row of vec4s that holds value `index`, in WGSL. */
function component(index: number, row = "c"): string {
  return `${row}_${index >> 2}.${"xyzw"[index & 3]}`;
}

/** Integers from 0, as objects of one key. */
function counted<Name extends string>(name: Name, count: number): { [name in Name]: number }[] {
  return Array.from({ length: count }, (_, i) => ({ [name]: i }) as { [name in Name]: number });
}

/** What a template puts between items of a list. */
function between(separator: string, index: number, count: number): string {
  return index < count - 1 ? separator : "";
}

/** Search of sums, for one number of channels. */
function searchRow({ channels, reason }: KmeansRow): KernelRow {
  const rowLength = kmeansRowVectors(channels);
  return {
    name: formatKernelName({ family: "kmeans_search", schemes: [], size: channels }),
    template: "kmeans_search",
    reason,
    bindings: [
      "batch",
      "samples",
      "centroid_table",
      "added_centroids",
      "beam_written",
      "sums_written",
    ],
    context: {
      channels: Array.from({ length: channels }, (_, channel) => ({
        channel,
        plus: between(" + ", channel, channels),
        pasts: counted("sum", AT_ONCE).map(({ sum }) => ({
          past: component(channel, `past_${sum}`),
          comma: between(", ", sum, AT_ONCE),
        })),
      })),
      channelCount: channels,
      rowLength,
      tableRows: kmeansTableRows(channels),
      workgroupSize: WORKGROUP_SIZE,
      beam: SEARCH_BEAM,
      codeBits: SEARCH_CODE_BITS,
      codeCount: 2 ** SEARCH_CODE_BITS,
      kept: counted("index", SEARCH_BEAM),
      last: SEARCH_BEAM - 1,
      sums: counted("sum", AT_ONCE).map(({ sum }) => ({
        sum,
        pieces: counted("piece", Math.ceil(channels / 4)).map(({ piece }) => ({ sum, piece })),
      })),
      codes: counted("code", AT_ONCE).map(({ code }) => ({
        code,
        row: counted("index", rowLength).map(({ index }) => ({
          index: code * rowLength + index,
          vector: `c_${code}_${index}`,
        })),
        channels: counted("channel", channels).map(({ channel }) => ({
          channel,
          centroid: component(channel, `c_${code}`),
        })),
        bias: component(channels, `c_${code}`),
      })),
      otherCodes: counted("code", AT_ONCE - 1),
    },
  };
}

/** Assignment, update, and search where centroids are added, for one number of channels. */
export function kmeansRows(row: KmeansRow): KernelRow[] {
  const { channels, reason } = row;
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
    // No scheme adds centroids of single channels.
    ...(channels > 1 ? [searchRow(row)] : []),
  ];
}
