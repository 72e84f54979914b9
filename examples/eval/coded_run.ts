import {
  type CodebookSet,
  type KeySpace,
  parseScheme,
  type Policy,
  rotate,
  type SchemeId,
  type Sequence,
  type Side,
  SIDES,
} from "@couplet/kv";
import { bySide } from "../../src/model/by_side.ts";
import type { ModelRun } from "../demo/evaluate.ts";
import {
  type Checkpoint,
  type ForwardResult,
  layerKeys,
  modelCacheOptions,
  type ModelConfig,
  onlyRope,
} from "../engine/mod.ts";
import { type ReferenceForward, referenceForward } from "../engine/reference.ts";
import { summarizeUsage } from "./code_usage.ts";
import type { CodedContexts } from "./coded_contexts.ts";
import type { CodeUsageFigures } from "./figures/results.ts";
import { joinFloats } from "../../src/base/join_floats.ts";
import { isLearned } from "./methods.ts";
import { type CodedSide, SideCoder } from "./side_coder.ts";

/** How one side of a layer is coded. */
export interface TextCoder {
  readonly scheme: SchemeId;
  /** Codes all tokens of a text, `[tokens][keyValueHeads][headDim]`. */
  code(vectors: Float64Array): CodedSide;
}

/** How a {@linkcode CodedRun} codes keys and values. */
export interface RunCoding {
  readonly keySpace: KeySpace;
  readonly layers: readonly Readonly<Record<Side, TextCoder>>[];
}

/** A policy, and what its codes need. */
export interface PolicyCoding {
  readonly policy: Policy;
  readonly keySpace: KeySpace;
  /** Of all schemes of the policy that have learned ones. */
  readonly codebooks?: CodebookSet | undefined;
}

/**
 * Codes as a policy says.
 *
 * @throws {CoupletError} `codebook` where one is missing.
 */
export function policyCoding(
  config: ModelConfig,
  { policy, keySpace, codebooks }: PolicyCoding,
): RunCoding {
  const { layers, keyValueHeads, headDim } = config;
  const cacheOptions = modelCacheOptions(config, keySpace);
  return {
    keySpace,
    layers: Array.from({ length: layers }, (_, layer) => {
      const own = policy.layers?.[layer] ?? policy;
      const keys = layerKeys(cacheOptions, layer);
      return bySide((side) =>
        new SideCoder({ scheme: own[side], layer, side, keyValueHeads, headDim, keys, codebooks })
      );
    }),
  };
}

/** A text in the middle of its run. */
interface Held {
  readonly tokenIds: number[];
  /** By layer, as far as they were coded. */
  layers: Record<Side, CodedSide>[];
}

/**
 * A model in float64 on the CPU, all of whose keys and values are coded by the schemes' own arithmetic, those of unfinished
 * blocks too: a query reads even its own token by its code. Without a coding everything is exact.
 *
 * Blocks are of the text as far as it is known, so a text that goes on is computed again from its beginning.
 */
export class CodedRun implements ModelRun {
  readonly cache: ModelRun["cache"] = {
    createSequence: () => {
      const sequence = { id: this.#nextId++ };
      this.#held.set(sequence, { tokenIds: [], layers: [] });
      return sequence;
    },
    freeSequence: (sequence) => void this.#held.delete(sequence),
  };
  readonly #checkpoint: Checkpoint;
  readonly #coding: RunCoding | undefined;
  readonly #held = new Map<Sequence, Held>();
  #nextId = 0;

  constructor(checkpoint: Checkpoint, coding?: RunCoding) {
    this.#checkpoint = checkpoint;
    this.#coding = coding;
  }

  /** As `Engine.forward`; nothing is computed before something is read. */
  readonly forward: ModelRun["forward"] = (entries, read): Promise<ForwardResult> => {
    for (const { sequence, tokenIds } of entries) {
      this.#held.get(sequence)!.tokenIds.push(...tokenIds);
    }
    if (Object.keys(read).length === 0) return Promise.resolve({});
    const { vocabularySize, queryHeads, keyValueHeads, headDim } = this.#checkpoint.config;
    const results = entries.map(({ sequence, tokenIds }) => {
      const { given, logits, queries } = this.#run(this.#held.get(sequence)!);
      const added = (rows: Float64Array, width: number) =>
        Float32Array.from(rows.subarray(rows.length - tokenIds.length * width));
      return {
        logits: added(logits, vocabularySize),
        queries: queries.map((rows) => added(rows, queryHeads * headDim)),
        keys: given.keys.map((rows) => added(rows, keyValueHeads * headDim)),
        values: given.values.map((rows) => added(rows, keyValueHeads * headDim)),
      };
    });
    const layers = (kind: "queries" | "keys" | "values") =>
      results[0]![kind].map((_, layer) => joinFloats(results.map((one) => one[kind][layer]!)));
    return Promise.resolve({
      logits: results.map(({ logits }) => logits),
      queries: layers("queries"),
      keys: layers("keys"),
      values: layers("values"),
    });
  };

  /** What sequences hold, the first of them as contexts. */
  contexts(sequences: readonly Sequence[]): CodedContexts {
    return {
      keySpace: this.#coding?.keySpace ?? "pre-rope",
      tiers: { sinks: 0, window: 0 },
      block: 1,
      decode: (context, layer, side) =>
        Promise.resolve({
          first: 0,
          vectors: this.#held.get(sequences[context]!)!.layers[layer]![side].decoded,
        }),
    };
  }

  /** How often some sequences use the learned centroids of each layer and side. */
  codeUsage(sequences: readonly Sequence[]): readonly CodeUsageFigures[] {
    const { headDim } = this.#checkpoint.config;
    return this.#coding!.layers.flatMap((coders, layer) =>
      SIDES.flatMap((side) => {
        const { scheme } = coders[side];
        if (!isLearned(scheme)) return [];
        const { centroids, layout } = parseScheme(scheme);
        const places = layout(headDim).codes;
        const texts = sequences.map((sequence) => this.#held.get(sequence)!.layers[layer]![side]);
        const counts = texts[0]!.codes.flatMap((_, head) => {
          const own = Array.from({ length: places }, () => new Uint32Array(centroids));
          for (const { codes } of texts) {
            codes[head]!.forEach((code, i) => own[i % places]![code]!++);
          }
          return own;
        });
        const tokens = texts.reduce((sum, { codes }) => sum + codes[0]!.length / places, 0);
        return [{ layer, side, scheme, tokens, ...summarizeUsage(counts) }];
      })
    );
  }

  /** Runs a text from its beginning, and keeps what is coded of it. */
  #run(held: Held): ReferenceForward & { given: Record<Side, Float64Array[]> } {
    const given: Record<Side, Float64Array[]> = { keys: [], values: [] };
    const coded: Record<Side, CodedSide[]> = { keys: [], values: [] };
    const forward = referenceForward(this.#checkpoint, held.tokenIds, (layer, side, vectors) => {
      given[side].push(vectors.slice());
      const coder = this.#coding?.layers[layer]?.[side];
      if (coder === undefined) return;
      const turned = side === "keys" && this.#coding!.keySpace === "as-scored";
      const found = coder.code(turned ? this.#turned(vectors, 1) : vectors);
      coded[side].push(found);
      vectors.set(turned ? this.#turned(found.decoded, -1) : found.decoded);
    });
    held.layers = coded.keys.map((keys, layer) => ({ keys, values: coded.values[layer]! }));
    return { ...forward, given };
  }

  /** Keys with their rotary embedding, or with -1 without. */
  #turned(keys: Float64Array, way: 1 | -1): Float64Array {
    const { config } = this.#checkpoint;
    const { keyValueHeads, headDim } = config;
    const { parameters, frequencies } = onlyRope(config);
    const turned = new Float64Array(keys.length);
    for (let at = 0; at < keys.length; at += headDim) {
      const position = Math.floor(at / (keyValueHeads * headDim));
      const key = keys.subarray(at, at + headDim);
      turned.set(rotate(key, way * position, parameters, frequencies), at);
    }
    return turned;
  }
}
