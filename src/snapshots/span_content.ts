/** Spans in snapshots: their tensors, where they lie on a device, and how they come back. */
import { storageBuffer } from "../cache/layer_buffers.ts";
import { pageRuns } from "../cache/page_rows.ts";
import type { RestoredSpanLayer, SpanState } from "../cache/span_room.ts";
import { type Side, SIDES } from "../model/side.ts";
import type { ResolvedOptions, SpanOptions } from "../plan/options.ts";
import { pageBytes } from "../plan/sizes.ts";
import { recordWords } from "../records/layout.ts";
import type { SafetensorsTensor } from "../base/safetensors.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import { sideLayout } from "../schemes/side_layout.ts";
import { fromPages, toPages } from "./pages.ts";

/** A span that a snapshot holds. */
export interface HeldSpan {
  /** The kind of span. */
  readonly name: string;
  /** Its tokens. */
  readonly tokens: number;
  /** Tokens of the sequence when it was added. */
  readonly place: number;
}

/** Dtype and shape of a tensor. */
type TensorShape = Pick<SafetensorsTensor, "dtype" | "shape">;

/** The names of the tensors of one side of a span in one layer. */
function spanNames(layer: number, side: Side, index: number) {
  const name = `layers.${layer}.${side}.span.${index}`;
  return { codes: `${name}.codes`, levels: `${name}.levels` };
}

function kindOf({ spans }: ResolvedOptions, { name }: HeldSpan): SpanOptions {
  return spans.find(({ span }) => span.name === name)!;
}

/** Dtype and shape of the tensors of spans. */
export function spanTensors(
  options: ResolvedOptions,
  spans: readonly HeldSpan[],
): [name: string, TensorShape][] {
  return spans.flatMap((span, index) =>
    kindOf(options, span).layers.flatMap((own, layer) =>
      SIDES.flatMap((side): [string, TensorShape][] => {
        const { forSpans } = parseScheme(own[side]);
        const { codes, levels } = spanNames(layer, side, index);
        const words = recordWords(sideLayout(own, side), span.tokens);
        return [
          [codes, { dtype: "U32", shape: [own.keyValueHeads, words] }],
          ...(forSpans
            ? [[levels, { dtype: "F16", shape: [own.keyValueHeads, own.headDim, 2] }] as const]
            : []),
        ] as [string, TensorShape][];
      })
    )
  );
}

/** A tensor's content in a buffer of a cache. */
export interface SpanRead {
  /** The tensor. */
  readonly name: string;
  /** Its ranges of a buffer, in order. */
  readonly ranges: readonly {
    readonly source: GPUBuffer;
    readonly offset: number;
    readonly size: number;
  }[];
  /** The tensor's bytes, of what the ranges hold. */
  bytes(content: ArrayBuffer): Uint8Array;
}

/** Where the tensors of a sequence's spans lie. */
export function spanReads(spans: readonly SpanState[]): SpanRead[] {
  return spans.flatMap(({ span, room, slot, pages, restored }, index) => {
    const { options } = room.plan;
    return room.layers.flatMap(({ buffers }, layer) => {
      const own = options.layers[layer]!;
      const { keyValueHeads: heads, headDim } = own;
      const content = restored?.[layer];
      return SIDES.flatMap((side, i): SpanRead[] => {
        const { codes, levels } = spanNames(layer, side, index);
        const { forSpans } = parseScheme(own[side]);
        const page = pageBytes(own, side, heads);
        const [{ keyRecords, valueRecords }] = buffers.parts as [typeof buffers.parts[number]];
        const records = side === "keys" ? keyRecords : valueRecords;
        // Restored content that is not in place yet lies in its own buffers, in order.
        const runs = content === undefined ? pageRuns(pages) : [{ page: 0, count: pages.length }];
        const source = content?.[side] ?? records;
        const table = heads * headDim * 4;
        const offset = ((content === undefined ? slot * 2 : 0) + i) * table;
        return [
          {
            name: codes,
            ranges: runs
              .map(({ page: at, count }) => ({ source, offset: at * page, size: count * page })),
            bytes: (content) =>
              new Uint8Array(
                fromPages(sideLayout(own, side), heads, span.tokens, new Uint32Array(content))
                  .buffer,
              ),
          },
          ...(forSpans
            ? [{
              name: levels,
              ranges: [{ source: content?.levels ?? buffers.levels!, offset, size: table }],
              bytes: (content: ArrayBuffer) => new Uint8Array(content),
            }]
            : []),
        ];
      });
    });
  });
}

/** A span's content on the device, in buffers of its own, by layer. */
export function restoreSpan(
  device: GPUDevice,
  options: ResolvedOptions,
  span: HeldSpan,
  index: number,
  tensors: ReadonlyMap<string, SafetensorsTensor>,
): RestoredSpanLayer[] {
  const upload = (name: string, data: Uint8Array<ArrayBuffer>) => {
    const buffer = storageBuffer(device, `couplet restored ${name} of a span`, data.length);
    device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  };
  return kindOf(options, span).layers.map((own, layer) => {
    const { keyValueHeads: heads, headDim } = own;
    const levels = new Uint8Array(2 * heads * headDim * 4);
    const [keys, values] = SIDES.map((side, i) => {
      const names = spanNames(layer, side, index);
      const fitted = tensors.get(names.levels)?.data;
      if (fitted !== undefined) levels.set(fitted, i * heads * headDim * 4);
      const words = new Uint32Array(new Uint8Array(tensors.get(names.codes)!.data).buffer);
      const layout = sideLayout(own, side);
      return upload(side, new Uint8Array(toPages(layout, heads, span.tokens, words).buffer));
    });
    const isFitted = SIDES.some((side) => parseScheme(own[side]).forSpans);
    return {
      keys: keys!,
      values: values!,
      levels: isFitted ? upload("levels", levels) : undefined,
    };
  });
}

/** Why spans of a file are not those of a plan; undefined where they are. */
export function spanObstacle(
  options: ResolvedOptions,
  spans: readonly HeldSpan[],
  length: number,
): string | undefined {
  const wrong = spans.findIndex((span, i) => {
    const kind = kindOf(options, span);
    return kind === undefined || span.place > length || span.place < (spans[i - 1]?.place ?? 0);
  });
  return wrong < 0 ? undefined : `its span ${wrong} is of no kind of the plan, or out of place`;
}
