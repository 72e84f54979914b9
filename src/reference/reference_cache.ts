import type { KeyOptions, ModelShape, Policy } from "../cache_types.ts";
import type { CodebookSet, ModelFingerprint } from "../codebook.ts";
import { checkSinkLogits, type ResolvedOptions, resolveOptions } from "../cache_options.ts";
import { ringSlots } from "../cache_sizes.ts";
import { CoupletError } from "../errors.ts";
import { cacheCodebook, checkCodebookSet } from "../find_codebook.ts";
import { parseScheme, type SchemeId, type Side } from "../scheme.ts";
import { attend, type ExactTiers, seesExactly } from "./attention.ts";
import { SideStore } from "./side_store.ts";

/** What {@linkcode createReferenceCache} needs: the options of a plan, of which limits and kernels do not matter here. */
export interface ReferenceCacheOptions {
  /** The shape of the model's attention. */
  readonly shape: ModelShape;
  /** Which scheme each layer uses for keys and for values. */
  readonly policy: Policy;
  /** How keys (and queries) reach the cache. */
  readonly keys: KeyOptions;
  /** Tokens each query sees exactly. */
  readonly tiers: ExactTiers;
  /** Sequences grow without bound; only the number of tokens one sequence may add in one step is fixed. */
  readonly capacity: {
    /** Most new tokens of one sequence in one step. */
    readonly appendTokens: number;
  };
  /** Factor of `q . k`; `headDim ** -0.5` where absent. */
  readonly scale?: number;
  /** Scores become `softcap * tanh(score / softcap)` where present. */
  readonly softcap?: number;
  /** Learned attention sinks, `[layers][queryHeads]`: one more logit in each head's softmax, without a value. */
  readonly sinkLogits?: Float32Array<ArrayBuffer>;
  /** Codebooks of every layer, side and scheme of the policy; not needed where all schemes are `f16`. */
  readonly codebooks?: CodebookSet;
  /** The model in use, to refuse the codebooks of another. */
  readonly model?: ModelFingerprint;
}

/** One sequence of a {@linkcode ReferenceCache}; opaque. */
export interface ReferenceSequence {
  /** Distinguishes the sequences of one cache, for people. */
  readonly id: number;
}

/** One step's share of one sequence. */
export interface ReferenceStepEntry {
  /** The sequence that grows. */
  readonly sequence: ReferenceSequence;
  /** Tokens it grows by, from 1 to `appendTokens`. */
  readonly tokens: number;
}

/** New tokens of some sequences, going through all layers; opaque. */
export interface ReferenceStep {
  /** The entries {@linkcode ReferenceCache.beginStep} was given, with the position of each one's first token. */
  readonly entries: readonly (ReferenceStepEntry & { readonly firstPosition: number })[];
}

/**
 * The cache on the CPU, in float64: the oracle of the WebGPU cache, and what a program that has no
 * WebGPU may ask for by name. A query at position i sees token j <= i exactly (as binary16) where
 * `j < sinks` or `j > i - window`, else through codes that were made once, from the binary16 value, when
 * the token left the window.
 */
export interface ReferenceCache {
  /** A new, empty sequence. */
  createSequence(): ReferenceSequence;
  /** A new sequence that holds the same tokens. */
  forkSequence(sequence: ReferenceSequence): ReferenceSequence;
  /**
   * The records of a sequence's first `tokens` tokens past the sinks, `[keyValueHeads]` runs of words.
   *
   * @throws {CoupletError} `usage` where one of them is not coded.
   */
  records(
    sequence: ReferenceSequence,
    layer: number,
    side: Side,
    tokens: number,
  ): Uint32Array<ArrayBuffer>[];
  /** Gives a sequence up; it cannot be used any more. */
  freeSequence(sequence: ReferenceSequence): void;
  /** Tokens of a sequence, those of a step begun included. */
  length(sequence: ReferenceSequence): number;
  /**
   * Takes back the tokens from `length` on. Where no more than `appendTokens` are taken back, it is as if
   * they had never been; beyond, exact tokens that had left the window are seen through their codes
   * although they are in it again.
   *
   * @throws {CoupletError} `usage` where the sequence does not hold so many tokens.
   */
  truncate(sequence: ReferenceSequence, length: number): void;
  /**
   * Begins a step: lengths advance here. Then, for each layer, {@linkcode append} and {@linkcode attend}.
   *
   * @throws {CoupletError} `capacity` where an entry has more than `appendTokens` tokens; `usage` where
   * a sequence is unknown or named twice. Nothing has changed then.
   */
  beginStep(entries: readonly ReferenceStepEntry[]): ReferenceStep;
  /**
   * Stores one layer's keys and values of a step's tokens.
   *
   * @param vectors `[tokens][keyValueHeads][headDim]` each, the entries' tokens one after the other.
   * @throws {CoupletError} `shape` where sizes do not match; `usage` where a layer is appended twice, or
   * steps out of order.
   */
  append(
    step: ReferenceStep,
    layer: number,
    vectors: { readonly keys: Float32Array; readonly values: Float32Array },
  ): void;
  /**
   * Attention of a step's queries over all tokens of their sequences, in one layer.
   *
   * @param vectors `[tokens][queryHeads][headDim]`, the entries' tokens one after the other.
   * @returns `[tokens][queryHeads][headDim]`.
   * @throws {CoupletError} as {@linkcode append} does.
   */
  attend(
    step: ReferenceStep,
    layer: number,
    vectors: { readonly queries: Float32Array },
  ): Float32Array<ArrayBuffer>;
}

/** One layer of one sequence. */
interface LayerState {
  readonly keys: SideStore;
  readonly values: SideStore;
  /** Tokens appended. */
  length: number;
  /** Tokens below this one, sinks aside, are coded. */
  coded: number;
}

/** One sequence. */
interface SequenceState {
  readonly layers: readonly LayerState[];
  length: number;
  /** Tokens below this one, sinks aside, lost their exact values to others that were then taken back. */
  exactFrom: number;
}

/**
 * A cache on the CPU; see {@linkcode ReferenceCache}. Slow, and the same numbers everywhere.
 *
 * @throws {CoupletError} `scheme`, `shape` or `codebook` where the options do not fit together.
 */
export function createReferenceCache(options: ReferenceCacheOptions): ReferenceCache {
  const resolved = resolve(options);
  const { shape, tiers, keys: keySpace, block } = resolved;
  const { appendTokens } = resolved.capacity;
  const stores = storeMakers(options, resolved);
  const { sinkLogits } = options;
  checkSinkLogits(sinkLogits, shape);
  const sequences = new Map<ReferenceSequence, SequenceState>();
  let nextId = 0;

  function stateOf(sequence: ReferenceSequence): SequenceState {
    const state = sequences.get(sequence);
    if (state === undefined) {
      throw new CoupletError("usage", {
        what: "Cannot use a sequence",
        why: `sequence ${sequence.id} was freed, or belongs to another cache`,
        remedy: "Use sequences of this cache's createSequence() until they are freed",
      });
    }
    return state;
  }

  function layerOf(sequence: ReferenceSequence, layer: number): LayerState {
    const state = stateOf(sequence).layers[layer];
    if (state === undefined) {
      throw new CoupletError("usage", {
        what: `Cannot use layer ${layer}`,
        why: `the shape has layers 0 to ${shape.layers - 1}`,
        remedy: "Pass a layer of the shape",
      });
    }
    return state;
  }

  /** Checks that every entry's layer holds `before(entry)` tokens: that calls come in order. */
  function checkOrder(step: ReferenceStep, layer: number, appended: boolean): void {
    for (const { sequence, firstPosition, tokens } of step.entries) {
      const wanted = firstPosition + (appended ? tokens : 0);
      const { length } = layerOf(sequence, layer);
      if (length !== wanted || stateOf(sequence).length !== firstPosition + tokens) {
        throw new CoupletError("usage", {
          what: `Cannot ${appended ? "attend in" : "append to"} layer ${layer}`,
          why:
            `it holds ${length} tokens of sequence ${sequence.id} where the step needs ${wanted}`,
          remedy: "Append to each layer once per step, then attend, before the next step begins",
        });
      }
    }
  }

  function checkSize(
    name: string,
    step: ReferenceStep,
    heads: number,
    vectors: Float32Array,
  ): void {
    const tokens = step.entries.reduce((sum, entry) => sum + entry.tokens, 0);
    const wanted = tokens * heads * shape.headDim;
    if (vectors.length !== wanted) {
      throw new CoupletError("shape", {
        what: `Cannot use the step's ${name}`,
        why:
          `${vectors.length} numbers were given for ${tokens} tokens of ${heads} x ${shape.headDim}`,
        remedy: `Pass ${wanted} numbers, [tokens][heads][headDim]`,
      });
    }
  }

  return {
    createSequence(): ReferenceSequence {
      const sequence = { id: nextId++ };
      const layers = stores.map(({ keys, values }) => ({
        keys: new SideStore(keys),
        values: new SideStore(values),
        length: 0,
        coded: 0,
      }));
      sequences.set(sequence, { layers, length: 0, exactFrom: 0 });
      return sequence;
    },

    forkSequence(sequence): ReferenceSequence {
      const { layers, ...state } = stateOf(sequence);
      const fork = { id: nextId++ };
      const copies = layers.map(({ keys, values, ...layer }) => ({
        ...layer,
        keys: keys.clone(),
        values: values.clone(),
      }));
      sequences.set(fork, { ...state, layers: copies });
      return fork;
    },

    records(sequence, layer, side, tokens) {
      const state = layerOf(sequence, layer);
      const coded = Math.max(0, state.coded - tiers.sinks);
      if (tokens > coded) {
        throw new CoupletError("usage", {
          what: `Cannot give the records of ${tokens} tokens`,
          why: `sequence ${sequence.id} has ${coded} coded tokens past the sinks`,
          remedy: "Ask for tokens that have left the exact tier",
        });
      }
      return state[side].records(tokens);
    },

    freeSequence(sequence): void {
      stateOf(sequence);
      sequences.delete(sequence);
    },

    length: (sequence) => stateOf(sequence).length,

    truncate(sequence, length): void {
      const state = stateOf(sequence);
      if (!(Number.isInteger(length) && length >= 0 && length <= state.length)) {
        throw new CoupletError("usage", {
          what: `Cannot truncate to ${length} tokens`,
          why: `sequence ${sequence.id} holds ${state.length}`,
          remedy: "Keep from 0 to as many tokens as the sequence holds",
        });
      }
      const oldestExact = state.length - ringSlots(resolved);
      state.exactFrom = Math.min(length, Math.max(state.exactFrom, oldestExact));
      state.length = length;
      for (const layer of state.layers) {
        layer.length = Math.min(layer.length, length);
        layer.coded = Math.min(layer.coded, length);
      }
    },

    beginStep(entries): ReferenceStep {
      const seen = new Set<ReferenceSequence>();
      for (const { sequence, tokens } of entries) {
        stateOf(sequence);
        if (seen.has(sequence)) {
          throw new CoupletError("usage", {
            what: "Cannot begin a step",
            why: `sequence ${sequence.id} has two entries`,
            remedy: "Give each sequence one entry with all its new tokens",
          });
        }
        seen.add(sequence);
        if (!(Number.isInteger(tokens) && tokens >= 1 && tokens <= appendTokens)) {
          throw new CoupletError("capacity", {
            what: "Cannot begin a step",
            why:
              `sequence ${sequence.id} would grow by ${tokens} tokens, and 1 to ${appendTokens} are planned`,
            remedy: "Split the tokens over several steps, or plan with more appendTokens",
          });
        }
      }
      const begun = entries.map((entry) => ({
        ...entry,
        firstPosition: stateOf(entry.sequence).length,
      }));
      for (const { sequence, tokens } of begun) {
        stateOf(sequence).length += tokens;
      }
      return { entries: begun };
    },

    append(step, layer, { keys, values }): void {
      checkOrder(step, layer, false);
      const { keyValueHeads } = resolved.layers[layer]!;
      checkSize("keys", step, keyValueHeads, keys);
      checkSize("values", step, keyValueHeads, values);
      const channels = keyValueHeads * shape.headDim;
      let at = 0;
      for (const { sequence, tokens } of step.entries) {
        const state = layerOf(sequence, layer);
        for (let i = 0; i < tokens; i++, at += channels) {
          state.keys.writeExact(state.length, keys, at);
          state.values.writeExact(state.length, values, at);
          state.length++;
        }
        // Not before: the step's first queries still see exactly what its last tokens push out.
        const aged = Math.max(0, state.length - tiers.sinks - tiers.window);
        for (; state.coded < tiers.sinks + aged - aged % block; state.coded++) {
          if (state.coded < tiers.sinks) continue;
          state.keys.encode(state.coded);
          state.values.encode(state.coded);
        }
      }
    },

    attend(step, layer, { queries }): Float32Array<ArrayBuffer> {
      checkSize("queries", step, shape.queryHeads, queries);
      checkOrder(step, layer, true);
      const channels = shape.queryHeads * shape.headDim;
      const output = new Float32Array(queries.length);
      let at = 0;
      for (const { sequence, tokens, firstPosition } of step.entries) {
        const state = layerOf(sequence, layer);
        const { exactFrom } = stateOf(sequence);
        const { keyValueHeads, slidingWindow } = resolved.layers[layer]!;
        const held = { state, keyValueHeads, firstPosition, exactFrom };
        const result = attend({
          queryHeads: shape.queryHeads,
          keyValueHeads,
          headDim: shape.headDim,
          queries: queries.subarray(at, at + tokens * channels),
          firstPosition,
          exact: {
            keys: gather(held, "keys", "exact"),
            values: gather(held, "values", "exact"),
          },
          coded: {
            keys: gather(held, "keys", "coded"),
            values: gather(held, "values", "coded"),
          },
          tiers,
          exactFrom,
          block,
          keySpace,
          slidingWindow,
          ...(sinkLogits === undefined ? {} : {
            sinkLogits: sinkLogits.subarray(
              layer * shape.queryHeads,
              (layer + 1) * shape.queryHeads,
            ),
          }),
          scale: resolved.scale,
          ...(resolved.softcap > 0 ? { softcap: resolved.softcap } : {}),
        });
        output.set(result.output, at);
        at += tokens * channels;
      }
      return output;
    },
  };

  /**
   * All tokens of a layer in one form, `[tokens][keyValueHeads][headDim]`; those that no query from
   * `firstPosition` on sees in this form are NaN, so that a wrong choice shows.
   */
  function gather(
    { state, keyValueHeads, firstPosition, exactFrom }: {
      readonly state: LayerState;
      readonly keyValueHeads: number;
      readonly firstPosition: number;
      readonly exactFrom: number;
    },
    side: Side,
    form: "exact" | "coded",
  ): Float64Array {
    const { headDim } = shape;
    const vectors = new Float64Array(state.length * keyValueHeads * headDim).fill(NaN);
    for (let token = 0; token < state.length; token++) {
      const needed = form === "exact"
        ? seesExactly(tiers, Math.max(firstPosition, token), token, exactFrom, block)
        : !seesExactly(tiers, state.length - 1, token, exactFrom, block);
      if (!needed) continue;
      for (let head = 0; head < keyValueHeads; head++) {
        const vector = form === "exact"
          ? state[side].readExact(token, head)
          : state[side].readCoded(token, head);
        vectors.set(vector, (token * keyValueHeads + head) * headDim);
      }
    }
    return vectors;
  }
}

/** The options as a plan would resolve them, without a bound on tokens. */
function resolve(options: ReferenceCacheOptions): ResolvedOptions {
  const { shape, policy, tiers, keys, capacity: { appendTokens }, scale, softcap } = options;
  const tokens = Number.MAX_SAFE_INTEGER;
  return resolveOptions({
    shape,
    policy,
    tiers,
    keys,
    capacity: {
      sequences: 1,
      tokens,
      sequenceTokens: tokens,
      stepTokens: appendTokens,
      appendTokens,
    },
    ...(scale === undefined ? {} : { scale }),
    ...(softcap === undefined ? {} : { softcap }),
  });
}

/** The options of every layer's stores. */
function storeMakers(
  { codebooks, model }: ReferenceCacheOptions,
  options: ResolvedOptions,
) {
  if (codebooks !== undefined) checkCodebookSet(codebooks, options.keys.space, model);
  const { headDim } = options.shape;
  return options.layers.map(({ keys, values, keyValueHeads }, layer) => {
    const store = (side: Side, id: SchemeId) => ({
      scheme: parseScheme(id),
      codebook: cacheCodebook(codebooks, { keyValueHeads, headDim }, layer, side, id),
      ...(side === "values"
        ? {}
        : options.keys.space === "pre-rope"
        ? { rope: options.keys.rope }
        : { scored: true }),
      keyValueHeads,
      headDim,
      tiers: options.tiers,
      slots: ringSlots(options),
    });
    return { keys: store("keys", keys), values: store("values", values) };
  });
}
