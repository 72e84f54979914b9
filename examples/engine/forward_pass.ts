import { checkEntries } from "./check_entries.ts";
import type { EngineOptions } from "./engine_options.ts";
import type { ForwardEntry, ReadOptions } from "./forward_entry.ts";
import { type ForwardResult, ResultBuilder } from "./forward_result.ts";
import { modelRopes } from "./layer_ropes.ts";
import { NO_TARGET } from "./kernels/cross_entropy.ts";
import type { Network } from "./network.ts";
import type { Rows } from "./operations.ts";
import { ReadBack } from "./read_back.ts";
import { Recorder } from "./recorder.ts";
import { type Buffers, slabRows, SLOT_BYTES, TURN_BYTES, turnsBefore } from "./step_buffers.ts";
import { type HeadRow, planSteps, runsOf, selectRows, type StepPlan, turns } from "./step_plan.ts";

/** Runs a model's operations and its cache on new tokens. */
export class ForwardPass<Sequence, Step> {
  readonly #options: EngineOptions<Sequence, Step>;
  readonly #buffers: Buffers;
  readonly #network: Network;
  readonly #slabRows: number;

  constructor(
    options: EngineOptions<Sequence, Step>,
    buffers: Buffers,
    network: Network,
  ) {
    this.#options = options;
    this.#buffers = buffers;
    this.#network = network;
    this.#slabRows = slabRows(
      options.checkpoint.config.vocabularySize,
      options.maxTokens,
      options.device.limits,
    );
  }

  /** Runs all entries, step by step. */
  async run(
    entries: readonly ForwardEntry<Sequence>[],
    read: ReadOptions,
    appendTokens: number,
  ): Promise<ForwardResult> {
    const { cache, checkpoint, maxTokens, keySpace = "pre-rope" } = this.#options;
    checkEntries(entries, checkpoint.config, keySpace);
    const steps = planSteps(
      entries.map((entry) => ({
        tokens: entry.tokenIds.length,
        position: entry.position ?? cache.length(entry.sequence),
      })),
      maxTokens,
      appendTokens,
    );
    const result = new ResultBuilder(checkpoint, entries, read);
    for (const step of steps) await this.#runStep(entries, step, result);
    return result.finish();
  }

  async #runStep(
    entries: readonly ForwardEntry<Sequence>[],
    plan: StepPlan,
    result: ResultBuilder<Sequence>,
  ): Promise<void> {
    const { device, cache } = this.#options;
    const buffers = this.#buffers;
    const network = this.#network;
    const { read } = result;
    const headRows = selectRows(entries, plan, read);
    const { rows, slabs, head } = this.#writeStep(entries, plan, headRows);

    const step = cache.beginStep(plan.segments.map(({ entry, count }) => ({
      sequence: entries[entry]!.sequence,
      tokens: count,
    })));
    const recorder = new Recorder(device, "forward");
    const readBack = new ReadBack(device);

    network.embed(recorder.pass, rows);
    network.layers.forEach((layer, index) => {
      for (const run of layer.project) run(recorder.pass, rows);
      for (const kind of ["queries", "keys", "values"] as const) {
        if (!read[kind]) continue;
        const source = { queries: buffers.query, keys: buffers.key, values: buffers.value }[kind];
        const bytes = plan.tokens * result.width(kind) * 4;
        readBack.copy(recorder.encoder, source, bytes, (copy) => {
          result.addHeads(kind, index, plan, new Float32Array(copy));
        });
      }
      for (const run of layer.rotate) run(recorder.pass, rows);
      this.#encodeKept(recorder, entries, plan, index);
      cache.encodeAppend(recorder.pass, step, index, {
        keys: { buffer: buffers.key },
        values: { buffer: buffers.value },
      });
      cache.encodeAttend(recorder.pass, step, index, {
        queries: { buffer: buffers.query },
        output: { buffer: buffers.attended },
      });
      for (const run of layer.finish) run(recorder.pass, rows);
    });

    if (headRows.length > 0) {
      this.#encodeHead(recorder, readBack, headRows, slabs, head, result);
    }
    device.queue.submit([recorder.finish()]);
    await readBack.finish();
  }

  /** Copies a layer's keys and values to where entries keep them. */
  #encodeKept(
    recorder: Recorder,
    entries: readonly ForwardEntry<Sequence>[],
    { segments }: StepPlan,
    layer: number,
  ): void {
    const { keyValueHeads, headDim } = this.#options.checkpoint.config;
    const bytes = keyValueHeads * headDim * 4;
    for (const { entry, start, count, row } of segments) {
      const { kept } = entries[entry]!;
      if (kept === undefined) continue;
      const first = Math.max(kept.first, start);
      const tokens = Math.min(kept.first + kept.tokens, start + count) - first;
      if (tokens <= 0) continue;
      for (const [from, to] of [["key", "keys"], ["value", "values"]] as const) {
        recorder.encoder.copyBufferToBuffer(
          this.#buffers[from],
          (row + first - start) * bytes,
          kept.layers[layer]![to],
          (first - kept.first) * bytes,
          tokens * bytes,
        );
      }
    }
  }

  /** Final norm, logits and losses of the chosen rows. */
  #encodeHead(
    recorder: Recorder,
    readBack: ReadBack,
    headRows: readonly HeadRow[],
    slabs: readonly Rows[],
    head: Rows,
    result: ResultBuilder<Sequence>,
  ): void {
    const { hidden, selected, logits, entropy } = this.#buffers;
    const { hiddenSize, vocabularySize } = this.#options.checkpoint.config;
    const network = this.#network;
    for (const { first, row, count } of runsOf(headRows)) {
      const bytes = hiddenSize * 4;
      recorder.encoder.copyBufferToBuffer(
        hidden,
        row * bytes,
        selected,
        first * bytes,
        count * bytes,
      );
    }
    network.finalNorm(recorder.pass, head);
    slabs.forEach((slab, index) => {
      const first = index * this.#slabRows;
      for (const run of network.head) run(recorder.pass, slab);
      if (result.read.losses) network.entropy(recorder.pass, slab);
      if (result.read.logits) {
        const bytes = slab.count * vocabularySize * 4;
        readBack.copy(recorder.encoder, logits, bytes, (copy) => {
          result.addLogits(headRows.slice(first, first + slab.count), new Float32Array(copy));
        });
      }
    });
    if (result.read.losses) {
      readBack.copy(recorder.encoder, entropy, head.count * 8, (copy) => {
        result.addLosses(headRows, new Float32Array(copy));
      });
    }
  }

  /** Writes everything a step's kernels read, and says where each group of rows is described. */
  #writeStep(
    entries: readonly ForwardEntry<Sequence>[],
    plan: StepPlan,
    headRows: readonly HeadRow[],
  ): { rows: Rows; head: Rows; slabs: Rows[] } {
    const { device, checkpoint } = this.#options;
    const slots = new Uint32Array(this.#buffers.step.size / 4);
    let offset = 0;
    function slot(count: number, firstRow: number): Rows {
      const rows = { count, offset };
      slots.set([count, firstRow], offset / 4);
      offset += SLOT_BYTES;
      return rows;
    }
    const rows = slot(plan.tokens, 0);
    const head = slot(headRows.length, 0);
    const slabs: Rows[] = [];
    for (let first = 0; first < headRows.length; first += this.#slabRows) {
      slabs.push(slot(Math.min(this.#slabRows, headRows.length - first), first));
    }

    const tokenIds = this.#writeEmbedded(entries, plan);
    const targets = headRows.map(({ target }) => target ?? NO_TARGET);
    device.queue.writeBuffer(this.#buffers.step, 0, slots);
    device.queue.writeBuffer(this.#buffers.tokenIds, 0, Uint32Array.from(tokenIds));
    if (targets.length > 0) {
      device.queue.writeBuffer(this.#buffers.targets, 0, Uint32Array.from(targets));
    }
    if (this.#options.keySpace === "as-scored") {
      const { config } = checkpoint;
      modelRopes(config).ropes.forEach((rope, table) => {
        const first = turnsBefore(table, this.#options.maxTokens, config.headDim);
        device.queue.writeBuffer(this.#buffers.turns, first * TURN_BYTES, turns(plan, rope));
      });
    }
    return { rows, head, slabs };
  }

  /** Writes given embeddings to their rows; the ids of the step's tokens, none where one is given. */
  #writeEmbedded(
    entries: readonly ForwardEntry<Sequence>[],
    { segments }: StepPlan,
  ): number[] {
    const { device, checkpoint: { config: { hiddenSize } } } = this.#options;
    return segments.flatMap(({ entry, start, count, row }) => {
      const { tokenIds, embedded } = entries[entry]!;
      const ids = tokenIds.slice(start, start + count);
      if (embedded === undefined) return ids;
      const { first, vectors } = embedded;
      const from = Math.max(first, start);
      const to = Math.min(first + vectors.length / hiddenSize, start + count);
      if (to <= from) return ids;
      device.queue.writeBuffer(
        this.#buffers.hidden,
        (row + from - start) * hiddenSize * 4,
        vectors,
        (from - first) * hiddenSize,
        (to - from) * hiddenSize,
      );
      return ids.fill(NO_TOKEN, from - start, to - start);
    });
  }
}

/** An id beyond any vocabulary: the embedding kernel leaves its row alone. */
const NO_TOKEN = 0xffffffff;
