/** Turns what is known of a model's layers into options of a plan, and refuses what plans cannot have. */
import type { KeyOptions, KeySpace, ModelShape } from "../model/model.ts";
import type { AttentionLayer, ModelFacts, RopeFacts } from "./reading/facts.ts";
import { listNames, refuse } from "./reading/refuse.ts";

/** The options of a plan that follow from a model. */
export interface PlannedLayers {
  readonly shape: ModelShape;
  readonly keys: KeyOptions;
  readonly scale: number;
  /** Why keys are planned as they are scored, where nobody asked for it. */
  readonly asScored?: string;
  /** A sentence on what the host does to keys and queries. */
  readonly note?: string;
}

/** What all layers of a plan have in common, in words. */
const COMMON = {
  headDim: "head dimensions",
  queryHeads: "numbers of query heads",
  scale: "scales",
} as const satisfies Partial<Record<keyof AttentionLayer, string>>;

/**
 * Options of a plan for these layers.
 *
 * @param space The space of keys; where absent, before their rotary embedding if that is possible.
 * @param length Tokens of the sequences to be planned for, where they are known.
 * @throws {CoupletError} `file` where layers differ in what a plan has once, and where keys cannot be
 * planned in the space asked for.
 */
export function planLayers(
  facts: ModelFacts,
  space: KeySpace | undefined,
  length: number | undefined,
): PlannedLayers {
  const { layers, differBy } = facts;
  refuseUnserved(facts, length);
  const common = (name: keyof typeof COMMON): number => {
    const values = [...new Set(layers.map((layer) => layer[name]))];
    if (values.length === 1) return values[0]!;
    return refuse(
      `its layers have ${COMMON[name]} of ${listNames(values.map(String))}${
        by(differBy[name])
      }, and a cache has one`,
      "Plan a cache for each of them by hand (planCache)",
    );
  };
  const headDim = common("headDim");
  const scale = common("scale");
  const heads = layers.map(({ keyValueHeads }) => keyValueHeads);
  const windows = layers.map(({ slidingWindow }) => slidingWindow);
  const shape: ModelShape = {
    layers: layers.length,
    queryHeads: common("queryHeads"),
    keyValueHeads: new Set(heads).size === 1 ? heads[0]! : heads,
    headDim,
    ...(windows.some((window) => window > 0) ? { slidingWindow: windows } : {}),
  };
  const found = findRope(facts, headDim);
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
      scale,
      ...(space === undefined && typeof found === "string" ? { asScored: found } : {}),
      ...factorNote(layers),
    };
  }
  const { layout, theta, rotaryDim, inverseFrequencies, attentionFactor } = found;
  return {
    shape,
    keys: {
      space: space ?? "pre-rope",
      rope: {
        layout,
        theta,
        ...(rotaryDim === headDim ? {} : { rotaryDim }),
        ...(inverseFrequencies === undefined ? {} : { inverseFrequencies }),
      },
    },
    // Kernels rotate alone; the factor is of both keys and queries.
    scale: scale * attentionFactor ** 2,
  };
}

/** Says what the host multiplies keys and queries by where it rotates them itself. */
function factorNote(layers: readonly AttentionLayer[]): Pick<PlannedLayers, "note"> {
  const factors = new Set(layers.map(({ rope }) => rope?.attentionFactor ?? 1));
  factors.delete(1);
  return factors.size === 0 ? {} : {
    note: `The host multiplies rotated channels of keys and queries by ${
      [...factors].join(" or ")
    }, the attention factor of their rotary embedding.`,
  };
}

/** Refuses layers that no cache can serve yet. */
function refuseUnserved({ layers, differBy }: ModelFacts, length = Infinity): void {
  for (const { number, sharesWith, chunk, headDim, valueDim } of layers) {
    if (sharesWith !== undefined) {
      refuse(
        `layer ${number} uses the keys and values of layer ${sharesWith}${
          by(differBy.sharesWith)
        }, and each layer of a cache has its own`,
        "Plan the layers that have their own by hand (planCache), and let the others attend to them",
      );
    }
    if (valueDim !== headDim) {
      refuse(
        `values have ${valueDim} channels and keys ${headDim}${
          by(differBy.valueDim)
        }, and a cache has one number`,
        "Choose another model",
      );
    }
    if (chunk > 0 && length > chunk) {
      refuse(
        `queries of layer ${number} see the tokens of their own chunk of ${chunk} alone (attention_chunk_size), and a cache has windows that slide`,
        `Plan for sequences of at most ${chunk} tokens, which are one chunk`,
      );
    }
  }
}

/** The embedding that kernels can apply to the keys of all layers, or why there is none. */
function findRope(facts: ModelFacts, headDim: number): RopeFacts | string {
  const { layers, asScored, differBy } = facts;
  if (asScored !== undefined) return asScored;
  const ropes = new Set(layers.map(({ rope }) => rope));
  const some = [...ropes].filter((rope) => rope !== undefined);
  const [first] = some;
  if (first === undefined) return "its layers have no rotary embedding";
  if (ropes.has(undefined)) return `some layers have no rotary embedding${by(differBy.rope)}`;
  if (new Set(some.map((rope) => JSON.stringify(rope))).size > 1) {
    const thetas = [...new Set(some.map(({ theta }) => theta))];
    return `layers differ in their rotary embedding${
      thetas.length > 1 ? ` (bases ${thetas.join(" and ")})` : ""
    }`;
  }
  const { rotaryDim, attentionFactor } = first;
  if (rotaryDim !== headDim && attentionFactor !== 1) {
    return `a factor of ${attentionFactor} is of the ${rotaryDim} channels that rotate alone`;
  }
  return rotaryDim === headDim || rotaryDim % CHANNELS === 0 ? first : padded(first, headDim);
}

/** Channels that kernels rotate at a time, in eight pairs. */
const CHANNELS = 16;

/** The same embedding over as many channels as kernels can rotate, the others of which stay still. */
function padded(rope: RopeFacts, headDim: number): RopeFacts | string {
  const { layout, rotaryDim, theta, inverseFrequencies } = rope;
  if (layout === "half") {
    return `${rotaryDim} channels rotate, each with one ${
      rotaryDim / 2
    } away, and kernels rotate eight pairs at a time`;
  }
  const wider = Math.min(headDim, Math.ceil(rotaryDim / CHANNELS) * CHANNELS);
  const turning = inverseFrequencies ??
    Array.from({ length: rotaryDim / 2 }, (_, i) => theta ** (-2 * i / rotaryDim));
  const still = new Array<number>((wider - rotaryDim) / 2).fill(0);
  return { ...rope, rotaryDim: wider, inverseFrequencies: [...turning, ...still] };
}

/** The entry that says so, in brackets. */
function by(entry: string | undefined): string {
  return entry === undefined ? "" : ` (${entry})`;
}
