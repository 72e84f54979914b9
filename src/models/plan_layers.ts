/** Turns what is known of a model's layers into options of a plan, and refuses what plans cannot have. */
import type {
  KeyOptions,
  KeySpace,
  ModelShape,
  RopeByLayer,
  RopeParameters,
} from "../model/model.ts";
import { onceIfAlike } from "../model/once_if_alike.ts";
import type { ModelFacts, RopeFacts } from "./reading/facts.ts";
import { refuse } from "./reading/refuse.ts";

/** The options of a plan that follow from a model. */
export interface PlannedLayers {
  readonly shape: ModelShape;
  readonly keys: KeyOptions | RopeByLayer;
  readonly scale: number | readonly number[];
  /** Why keys are planned as they are scored, where nobody asked for it. */
  readonly asScored?: string;
  /** A sentence on what the host does to keys and queries. */
  readonly note?: string;
}

/**
 * Options of a plan for these layers.
 *
 * @param space The space of keys; where absent, before their rotary embedding if that is possible.
 * @param length Tokens of the sequences to be planned for, where they are known.
 * @throws {CoupletError} `file` where no cache can serve a layer, and where keys cannot be planned in
 * the space asked for.
 */
export function planLayers(
  facts: ModelFacts,
  space: KeySpace | undefined,
  length: number | undefined,
): PlannedLayers {
  const { layers } = facts;
  refuseUnserved(facts, length);
  const windows = layers.map(({ slidingWindow }) => slidingWindow);
  // A plan counts the layers that have attention.
  const sharesWith = layers.map(({ sharesWith }) =>
    sharesWith === undefined ? null : layers.findIndex(({ number }) => number === sharesWith)
  );
  const shape: ModelShape = {
    layers: layers.length,
    queryHeads: onceIfAlike(layers.map(({ queryHeads }) => queryHeads)),
    keyValueHeads: onceIfAlike(layers.map(({ keyValueHeads }) => keyValueHeads)),
    headDim: onceIfAlike(layers.map(({ headDim }) => headDim)),
    ...(layers.some(({ headDim, valueDim }) => headDim !== valueDim)
      ? { valueHeadDim: onceIfAlike(layers.map(({ valueDim }) => valueDim)) }
      : {}),
    ...(windows.some((window) => window > 0) ? { slidingWindow: windows } : {}),
    ...(sharesWith.some((source) => source !== null) ? { sharesWith } : {}),
  };
  const scales = layers.map(({ scale }) => scale);
  const found = findRopes(facts, space);
  if (space === "as-scored" || typeof found === "string") {
    if (space === "pre-rope" || space === "anchored") {
      refuse(
        `keys cannot be coded before their rotary embedding, because ${found}`,
        'Leave the space out, or plan with "as-scored"',
      );
    }
    return {
      shape,
      keys: { space: "as-scored" },
      scale: onceIfAlike(scales),
      ...(space === undefined && typeof found === "string" ? { asScored: found } : {}),
      ...hostNote(facts, space),
    };
  }
  const rope = onceIfAlike(found.map((own, i) => ropeParameters(own, layers[i]!.headDim)));
  return {
    shape,
    keys: keysOf(space ?? "pre-rope", rope),
    // Kernels rotate alone; the factor is of both keys and queries.
    scale: onceIfAlike(scales.map((scale, i) => scale * (found[i]?.attentionFactor ?? 1) ** 2)),
    ...(hasSections(facts)
      ? { note: "The host gives the positions of images and videos (beginStep())." }
      : {}),
  };
}

/** The keys of a plan, with one rotary embedding or one for each layer. */
function keysOf(
  space: "pre-rope" | "anchored",
  rope: RopeParameters | null | readonly (RopeParameters | null)[],
): PlannedLayers["keys"] {
  if (rope !== null && !("length" in rope)) return { space, rope } as KeyOptions;
  if (space === "anchored") {
    refuse(
      "its layers differ in their rotary embedding, and anchored keys have one",
      'Plan with "pre-rope"',
    );
  }
  return { space, rope: rope ?? [] };
}

/** The rotary embedding as plans have it; `null` for none. */
function ropeParameters(rope: RopeFacts | undefined, headDim: number): RopeParameters | null {
  if (rope === undefined) return null;
  const { layout, theta, rotaryDim, inverseFrequencies, sections } = rope;
  return {
    layout,
    theta,
    ...(rotaryDim === headDim ? {} : { rotaryDim }),
    ...(inverseFrequencies === undefined ? {} : { inverseFrequencies }),
    ...(sections === undefined ? {} : { sections }),
  };
}

/** Says what the host does, or could leave to the library, where it rotates keys itself. */
function hostNote(
  facts: ModelFacts,
  space: KeySpace | undefined,
): Pick<PlannedLayers, "note"> {
  const { layers } = facts;
  const factors = new Set(layers.map(({ rope }) => rope?.attentionFactor ?? 1));
  factors.delete(1);
  const notes = [
    ...(factors.size === 0 ? [] : [
      `The host multiplies rotated channels of keys and queries by ${
        [...factors].join(" or ")
      }, the attention factor of their rotary embedding.`,
    ]),
    ...(space === undefined && hasSections(facts)
      ? [
        'Keys in f16, c4b8 and c8b8 can come before it (space: "pre-rope"), with kernels of 64 and 128 channels a head or generated ones; the host then gives the positions of images (beginStep()).',
      ]
      : []),
  ];
  return notes.length === 0 ? {} : { note: notes.join(" ") };
}

/** Refuses layers that no cache can serve yet. */
function refuseUnserved({ layers }: ModelFacts, length = Infinity): void {
  for (const { number, chunk } of layers) {
    if (chunk > 0 && length > chunk) {
      refuse(
        `queries of layer ${number} see the tokens of their own chunk of ${chunk} alone (attention_chunk_size), and a cache has windows that slide`,
        `Plan for sequences of at most ${chunk} tokens, which are one chunk`,
      );
    }
  }
}

/** Whether three positions of a token turn the channels of all layers that rotate, in known sections. */
function hasSections({ layers }: ModelFacts): boolean {
  const ropes = layers.flatMap(({ rope }) => rope ?? []);
  return ropes.length > 0 && ropes.every(({ sections }) => sections !== undefined);
}

/**
 * The embeddings that kernels can apply to the keys of each layer, undefined where there is none, or
 * why they cannot. Sections are for hosts that ask for them, because few schemes have such kernels.
 */
function findRopes(
  facts: ModelFacts,
  space: KeySpace | undefined,
): readonly (RopeFacts | undefined)[] | string {
  const { layers, asScored } = facts;
  if (asScored !== undefined && !(space === "pre-rope" && hasSections(facts))) return asScored;
  if (layers.every(({ rope }) => rope === undefined)) return "its layers have no rotary embedding";
  const found = layers.map(({ rope, headDim }) => rope && servedRope(rope, headDim));
  const obstacle = found.find((one) => typeof one === "string");
  return obstacle ?? found.filter((one) => typeof one !== "string");
}

/** A layer's embedding as kernels can apply it, or why they cannot. */
function servedRope(rope: RopeFacts, headDim: number): RopeFacts | string {
  const { rotaryDim, attentionFactor } = rope;
  if (rotaryDim !== headDim && attentionFactor !== 1) {
    return `a factor of ${attentionFactor} is of the ${rotaryDim} channels that rotate alone`;
  }
  return rotaryDim === headDim || rotaryDim % CHANNELS === 0 ? rope : padded(rope, headDim);
}

/** Channels that kernels rotate at a time, in eight pairs. */
const CHANNELS = 16;

/** The same embedding over as many channels as kernels can rotate, the others of which stay still. */
function padded(rope: RopeFacts, headDim: number): RopeFacts | string {
  const { layout, rotaryDim, theta, inverseFrequencies, sections } = rope;
  if (layout === "half") {
    return `${rotaryDim} channels rotate, each with one ${
      rotaryDim / 2
    } away, and kernels rotate eight pairs at a time`;
  }
  const wider = Math.min(headDim, Math.ceil(rotaryDim / CHANNELS) * CHANNELS);
  const turning = inverseFrequencies ??
    Array.from({ length: rotaryDim / 2 }, (_, i) => theta ** (-2 * i / rotaryDim));
  const still = new Array<number>((wider - rotaryDim) / 2).fill(0);
  return {
    ...rope,
    rotaryDim: wider,
    inverseFrequencies: [...turning, ...still],
    ...(sections && { sections: [...sections, ...still] }),
  };
}
