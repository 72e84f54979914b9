import {
  type Cache,
  type CachePlan,
  type CodebookSet,
  createCache,
  planCache,
  type PlanOptions,
  type Sequence,
  spanKinds,
  type SpanPolicies,
} from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import {
  createEngine,
  type Engine,
  type KeptTokens,
  modelCacheInit,
  modelCacheOptions,
  plannedEngineOptions,
} from "../engine/mod.ts";
import { rotateHeads } from "../engine/rotate_heads.ts";
import { TOKENS_BEFORE_VIDEO, videoPrompt } from "./video_prompt.ts";
import type { VisionModel } from "./vision_model.ts";

/** A video as the model has read it, exactly. */
export interface SeenVideo {
  /** Its first token, and the video. */
  readonly sequence: Sequence;
  /** Visual tokens. */
  readonly tokens: number;
  /** Their keys, as they are scored, and values, by layer, `[tokens][keyValueHeads][headDim]`. */
  readonly layers: KeptTokens["layers"];
}

/** Some of a video's tokens, and the span of the plan that they go to. */
export interface SpanPart {
  /** A name of the plan's `spans`. */
  readonly name: string;
  /** Which visual tokens, ascending; all where absent. */
  readonly indices?: readonly number[];
}

/** What a {@linkcode VisionHost} is made of. */
export interface VisionHostOptions {
  readonly device: GPUDevice;
  readonly model: VisionModel;
  /** Kinds of spans by name, as `spanKinds` takes them. */
  readonly spans: SpanPolicies;
  /** Codebooks of the spans whose schemes are learned. */
  readonly codebooks?: CodebookSet;
  /** Most tokens of text behind a video. */
  readonly textTokens: number;
}

/**
 * Reads videos and answers questions about them, through a cache whose ordinary tokens are exact: a
 * video's own are either ordinary tokens too, or spans.
 */
export class VisionHost {
  readonly #model: VisionModel;
  readonly #cache: Cache;
  readonly #engine: Engine<Sequence>;

  private constructor(model: VisionModel, cache: Cache, engine: Engine<Sequence>) {
    this.#model = model;
    this.#cache = cache;
    this.#engine = engine;
  }

  /**
   * Plans and creates a cache, and brings the model to the device.
   *
   * @throws {CoupletError} what the planner, the cache and the engine throw.
   */
  static async create(options: VisionHostOptions): Promise<VisionHost> {
    const { device, model, codebooks } = options;
    const plan = planCache({ ...visionPlanOptions(options), limits: device.limits });
    const cache = await createCache({
      device,
      plan,
      ...modelCacheInit(model.text),
      model: model.fingerprint,
      ...(codebooks ? { codebooks } : {}),
    });
    const engine = await createEngine({
      device,
      checkpoint: model.text,
      cache,
      ...plannedEngineOptions(plan, model.text.config),
    });
    return new VisionHost(model, cache, engine);
  }

  /** The cache's plan. */
  get plan(): CachePlan {
    return this.#cache.plan;
  }

  /**
   * Reads a video with exact attention: its tokens are ordinary tokens of a new sequence, and their
   * keys and values are kept as well, to make spans of.
   */
  async read(pixels: Uint8Array): Promise<SeenVideo> {
    const { device } = this.#engine;
    const { keyValueHeads, headDim, layers } = this.#model.text.config;
    const prompt = videoPrompt(this.#model, pixels);
    const tokens = prompt.tokenIds.length - TOKENS_BEFORE_VIDEO;
    const buffer = () =>
      device.createBuffer({
        label: "video",
        size: tokens * keyValueHeads * headDim * Float32Array.BYTES_PER_ELEMENT,
        usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
      });
    const kept: KeptTokens = {
      first: TOKENS_BEFORE_VIDEO,
      tokens,
      layers: Array.from({ length: layers }, () => ({ keys: buffer(), values: buffer() })),
    };
    const sequence = this.#engine.createSequence();
    await this.#engine.forward([{ sequence, ...prompt, kept }]);
    return { sequence, tokens, layers: kept.layers };
  }

  /** A sequence that sees a video exactly. */
  exact({ sequence }: SeenVideo): Sequence {
    const encoder = this.#engine.device.createCommandEncoder({ label: "exact" });
    const fork = this.#cache.encodeFork(encoder, sequence);
    this.#engine.device.queue.submit([encoder.finish()]);
    return fork;
  }

  /**
   * A sequence that sees a video by the codes of spans: it is taken back to before the video, and
   * the kept keys and values are handed over at once.
   *
   * @param parts Spans that have no token in common; none to hide the video.
   */
  compress({ sequence, tokens, layers }: SeenVideo, parts: readonly SpanPart[]): Sequence {
    const { device } = this.#engine;
    const encoder = device.createCommandEncoder({ label: "compress" });
    const compressed = this.#cache.encodeFork(encoder, sequence);
    this.#cache.truncate(compressed, TOKENS_BEFORE_VIDEO);
    for (const { name, indices } of parts) {
      const span = this.#cache.addSpan(compressed, name, indices?.length ?? tokens);
      layers.forEach(({ keys, values }, layer) => {
        this.#cache.encodeSpan(encoder, span, layer, {
          keys: { buffer: keys },
          values: { buffer: values },
          ...(indices ? { indices } : {}),
        });
      });
    }
    device.queue.submit([encoder.finish()]);
    return compressed;
  }

  /**
   * A sequence whose video has other keys and values, as ordinary tokens: for codecs that have no
   * kernels.
   *
   * @param layers Keys, as they are scored, and values, by layer, `[tokens][keyValueHeads][headDim]`.
   */
  substitute(
    { sequence, tokens }: SeenVideo,
    layers: readonly {
      readonly keys: Float32Array<ArrayBuffer>;
      readonly values: Float32Array<ArrayBuffer>;
    }[],
  ): Sequence {
    const { device } = this.#engine;
    const encoder = device.createCommandEncoder({ label: "substitute" });
    const substituted = this.#cache.encodeFork(encoder, sequence);
    this.#cache.truncate(substituted, TOKENS_BEFORE_VIDEO);
    const step = this.#cache.beginStep([{ sequence: substituted, tokens }]);
    const buffers = layers.flatMap(({ keys, values }, layer) => {
      const [given, other] = [keys, values].map((vectors) => {
        const buffer = device.createBuffer({
          label: "substitute",
          size: vectors.byteLength,
          usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
        });
        device.queue.writeBuffer(buffer, 0, vectors);
        return buffer;
      }) as [GPUBuffer, GPUBuffer];
      this.#cache.encodeAppend(encoder, step, layer, {
        keys: { buffer: given },
        values: { buffer: other },
      });
      return [given, other];
    });
    device.queue.submit([encoder.finish()]);
    for (const buffer of buffers) buffer.destroy();
    return substituted;
  }

  /**
   * Appends text behind a video, and gives the logits of each of its tokens,
   * `[tokens][vocabularySize]`.
   *
   * @param sequence What {@linkcode exact}, {@linkcode compress} or {@linkcode substitute} gave.
   */
  async ask(
    { tokens }: SeenVideo,
    sequence: Sequence,
    tokenIds: readonly number[],
  ): Promise<Float32Array<ArrayBuffer>> {
    // Tokens of spans have no place in the cache, and positions go on behind them.
    const position = TOKENS_BEFORE_VIDEO + tokens;
    const { logits } = await this.#engine.forward([{ sequence, tokenIds, position }], {
      logits: "all",
    });
    return logits![0]!;
  }

  /**
   * The queries of text behind a video that is seen exactly, as they score its keys, by layer,
   * `[tokens][queryHeads][headDim]`.
   */
  async queries(
    seen: SeenVideo,
    tokenIds: readonly number[],
  ): Promise<Float32Array<ArrayBuffer>[]> {
    const { config } = this.#model.text;
    const position = TOKENS_BEFORE_VIDEO + seen.tokens;
    const sequence = this.exact(seen);
    const { queries } = await this.#engine.forward([{ sequence, tokenIds, position }], {
      queries: true,
    });
    this.free(sequence);
    return queries!.map((one) =>
      rotateHeads(one, [tokenIds.length], config.queryHeads, config, position)
    );
  }

  /** Frees a sequence that sees a video. */
  free(sequence: Sequence): void {
    this.#cache.freeSequence(sequence);
  }

  /** Frees a video. */
  forget({ sequence, layers }: SeenVideo): void {
    this.#cache.freeSequence(sequence);
    for (const { keys, values } of layers) {
      keys.destroy();
      values.destroy();
    }
  }

  /** Frees all but the device. */
  destroy(): void {
    this.#engine.destroy();
    this.#cache.destroy();
  }
}

/** What the planner is asked for. */
export function visionPlanOptions(
  { model, spans, textTokens }: Pick<VisionHostOptions, "model" | "spans" | "textTokens">,
): PlanOptions {
  const { vision, text } = model;
  const read = TOKENS_BEFORE_VIDEO + vision.frameTokens * vision.maxFrames;
  const sequenceTokens = read + textTokens;
  return {
    ...modelCacheOptions(text.config, "as-scored"),
    policy: { keys: "f16", values: "f16" },
    tiers: { sinks: 0, window: 0 },
    // A video as it was read, and one more that sees it by codes.
    capacity: {
      sequences: 2,
      tokens: 2 * sequenceTokens,
      sequenceTokens,
      stepTokens: Math.max(read, textTokens),
      appendTokens: Math.max(read, textTokens),
    },
    ...(Object.keys(spans).length > 0 ? { spans: spanKinds(spans) } : {}),
    kernels: manifest,
  };
}
