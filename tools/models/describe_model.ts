/**
 * What is planned of a model, in a few words.
 *
 * @module
 */
import type { ModelPlanOptions, RopeFacts } from "../../src/models/mod.ts";
import type { Planned } from "./published.ts";

/** A number with up to so many digits, none of them for nothing. */
const digits = (value: number, most: number) => `${Number(value.toPrecision(most))}`;

/** The different values of a list, or a value. */
function distinct(values: unknown): string {
  return [...new Set([values].flat())].join(" or ");
}

/** What is planned of a model. */
export function describeModel(
  { shape, keys, scale, softcap, learnedSinks, keyBias, modelLayers, layers }: ModelPlanOptions,
): Planned {
  const kinds = Map.groupBy(
    layers,
    ({ kind, slidingWindow, chunk }) => `${kind} ${slidingWindow || chunk || ""}`.trim(),
  );
  const ropes = new Set(layers.map(({ rope }) => describeRope(rope)));
  const others = [
    softcap === 0 ? [] : `softcap ${softcap}`,
    learnedSinks ? "learned sinks" : [],
    keyBias ? "key bias" : [],
    shape.sharesWith === undefined
      ? []
      : `${shape.sharesWith.filter((one) => one !== null).length} share`,
  ].flat();
  const planned = [
    [...kinds].map(([kind, { length }]) => `${length} ${kind}`).join(", ") +
    (modelLayers > layers.length ? ` of ${modelLayers}` : ""),
    `${distinct(shape.queryHeads)}/${distinct(shape.keyValueHeads)} x ${distinct(shape.headDim)}` +
    (shape.valueHeadDim === undefined ? "" : `/${distinct(shape.valueHeadDim)}`),
    [...ropes].join(" | "),
    keys.space,
    distinct(
      layers.map(({ headDim }, i) => {
        const own = typeof scale === "number" ? scale : scale[i]!;
        return own === headDim ** -0.5 ? `${headDim}^-0.5` : digits(own, 6);
      }),
    ),
  ] as const;
  return others.length === 0 ? planned : [...planned, others.join(", ")];
}

function describeRope(rope: RopeFacts | undefined): string {
  if (rope === undefined) return "none";
  const { layout, rotaryDim, theta, inverseFrequencies, attentionFactor } = rope;
  return `${layout} ${rotaryDim} @${digits(theta, 9)}${
    inverseFrequencies === undefined ? "" : " scaled"
  }${attentionFactor === 1 ? "" : ` x${digits(attentionFactor, 6)}`}`;
}
