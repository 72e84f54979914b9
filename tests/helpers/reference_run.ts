/** What the float64 reference makes of a scenario: once, for all kernels that must make the same of it. */
import {
  type CacheOptions,
  type CodebookSet,
  createReferenceCache,
  layerShape,
  parseScheme,
  type ReferenceCache,
  type ReferenceSequence,
  type ReferenceSpan,
  type Scheme,
  schemeCodec,
  type Side,
} from "../../mod.ts";
import { headCodebooks } from "../../src/codebooks/head_codebooks.ts";
import { bySide } from "../../src/model/by_side.ts";
import { sideDim, SIDES } from "../../src/model/side.ts";
import { layerKeys } from "../../src/plan/options.ts";
import { keyTurn } from "../../src/schemes/key_turn.ts";
import { cacheCodebook } from "../../src/codebooks/find.ts";
import { seededRandom } from "../../src/base/random.ts";
import { finiteFloat16Bits, fromFloat16Bits } from "../../src/base/float16.ts";
import { gridCodebooks, gridVectors } from "./grid_numbers.ts";

/** A step: tokens by sequence index, a rollback of one sequence to a length, or a span that is handed over to one. */
export type Move =
  | {
    readonly tokens: Readonly<Record<number, number>>;
    /** Append, but ask nothing. */
    readonly silent?: boolean;
    /** The tokens' positions by sequence index, `[3][tokens]`, where they have several. */
    readonly positions?: Readonly<Record<number, readonly number[]>>;
  }
  | { readonly truncate: number; readonly length: number }
  | {
    readonly span: number;
    /** The kind. */
    readonly name: string;
    readonly tokens: number;
    /** The tokens among those that the host has. */
    readonly indices?: readonly number[];
  };

/** The entries of a step. */
export function stepEntries<S>(
  { tokens: counts, positions = {} }: Extract<Move, { readonly tokens: object }>,
  sequences: readonly S[],
): { readonly sequence: S; readonly tokens: number; readonly positions?: readonly number[] }[] {
  return Object.entries(counts).map(([name, tokens]) => {
    const index = Number(name);
    const own = positions[index];
    return { sequence: sequences[index]!, tokens, ...(own && { positions: own }) };
  });
}

/** What is run. */
export interface Scenario {
  readonly options: CacheOptions;
  readonly moves: readonly Move[];
  readonly seed?: number;
  readonly sinkLogits?: Float32Array<ArrayBuffer>;
  /** Whether codebooks carry a channel scale. */
  readonly scaled?: boolean;
  /** Codebooks to use; random ones that f32 and float64 code alike where absent. */
  readonly codebooks?: CodebookSet;
  /** Numbers that a host should not give, in place of some of its own. */
  readonly bad?: readonly BadNumber[];
}

/** A number that binary16 cannot hold, or one far from all others, and where it comes, in every layer. */
export interface BadNumber {
  readonly number: number;
  readonly side: Side;
  readonly sequence: number;
  readonly position: number;
  /** Among those of all KV heads. */
  readonly channel: number;
}

/** What one layer gets and gives in a step. */
export interface LayerStep {
  readonly keys: Float32Array<ArrayBuffer>;
  readonly values: Float32Array<ArrayBuffer>;
  /** Queries and the attention to them; absent where the step is silent. */
  readonly attention?: {
    readonly queries: Float32Array<ArrayBuffer>;
    readonly output: Float32Array<ArrayBuffer>;
  };
}

/** A scenario with all its numbers. */
export class ReferenceRun {
  readonly options: CacheOptions;
  readonly codebooks: CodebookSet;
  readonly sinkLogits: Float32Array<ArrayBuffer> | undefined;
  /** The moves, each step with `[layers]` of numbers. */
  readonly moves: readonly { readonly move: Move; readonly layers: readonly LayerStep[] }[];
  readonly cache: ReferenceCache;
  /** The sequences at the scenario's end. */
  readonly sequences: readonly ReferenceSequence[];
  /** The spans, in the order they were added; some were dropped again. */
  readonly spans: readonly ReferenceSpan[];
  /** What each sequence's tokens were given, `[layers][positions]` vectors `[keyValueHeads][headDim]`. */
  readonly #given: readonly (readonly Readonly<Record<Side, Float32Array[]>>[])[];
  readonly #decoded = new Map<string, Float64Array>();

  constructor(
    { options, moves, seed = 1, sinkLogits, scaled = false, codebooks, bad = [] }: Scenario,
  ) {
    const random = seededRandom(seed);
    this.options = options;
    this.codebooks = codebooks ?? gridCodebooks(options, random, scaled);
    this.sinkLogits = sinkLogits;
    const cache = createReferenceCache({
      ...options,
      codebooks: this.codebooks,
      ...(sinkLogits === undefined ? {} : { sinkLogits }),
    });
    const sequences = Array.from(
      { length: options.capacity.sequences },
      () => cache.createSequence(),
    );
    const { shape } = options;
    const held = sequences.map(() =>
      Array.from(
        { length: shape.layers },
        (): Record<Side, Float32Array[]> => ({ keys: [], values: [] }),
      )
    );
    const spans: ReferenceSpan[] = [];
    this.spans = spans;
    this.moves = moves.map((move) => {
      if ("span" in move) {
        const { name, tokens, indices } = move;
        const span = cache.addSpan(sequences[move.span]!, name, tokens);
        spans.push(span);
        const rows = indices === undefined ? tokens : indices.at(-1)! + 1;
        const layers = Array.from({ length: shape.layers }, (_, layer) => {
          const own = layerShape(shape, layer);
          const [keys, values] = SIDES.map((side) =>
            gridVectors(random, rows * own.keyValueHeads * sideDim(own, side))
          );
          cache.encodeSpan(span, layer, {
            keys: keys!,
            values: values!,
            ...(indices === undefined ? {} : { indices }),
          });
          return { keys: keys!, values: values! };
        });
        return { move, layers };
      }
      if ("truncate" in move) {
        cache.truncate(sequences[move.truncate]!, move.length);
        for (const { keys, values } of held[move.truncate]!) {
          keys.length = values.length = move.length;
        }
        return { move, layers: [] };
      }
      const step = cache.beginStep(stepEntries(move, sequences));
      const tokens = step.entries.reduce((sum, entry) => sum + entry.tokens, 0);
      const layers = Array.from({ length: shape.layers }, (_, layer): LayerStep => {
        const heads = layerShape(shape, layer);
        const { queryHeads, headDim } = heads;
        const isOwn = (shape.sharesWith?.[layer] ?? layer) === layer;
        const sizes = bySide((side) => heads.keyValueHeads * sideDim(heads, side));
        const given = bySide((side) => gridVectors(random, isOwn ? tokens * sizes[side] : 0));
        const { keys, values } = given;
        let row = 0;
        for (const { sequence, tokens, firstPosition } of step.entries) {
          const index = sequences.indexOf(sequence);
          const own = held[index]![layer]!;
          for (
            const { number, side, position, channel } of bad.filter((one) => one.sequence === index)
          ) {
            const place = position - firstPosition;
            if (place < 0 || place >= tokens) continue;
            given[side][(row + place) * sizes[side] + channel] = number;
          }
          for (const end = row + (isOwn ? tokens : 0); row < end; row++) {
            for (const side of SIDES) {
              own[side].push(given[side].subarray(row * sizes[side], (row + 1) * sizes[side]));
            }
          }
        }
        if (isOwn) cache.append(step, layer, { keys, values });
        if (move.silent) return { keys, values };
        const queries = gridVectors(random, tokens * queryHeads * headDim)
          .map((x) => x / 4);
        const output = cache.attend(step, layer, { queries });
        return { keys, values, attention: { queries, output } };
      });
      return { move, layers };
    });
    this.cache = cache;
    this.sequences = sequences;
    this.#given = held;
  }

  /**
   * What a sequence's tokens were given; all is exact in binary16, but for bad numbers, which are here as they are kept.
   *
   * @returns `[tokens][keyValueHeads][channels of the side]`.
   */
  given(sequence: number, layer: number, side: Side): Float32Array<ArrayBuffer> {
    const given = this.#given[sequence]![layer]![side].flatMap((own) => [...own]);
    return Float32Array.from(given, (number) => fromFloat16Bits(finiteFloat16Bits(number)));
  }

  /**
   * What the records of a sequence's first coded tokens stand for, by their scheme.
   *
   * @returns `[tokens][keyValueHeads][channels of the side]`.
   */
  decoded(sequence: number, layer: number, side: Side, tokens: number): Float64Array {
    const id = `${sequence} ${layer} ${side} ${tokens}`;
    let vectors = this.#decoded.get(id);
    if (vectors === undefined) {
      vectors = this.#decode(sequence, layer, side, tokens);
      this.#decoded.set(id, vectors);
    }
    return vectors;
  }

  #decode(sequence: number, layer: number, side: Side, tokens: number): Float64Array {
    const { tiers } = this.options;
    const headDim = sideDim(layerShape(this.options.shape, layer), side);
    const keys = layerKeys(this.options.keys, layer);
    const scheme = this.scheme(layer, side);
    const codec = schemeCodec(scheme);
    const { tokens: recordTokens, words: recordWords } = scheme.layout(headDim);
    const records = this.cache.records(this.sequences[sequence]!, layer, side, tokens);
    const heads = { keyValueHeads: records.length, headDim };
    const codebook = cacheCodebook(this.codebooks, heads, layer, side, scheme.id);
    const codebooks = headCodebooks(scheme, codebook, records.length, headDim);
    const turn = side === "keys" ? keyTurn(scheme, keys, headDim, tiers.sinks) : undefined;
    const vectors = new Float64Array(tokens * records.length * headDim);
    records.forEach((words, head) => {
      for (let token = 0; token < tokens; token++) {
        const index = token % recordTokens;
        const word = ((token - index) / recordTokens) * recordWords;
        const start = token - index;
        const vector = codec.decode(words.subarray(word, word + recordWords), index, headDim, {
          ...codebooks[head]!,
          scored: side === "keys" && keys.space === "as-scored",
          ...(turn && { turn: (vector, index, way) => turn(vector, start + index, way) }),
        });
        vectors.set(vector, (token * records.length + head) * headDim);
      }
    });
    return vectors;
  }

  /** The scheme of one side of a layer. */
  scheme(layer: number, side: Side): Scheme {
    const { policy } = this.options;
    return parseScheme((policy.layers?.[layer] ?? policy)[side]);
  }
}
