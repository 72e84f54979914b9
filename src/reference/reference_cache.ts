import { checkSinkLogits, resolveOptions } from "../plan/options.ts";
import { CoupletError } from "../base/errors.ts";
import { cacheCodebook, checkCodebookSet } from "../codebooks/find.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import { keyTurn } from "../schemes/key_turn.ts";
import type { Scheme, SchemeId } from "../schemes/scheme.ts";
import { keyAnchors } from "../model/anchors.ts";
import type { Side, SideDims } from "../model/side.ts";
import { attend, seesExactly, type SpanVectors } from "./attention.ts";
import { keptExactly, readLayers, type ReferenceLayer, windowBlock } from "./positions.ts";
import { checkReferenceOptions, type ReferenceCacheOptions } from "../plan/reference_options.ts";
import { SideStore, type SideStoreOptions } from "./side_store.ts";
import { type CodedSpan, codeSpan } from "./span_coding.ts";
import type { SideCodebook } from "../codebooks/codebook.ts";

/** One sequence of a {@linkcode ReferenceCache}; opaque. */
export interface ReferenceSequence {
  /** Distinguishes the sequences of one cache, for display. */
  readonly id: number;
}

/** One sequence's part of a step. */
export interface ReferenceStepEntry {
  /** The sequence that grows. */
  readonly sequence: ReferenceSequence;
  /** Tokens it grows by, from 1 to `appendTokens`. */
  readonly tokens: number;
  /**
   * `[3][tokens]`, where the rotary embedding has sections: positions in time, height and width.
   * Defaults to the numbers that follow the largest position of the sequence.
   */
  readonly positions?: ArrayLike<number>;
}

/** A span of a {@linkcode ReferenceCache}; opaque. */
export interface ReferenceSpan {
  /** Distinguishes the spans of one cache, for display. */
  readonly id: number;
  /** The kind of span. */
  readonly name: string;
  /** Its tokens. */
  readonly tokens: number;
}

/** New tokens of some sequences, going through all layers; opaque. */
export interface ReferenceStep {
  /**
   * The entries given to {@linkcode ReferenceCache.beginStep}, with the position of each one's
   * first token.
   */
  readonly entries: readonly (ReferenceStepEntry & { readonly firstPosition: number })[];
}

/**
 * The cache on the CPU, in float64: the oracle of the WebGPU cache, and a backend for programs
 * without WebGPU. A query at position i sees token j <= i exactly (as binary16) where `j < sinks`
 * or `j > i - window`. It sees other tokens by their codes, which were computed once, from the
 * binary16 value, when the token left the window.
 */
export interface ReferenceCache {
  /** Creates an empty sequence. */
  createSequence(): ReferenceSequence;
  /** Creates a sequence that holds the same tokens. */
  forkSequence(sequence: ReferenceSequence): ReferenceSequence;
  /**
   * The records of a sequence's first `tokens` tokens past the sinks, `[keyValueHeads]` runs of
   * words.
   *
   * @throws {CoupletError} `usage` where one of them is not coded.
   */
  records(
    sequence: ReferenceSequence,
    layer: number,
    side: Side,
    tokens: number,
  ): Uint32Array<ArrayBuffer>[];
  /**
   * Adds a span to a sequence: tokens that all its steps that begin later see, whatever their
   * positions. Truncating the sequence to fewer tokens than it has now drops it.
   *
   * @throws {CoupletError} `usage` where the options have no such kind of span.
   */
  addSpan(sequence: ReferenceSequence, name: string, tokens: number): ReferenceSpan;
  /**
   * Codes one layer's keys and values of a span. Keys are as they are scored.
   *
   * @param vectors `[...][keyValueHeads][channels of the side]` each. `indices` are the span's tokens among
   * them, in ascending order; they default to the first ones.
   * @throws {CoupletError} `usage` where the span was dropped, or handed over to the layer before;
   * `shape` where sizes do not match.
   */
  encodeSpan(
    span: ReferenceSpan,
    layer: number,
    vectors: {
      readonly keys: Float32Array;
      readonly values: Float32Array;
      readonly indices?: readonly number[];
    },
  ): void;
  /**
   * One side of a span in one layer, as it was coded.
   *
   * @throws {CoupletError} `usage` where it was not.
   */
  spanCodes(span: ReferenceSpan, layer: number, side: Side): CodedSpan;
  /** Frees a sequence. It cannot be used any more. */
  freeSequence(sequence: ReferenceSequence): void;
  /** Number of tokens of a sequence, including those of steps that have begun. */
  length(sequence: ReferenceSequence): number;
  /** Number of coded tokens of a sequence, sinks not counted. */
  codedTokens(sequence: ReferenceSequence): number;
  /**
   * Removes the tokens from `length` on. Removing up to `appendTokens` tokens restores the recent
   * window exactly. Beyond that, tokens whose exact values are gone are seen by their codes. Steps
   * that began at `length` or later become void.
   *
   * @throws {CoupletError} `usage` where the sequence is shorter; where `length` lies inside a step
   * that was not appended to every layer; where it lies inside a block of tokens that are coded
   * together and no longer held exactly; where layers with a sliding window have freed what the
   * last query would see.
   */
  truncate(sequence: ReferenceSequence, length: number): void;
  /**
   * Removes the tokens from `length` on, as {@linkcode truncate} does, also where `length` lies
   * inside a block of tokens that are coded together and no longer held exactly. What is left of the
   * block is then decoded, and held exactly as such.
   *
   * @returns How many of the last tokens are known by their codes alone, and would be held exactly
   * if none had been removed behind them.
   * @throws {CoupletError} `usage` where {@linkcode truncate} refuses for another reason.
   */
  rollback(sequence: ReferenceSequence, length: number): number;
  /**
   * Removes tokens in the middle (context shift). The positions of those after them become `to -
   * from` less; their codes stay as they are. The range is whole pages of 64 coded tokens past the
   * sinks, of 128 where layers have a sliding window, and where keys are anchored as many as the
   * longest anchor.
   *
   * @throws {CoupletError} `usage` where codes of keys depend on positions: as they are scored, or
   * coded with their rotary embedding; for another range; where a step of the sequence was not
   * appended to every layer; where layers with a sliding window have freed other tokens than these.
   */
  dropTokens(
    sequence: ReferenceSequence,
    range: { readonly from: number; readonly to: number },
  ): void;
  /**
   * Begins a step, and advances lengths. For each layer, call {@linkcode append} and then
   * {@linkcode attend}.
   *
   * @throws {CoupletError} `capacity` where an entry has more than `appendTokens` tokens; `usage`
   * where a sequence is unknown or named twice. Nothing has changed then.
   */
  beginStep(entries: readonly ReferenceStepEntry[]): ReferenceStep;
  /**
   * Stores one layer's keys and values of a step's tokens. Entries whose tokens were removed, or
   * whose sequence was freed, are skipped.
   *
   * @param vectors `[tokens][keyValueHeads][channels of the side]` each, the entries' tokens one after the
   * other.
   * @throws {CoupletError} `shape` where sizes do not match; `usage` where a layer is appended
   * twice, or steps out of order.
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
   * @returns `[tokens][queryHeads][valueHeadDim]`, 0 where an entry is skipped.
   * @throws {CoupletError} as {@linkcode append} does.
   */
  attend(
    step: ReferenceStep,
    layer: number,
    vectors: { readonly queries: Float32Array },
  ): Float32Array<ArrayBuffer>;
}

/** Tokens that layers with a sliding window free together. */
const TILE_TOKENS = 128;

/** Tokens that are dropped together. */
const PAGE = 64;

const SIDES = ["keys", "values"] as const;

/** One layer of one sequence. */
interface LayerState {
  readonly keys: SideStore;
  readonly values: SideStore;
  /** Tokens appended. */
  length: number;
  /** Tokens below this one, except sinks, are coded. */
  coded: number;
}

/** One sequence. */
interface SequenceState {
  readonly layers: readonly LayerState[];
  length: number;
  /**
   * Tokens below this one, except sinks, lost their exact values to others that were then removed.
   */
  exactFrom: number;
  /** By sliding window, how many coded tokens its layers have freed. */
  readonly passed: Map<number, number>;
  /** Its entries of steps that were not undone. */
  steps: BegunEntry[];
  /** Its spans, in the order they were added. */
  spans: readonly HeldSpan[];
  /** Time, height and width of its tokens, where the rotary embedding has sections. */
  positions: readonly (readonly number[])[];
}

/** A span of one sequence or several. */
interface HeldSpan {
  readonly span: ReferenceSpan;
  /** Tokens of the sequence when it was added. */
  readonly place: number;
  /** By layer, what it was coded as. */
  readonly layers: Map<number, Readonly<Record<Side, CodedSpan>>>;
}

/** One sequence's part of a step that has begun. */
interface BegunEntry extends ReferenceStepEntry {
  readonly firstPosition: number;
  /** Layers that were given the step's tokens, the same for all its entries. */
  readonly appended: Set<number>;
  /** The spans that its queries see. */
  readonly spans: readonly HeldSpan[];
  /** Whether its tokens were removed, or its sequence freed. */
  isVoid: boolean;
}

/**
 * Creates a cache on the CPU; see {@linkcode ReferenceCache}. It is slow, and computes the same
 * numbers everywhere.
 *
 * @throws {CoupletError} `scheme`, `shape` or `codebook` where the options do not fit together.
 */
export function createReferenceCache(options: ReferenceCacheOptions): ReferenceCache {
  checkReferenceOptions(options);
  checkOptions(options);
  const { shape, tiers, capacity: { appendTokens }, sinkLogits } = options;
  const ownLayers = readLayers(options);
  const block = windowBlock(ownLayers);
  const slots = keptExactly(tiers.window, block, appendTokens);
  const hasSections = ownLayers.some(({ keySpace }) =>
    keySpace.space !== "as-scored" && keySpace.rope.sections !== undefined
  );
  const owning = ownLayers.filter(({ source }, layer) => source === layer).length;
  const stores = storeMakers(options, ownLayers, slots);
  checkSinkLogits(sinkLogits, shape);
  const sequences = new Map<ReferenceSequence, SequenceState>();
  const spanKinds = new Map(Object.entries(options.spans?.policies ?? {}));
  const begunSteps = new WeakMap<ReferenceStep, readonly BegunEntry[]>();
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
    const state = stateOf(sequence).layers[ownLayers[layer]?.source ?? layer];
    if (state === undefined) {
      throw new CoupletError("usage", {
        what: `Cannot use layer ${layer}`,
        why: `the shape has layers 0 to ${shape.layers - 1}`,
        remedy: "Pass a layer of the shape",
      });
    }
    return state;
  }

  function heldSpan(span: ReferenceSpan): HeldSpan {
    for (const { spans } of sequences.values()) {
      const held = spans.find((one) => one.span === span);
      if (held !== undefined) return held;
    }
    throw new CoupletError("usage", {
      what: "Cannot use a span",
      why: "no sequence has it: it was dropped, or belongs to another cache",
      remedy: "Use spans of living sequences that were not truncated to before them",
    });
  }

  /**
   * Checks that calls are in order: some entries are not void, and their layer holds the right
   * number of tokens.
   */
  function checkOrder(step: ReferenceStep, layer: number, appended: boolean): void {
    const live = entriesOf(step).filter(({ isVoid }) => !isVoid);
    if (live.length === 0) {
      throw new CoupletError("usage", {
        what: `Cannot use the step in layer ${layer}`,
        why: "its tokens were taken back, or its sequences freed",
        remedy: "Begin another step of the sequences as they are now",
      });
    }
    for (const { sequence, firstPosition, tokens } of live) {
      const wanted = firstPosition + (appended ? tokens : 0);
      const { length } = layerOf(sequence, layer);
      if (length !== wanted) {
        throw new CoupletError("usage", {
          what: `Cannot ${appended ? "attend in" : "append to"} layer ${layer}`,
          why:
            `it holds ${length} tokens of sequence ${sequence.id} where the step needs ${wanted}`,
          remedy: "Append to each layer once per step, then attend, before the next step begins",
        });
      }
    }
  }

  /** Checks that a layer can still be rolled back to what every layer has. */
  function checkLead(step: ReferenceStep, layer: number): void {
    for (const { sequence, firstPosition, tokens, isVoid } of entriesOf(step)) {
      if (isVoid) continue;
      const unfinished = stateOf(sequence).steps.find(({ appended }) => appended.size < owning);
      const behind = unfinished!.firstPosition;
      if (behind === firstPosition || firstPosition + tokens - behind <= appendTokens) continue;
      throw new CoupletError("usage", {
        what: `Cannot append to layer ${layer}`,
        why:
          `some layers have sequence ${sequence.id} up to ${behind} alone, and no layer may be more than ${appendTokens} tokens ahead`,
        remedy: "Append the earlier step to every layer first",
      });
    }
  }

  /** Why a sequence cannot be rolled back to a length; undefined where it can. */
  function rollbackObstacle(
    { steps, passed }: SequenceState,
    length: number,
    exactFrom: number,
    decodes: boolean,
  ): string | undefined {
    for (const { firstPosition, tokens, appended } of steps) {
      const isInside = firstPosition < length && length < firstPosition + tokens;
      if (isInside && appended.size < owning) {
        return `the step from ${firstPosition} on was not appended to every layer`;
      }
    }
    const coded = codedAt(length, exactFrom);
    const whole = coded - coded % block;
    if (whole < coded && !decodes) return `it would end inside a block of ${block} coded tokens`;
    for (const [window, given] of passed) {
      const oldest = Math.max(0, length + 1 - window - tiers.sinks);
      if (coded > 0 && Math.min(oldest, whole) < given) {
        return `layers with a sliding window of ${window} have given up what its last query would see`;
      }
    }
    return undefined;
  }

  /** Removes the tokens from a length on; `decodes` says whether a block may be cut. */
  function takeBack(sequence: ReferenceSequence, length: number, decodes: boolean): number {
    const state = stateOf(sequence);
    if (!(Number.isInteger(length) && length >= 0 && length <= state.length)) {
      throw new CoupletError("usage", {
        what: `Cannot truncate to ${length} tokens`,
        why: `sequence ${sequence.id} holds ${state.length}`,
        remedy: "Keep from 0 to as many tokens as the sequence holds",
      });
    }
    const stored = Math.max(...state.layers.map((layer) => layer.length));
    const known = Math.min(length, Math.max(state.exactFrom, stored - slots));
    const lost = Math.max(0, codedAt(length, known) - codedAt(length, 0));
    if (length === state.length) return lost;
    const why = rollbackObstacle(state, length, known, decodes);
    if (why !== undefined) {
      throw new CoupletError("usage", {
        what: `Cannot truncate sequence ${sequence.id} to ${length} tokens`,
        why,
        remedy: "Take back no more tokens than a step may add, or all; or keep a fork",
      });
    }
    const exactFrom = known - codedAt(length, known) % block;
    for (const layer of state.layers) {
      for (let token = exactFrom; token < known; token++) {
        for (const side of SIDES) layer[side].keepDecoded(token);
      }
    }
    for (const entry of state.steps) {
      entry.isVoid ||= entry.firstPosition + entry.tokens > length;
    }
    state.steps = state.steps.filter(({ isVoid }) => !isVoid);
    if (codedAt(length, exactFrom) === 0) state.passed.clear();
    state.spans = state.spans.filter(({ place }) => place <= length);
    state.exactFrom = exactFrom;
    state.length = length;
    state.positions = state.positions.slice(0, length);
    for (const layer of state.layers) {
      layer.length = Math.min(layer.length, length);
      layer.coded = Math.min(layer.coded, length, tiers.sinks + codedAt(length, exactFrom));
    }
    return lost;
  }

  /** Why so many tokens cannot be dropped in the middle, whatever the sequence; undefined where they can. */
  function shiftObstacle(count: number): string | undefined {
    if (options.keys.space === "as-scored") return "keys are held as they are scored";
    if (hasSections) return "tokens have positions of their own";
    let unit = ownLayers.some(({ slidingWindow }) => slidingWindow > 0) ? TILE_TOKENS : PAGE;
    for (const { keys, keySpace, headDim, source } of ownLayers) {
      const scheme = parseScheme(keys);
      if (keySpace.space === "as-scored") continue;
      if (scheme.positional) {
        return `${keys} codes the keys of layer ${source} with their rotary embedding`;
      }
      // Codes depend on a token's place in its anchor.
      if (keyTurn(scheme, keySpace, headDim, tiers.sinks) === undefined) continue;
      unit = Math.max(unit, ...keyAnchors(keySpace, headDim)!);
    }
    return count % unit === 0 ? undefined : `they are dropped in multiples of ${unit}`;
  }

  /** Number of tokens after the sinks that a query at the end of a sequence sees by their codes. */
  function codedAt(length: number, exactFrom: number): number {
    let coded = 0;
    for (let token = tiers.sinks; token < length; token++) {
      if (!seesExactly(tiers, length - 1, token, exactFrom, block)) coded++;
    }
    return coded;
  }

  function checkSize(
    name: string,
    step: ReferenceStep,
    heads: number,
    headDim: number,
    vectors: Float32Array,
  ): void {
    const tokens = step.entries.reduce((sum, entry) => sum + entry.tokens, 0);
    const wanted = tokens * heads * headDim;
    if (vectors.length !== wanted) {
      throw new CoupletError("shape", {
        what: `Cannot use the step's ${name}`,
        why: `${vectors.length} numbers were given for ${tokens} tokens of ${heads} x ${headDim}`,
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
      sequences.set(sequence, {
        layers,
        length: 0,
        exactFrom: 0,
        passed: new Map(),
        steps: [],
        spans: [],
        positions: [],
      });
      return sequence;
    },

    forkSequence(sequence): ReferenceSequence {
      const { layers, passed, ...state } = stateOf(sequence);
      const fork = { id: nextId++ };
      const copies = layers.map(({ keys, values, ...layer }) => ({
        ...layer,
        keys: keys.clone(),
        values: values.clone(),
      }));
      sequences.set(fork, { ...state, layers: copies, passed: new Map(passed), steps: [] });
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

    addSpan(sequence, name, tokens): ReferenceSpan {
      const state = stateOf(sequence);
      if (!spanKinds.has(name) || !(Number.isInteger(tokens) && tokens > 0)) {
        throw new CoupletError("usage", {
          what: `Cannot add a span "${name}" of ${tokens} tokens`,
          why: `the options have the spans ${[...spanKinds.keys()].join(", ") || "none"}`,
          remedy: "Name one of them, and a whole number of tokens",
        });
      }
      const span = { id: nextId++, name, tokens };
      const held = { span, place: state.length, layers: new Map() };
      state.spans = [...state.spans, held];
      return span;
    },

    encodeSpan(span, layer, { keys, values, indices }): void {
      const held = heldSpan(span);
      const kind = spanKinds.get(span.name)!;
      const schemes = kind.layers?.[layer] ?? kind;
      const own = ownLayers[layer];
      if (own === undefined || held.layers.has(layer)) {
        throw new CoupletError("usage", {
          what: `Cannot hand over span ${span.id} to layer ${layer}`,
          why: own === undefined ? "the shape has no such layer" : "it was handed over before",
          remedy: "Hand over each span to each layer once",
        });
      }
      const rows = indices ?? Array.from({ length: span.tokens }, (_, token) => token);
      const { keyValueHeads, headDim, valueHeadDim } = own;
      const isAscending = rows.every((row, i) =>
        Number.isInteger(row) && row > (rows[i - 1] ?? -1)
      );
      const given = (rows.at(-1)! + 1) * keyValueHeads;
      if (
        rows.length !== span.tokens || !isAscending || keys.length < given * headDim ||
        values.length < given * valueHeadDim
      ) {
        throw new CoupletError("shape", {
          what: `Cannot hand over span ${span.id} to layer ${layer}`,
          why: `${keys.length} and ${values.length} numbers and ${rows.length} tokens were given`,
          remedy: `Give ${span.tokens} ascending tokens of tensors of ${
            keyValueHeads * headDim
          } numbers a token, values of ${keyValueHeads * valueHeadDim}`,
        });
      }
      const code = (side: Side, vectors: Float32Array) =>
        codeSpan(
          {
            scheme: parseScheme(schemes[side]),
            codebook: codebookOf(options, layer, side, schemes[side], own),
            side,
            keyValueHeads,
            headDim: channelsOf(own, side),
          },
          vectors,
          rows,
        );
      held.layers.set(layer, { keys: code("keys", keys), values: code("values", values) });
    },

    spanCodes(span, layer, side): CodedSpan {
      const coded = heldSpan(span).layers.get(layer);
      if (coded === undefined) {
        throw new CoupletError("usage", {
          what: `Cannot give the codes of span ${span.id} in layer ${layer}`,
          why: "it was not handed over to it",
          remedy: "Ask for layers that it was handed over to",
        });
      }
      return coded[side];
    },

    freeSequence(sequence): void {
      for (const entry of stateOf(sequence).steps) entry.isVoid = true;
      sequences.delete(sequence);
    },

    length: (sequence) => stateOf(sequence).length,

    codedTokens(sequence): number {
      const { length, exactFrom } = stateOf(sequence);
      return codedAt(length, exactFrom);
    },

    truncate(sequence, length): void {
      takeBack(sequence, length, false);
    },

    rollback: (sequence, length) => takeBack(sequence, length, true),

    dropTokens(sequence, { from, to }): void {
      const state = stateOf(sequence);
      const count = to - from;
      const given = [...state.passed.values()].filter((tokens) => tokens > 0);
      const why = shiftObstacle(count) ??
        (state.steps.some(({ appended }) => appended.size < owning)
          ? "a step was not appended to every layer"
          : from < tiers.sinks || (from - tiers.sinks) % PAGE !== 0 || !(count > 0)
          ? "it is no range of whole pages past the sinks"
          : to - tiers.sinks > codedAt(state.length, state.exactFrom)
          ? "some of them are held exactly"
          : given.some((tokens) => to - tiers.sinks > tokens)
          ? "layers with a sliding window have freed what would take their place"
          : undefined);
      if (why !== undefined) {
        throw new CoupletError("usage", {
          what: `Cannot drop tokens ${from} to ${to} of sequence ${sequence.id}`,
          why,
          remedy: "Drop whole pages of coded tokens past the sinks, of keys before their rotation",
        });
      }
      const exactFrom = Math.max(to, state.exactFrom, state.length - slots);
      for (const layer of state.layers) {
        for (const side of SIDES) layer[side].drop(from, to, exactFrom, state.length);
        layer.length -= count;
        layer.coded -= count;
      }
      for (const entry of state.steps) entry.isVoid = true;
      state.steps = [];
      state.length -= count;
      state.exactFrom = Math.max(from, state.exactFrom - count);
      for (const [window, tokens] of state.passed) {
        state.passed.set(window, Math.max(0, tokens - count));
      }
    },

    beginStep(entries): ReferenceStep {
      const seen = new Set<ReferenceSequence>();
      for (const { sequence, tokens, positions } of entries) {
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
        if (positions === undefined) continue;
        const isPosition = (one: number) => Number.isInteger(one) && one >= 0;
        if (
          positions.length !== (hasSections ? 3 * tokens : 0) ||
          !Array.from(positions).every(isPosition)
        ) {
          throw new CoupletError("shape", {
            what: "Cannot begin a step",
            why: `${positions.length} positions were given for ${tokens} tokens`,
            remedy: hasSections
              ? "Give three whole numbers a token, [3][tokens]"
              : "Leave them out, or give the rotary embedding sections",
          });
        }
      }
      const appended = new Set<number>();
      const begun = entries.map(({ sequence, tokens, positions }): BegunEntry => {
        const state = stateOf(sequence);
        const firstPosition = state.length;
        const { spans } = state;
        const entry = { sequence, tokens, firstPosition, appended, spans, isVoid: false };
        state.steps.push(entry);
        state.length += tokens;
        if (hasSections) {
          state.positions = withPositions(state.positions, tokens, positions);
        }
        return entry;
      });
      const step = { entries: begun };
      begunSteps.set(step, begun);
      return step;
    },

    append(step, layer, { keys, values }): void {
      if ((ownLayers[layer]?.source ?? layer) !== layer) {
        throw new CoupletError("usage", {
          what: `Cannot append to layer ${layer}`,
          why: `it attends to the keys and values of layer ${ownLayers[layer]!.source}`,
          remedy: "Leave it out, and attend in it after the other's append (shape.sharesWith)",
        });
      }
      checkOrder(step, layer, false);
      checkLead(step, layer);
      const { keyValueHeads, headDim, valueHeadDim } = ownLayers[layer]!;
      checkSize("keys", step, keyValueHeads, headDim, keys);
      checkSize("values", step, keyValueHeads, valueHeadDim, values);
      let row = 0;
      for (const { sequence, tokens, isVoid } of entriesOf(step)) {
        if (isVoid) {
          row += tokens;
          continue;
        }
        const state = layerOf(sequence, layer);
        for (let i = 0; i < tokens; i++, row++) {
          state.keys.writeExact(state.length, keys, row * keyValueHeads * headDim);
          state.values.writeExact(state.length, values, row * keyValueHeads * valueHeadDim);
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
      const [{ appended }] = entriesOf(step) as [BegunEntry];
      appended.add(layer);
      if (appended.size === owning) entriesOf(step).forEach(pass);
    },

    attend(step, layer, { queries }): Float32Array<ArrayBuffer> {
      // A layer that is none is refused by its order.
      const { queryHeads = 0, headDim = 0, valueHeadDim = 0 } = ownLayers[layer] ?? {};
      checkSize("queries", step, queryHeads, headDim, queries);
      checkOrder(step, layer, true);
      const channels = queryHeads * headDim;
      const all = entriesOf(step).reduce((sum, { tokens }) => sum + tokens, 0);
      const output = new Float32Array(all * queryHeads * valueHeadDim);
      let row = 0;
      for (const { sequence, tokens, firstPosition, isVoid, spans } of entriesOf(step)) {
        if (isVoid) {
          row += tokens;
          continue;
        }
        const state = layerOf(sequence, layer);
        const { exactFrom } = stateOf(sequence);
        const own = ownLayers[layer]!;
        const { keyValueHeads, slidingWindow, scale, keySpace, firstLogit } = own;
        const held = { state, own, firstPosition, exactFrom };
        const result = attend({
          queryHeads,
          keyValueHeads,
          headDim,
          valueHeadDim,
          queries: queries.subarray(row * channels, (row + tokens) * channels),
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
          positions: stateOf(sequence).positions,
          slidingWindow,
          spans: spans.map((held) => spanVectors(held, layer)),
          ...(sinkLogits === undefined ? {} : {
            sinkLogits: sinkLogits.subarray(firstLogit, firstLogit + queryHeads),
          }),
          scale,
          ...(options.softcap ? { softcap: options.softcap } : {}),
        });
        output.set(result.output, row * queryHeads * valueHeadDim);
        row += tokens;
      }
      return output;
    },
  };

  /** What queries see of a span in a layer. */
  function spanVectors({ span, layers }: HeldSpan, layer: number): SpanVectors {
    const coded = layers.get(layer);
    if (coded === undefined) {
      throw new CoupletError("usage", {
        what: `Cannot attend in layer ${layer}`,
        why: `span ${span.id} was not handed over to it`,
        remedy: "Hand over each span to every layer (encodeSpan)",
      });
    }
    const { remap } = spanKinds.get(span.name)!;
    return {
      keys: coded.keys.vectors,
      values: coded.values.vectors,
      ...(remap === undefined ? {} : { tau: remap.tau }),
    };
  }

  function entriesOf(step: ReferenceStep): readonly BegunEntry[] {
    const entries = begunSteps.get(step);
    if (entries === undefined) {
      throw new CoupletError("usage", {
        what: "Cannot use the step",
        why: "it is no step of this cache",
        remedy: "Pass a step of this cache's beginStep()",
      });
    }
    return entries;
  }

  /**
   * Moves sliding windows on: whole tiles behind them are freed once no step can be undone back to
   * them.
   */
  function pass({ sequence, firstPosition, tokens, isVoid }: BegunEntry): void {
    if (isVoid) return;
    const { passed } = stateOf(sequence);
    for (const { slidingWindow } of ownLayers) {
      if (slidingWindow === 0) continue;
      const needed = Math.max(slidingWindow, tiers.window + block) - 1;
      const behind = firstPosition + tokens - appendTokens - tiers.sinks - needed;
      const tiles = Math.floor(Math.max(0, behind) / TILE_TOKENS) * TILE_TOKENS;
      passed.set(slidingWindow, Math.max(tiles, passed.get(slidingWindow) ?? 0));
    }
  }

  /**
   * All tokens of one side of a layer in one form, `[tokens][keyValueHeads][channels]`; those that no query from
   * `firstPosition` on sees in this form are NaN, so that a wrong choice is noticed.
   */
  function gather(
    { state, own, firstPosition, exactFrom }: {
      readonly state: LayerState;
      readonly own: ReferenceLayer;
      readonly firstPosition: number;
      readonly exactFrom: number;
    },
    side: Side,
    form: "exact" | "coded",
  ): Float64Array {
    const { keyValueHeads } = own;
    const channels = channelsOf(own, side);
    const vectors = new Float64Array(state.length * keyValueHeads * channels).fill(NaN);
    for (let token = 0; token < state.length; token++) {
      const needed = form === "exact"
        ? seesExactly(tiers, Math.max(firstPosition, token), token, exactFrom, block)
        : !seesExactly(tiers, state.length - 1, token, exactFrom, block);
      if (!needed) continue;
      for (let head = 0; head < keyValueHeads; head++) {
        const vector = form === "exact"
          ? state[side].readExact(token, head)
          : state[side].readCoded(token, head);
        vectors.set(vector, (token * keyValueHeads + head) * channels);
      }
    }
    return vectors;
  }
}

/** Refuses options that a plan would refuse, except for its bound on tokens. */
function checkOptions(options: ReferenceCacheOptions): void {
  const { shape, policy, tiers, keys, capacity: { appendTokens }, scale, softcap, spans } = options;
  const tokens = Number.MAX_SAFE_INTEGER;
  resolveOptions({
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
    ...(spans === undefined ? {} : { spans }),
  });
}

/** The options of every layer's stores. */
function storeMakers(
  options: ReferenceCacheOptions,
  layers: readonly ReferenceLayer[],
  slots: number,
): readonly Readonly<Record<Side, SideStoreOptions>>[] {
  const { tiers, keys, codebooks, model } = options;
  const spaces = layers.map(({ keySpace, headDim }) => ({ keyOptions: keySpace, headDim }));
  if (codebooks !== undefined) checkCodebookSet(codebooks, { keys, layers: spaces }, model);
  const codedKeys = (
    scheme: Scheme,
    { keySpace, headDim }: ReferenceLayer,
  ): Pick<SideStoreOptions, "turn" | "scored"> => {
    if (keySpace.space === "as-scored") return { scored: true };
    const turn = keyTurn(scheme, keySpace, headDim, tiers.sinks);
    return turn === undefined ? {} : { turn };
  };
  return layers.map((own) => {
    const { keys, values, keyValueHeads } = own;
    const store = (side: Side, id: SchemeId): SideStoreOptions => {
      const scheme = parseScheme(id);
      return {
        scheme,
        codebook: codebookOf(options, own.source, side, id, own),
        ...(side === "values" ? {} : codedKeys(scheme, own)),
        keyValueHeads,
        headDim: channelsOf(own, side),
        tiers,
        slots,
      };
    };
    return { keys: store("keys", keys), values: store("values", values) };
  });
}

/**
 * The codebook of one side, or undefined where its scheme has none.
 *
 * @throws {CoupletError} `codebook` where the set lacks it.
 */
function codebookOf(
  { codebooks }: ReferenceCacheOptions,
  layer: number,
  side: Side,
  id: SchemeId,
  own: ReferenceLayer,
): SideCodebook | undefined {
  // Refuses a set without the codebook; which one it is, is found again.
  const heads = { keyValueHeads: own.keyValueHeads, headDim: channelsOf(own, side) };
  const codebook = cacheCodebook(codebooks, heads, layer, side, id);
  const learned = codebooks?.codebooks.find((one) =>
    one.scheme === id && one.side === side && one.layer === layer
  );
  return learned ?? codebook;
}

/** The positions of a sequence's tokens and of new ones, by token. */
function withPositions(
  held: readonly (readonly number[])[],
  tokens: number,
  given: ArrayLike<number> | undefined,
): readonly (readonly number[])[] {
  const largest = held.reduce((most, own) => Math.max(most, ...own), -1);
  const added = Array.from(
    { length: tokens },
    (_, token) =>
      Array.from(
        { length: 3 },
        (_, section) =>
          given === undefined ? largest + 1 + token : given[section * tokens + token]!,
      ),
  );
  return [...held, ...added];
}

/** Channels of a head of one side. */
function channelsOf({ headDim, valueHeadDim }: SideDims, side: Side): number {
  return side === "values" ? valueHeadDim : headDim;
}
