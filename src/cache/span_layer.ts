/** Records what one layer does with the spans of a kind. */
import { type HostBindings, NO_HOST } from "./bound_kernel.ts";
import type { CompiledSpanLayer } from "./compiled_span.ts";
import type { AttentionGrid, EntryGrid, SpanAttention } from "./grids.ts";
import type { KernelBuffers } from "./layer_buffers.ts";
import {
  copyGroups,
  LayerKernels,
  recordAttention,
  recordsOf,
  recordStores,
} from "./layer_kernels.ts";
import type { SpanOptions } from "../plan/options.ts";
import type { AttentionWay } from "../plan/steps.ts";
import type { Recorder } from "./recorder.ts";
import type { SharedBuffers } from "./shared_buffers.ts";
import { type Side, SIDES } from "../model/side.ts";

/** One layer's kernels for a kind of span, with their buffers. */
export class SpanLayer implements SpanAttention {
  readonly #options: SpanOptions;
  readonly #index: number;
  readonly #compiled: CompiledSpanLayer;
  readonly #kernels: LayerKernels;

  constructor(
    device: GPUDevice,
    options: SpanOptions,
    index: number,
    compiled: CompiledSpanLayer,
    buffers: KernelBuffers,
    shared: SharedBuffers,
  ) {
    this.#options = options;
    this.#index = index;
    this.#compiled = compiled;
    this.#kernels = new LayerKernels(device, buffers, shared);
  }

  /** The buffers. */
  get buffers(): KernelBuffers {
    return this.#kernels.buffers;
  }

  /** Stores runs of a span's tokens, to be coded. */
  store(recorder: Recorder, grid: EntryGrid, host: HostBindings): void {
    const [part] = this.buffers.parts;
    const layer = this.#options.layers[this.#index]!;
    recordStores(recorder, this.#kernels, part!, this.#compiled.stores, layer, grid, host);
  }

  /** Codes a span that was stored. */
  encode(recorder: Recorder, { place, most: tokens }: EntryGrid): void {
    const [part] = this.buffers.parts;
    const heads = part!.heads.count;
    for (const side of SIDES) {
      const { fit, encoder } = this.#compiled[side];
      if (fit !== undefined) {
        this.#kernels.bind(fit, part!).dispatch(recorder, place, NO_HOST, heads, 1, 1);
      }
      const { one, many, manyTokens, recordTokens } = encoder;
      const [encode, block] = tokens < manyTokens ? [one, recordTokens] : [many, manyTokens];
      this.#kernels.bind(encode, part!, recordsOf(part!, side))
        .dispatch(recorder, place, NO_HOST, Math.ceil(tokens / block), heads, 1);
    }
  }

  /** Attends to spans, up to the partial results. */
  attend(recorder: Recorder, grid: AttentionGrid, way: AttentionWay, host: HostBindings): void {
    const layer = this.#options.layers[this.#index]!;
    recordAttention(recorder, this.#kernels, this.#compiled[way], layer, grid, host);
  }

  /** Puts pages of one side of a restored span in place. */
  restorePages(recorder: Recorder, side: Side, grid: EntryGrid, restored: GPUBuffer): void {
    const [part] = this.buffers.parts;
    const { kernel, words } = this.#compiled[side].restore;
    // Restored content is put in place once, from large buffers, so no bind group is kept.
    this.#kernels.bind(kernel, part!, recordsOf(part!, side), 0).dispatch(
      recorder,
      grid.place,
      { restored: { buffer: restored } },
      copyGroups(words * grid.most),
      grid.entries,
      1,
    );
  }

  /** Puts the levels of a restored span in place. */
  restoreLevels(recorder: Recorder, { place }: EntryGrid, restored: GPUBuffer): void {
    const { levels, parts } = this.buffers;
    const { kernel, words } = this.#compiled.restoreLevels;
    this.#kernels.bind(kernel, parts[0]!, levels!, 0)
      .dispatch(recorder, place, { restored: { buffer: restored } }, copyGroups(words), 1, 1);
  }
}
