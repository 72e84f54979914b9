/** A plan in words. */
import type { ResolvedLayer, ResolvedOptions } from "./options.ts";
import { skipBound } from "./skip.ts";
import type { CacheBytes } from "./sizes.ts";
import { type AttentionKernels, candidateNames } from "./choose_attention.ts";
import { keyAnchors } from "../model/anchors.ts";
import { PAGE_TOKENS } from "../kernels/constants.ts";
import { type Precision, PRECISION_BOUNDS } from "../kernels/precision.ts";
import { SIDES } from "../model/side.ts";
import type { LayerPlan } from "./plan.ts";
import type { SpanPlan } from "./spans.ts";

function describeAttention(name: string, attention: AttentionKernels): string {
  return `  ${name}: ${candidateNames(attention).join(" + ")}, tiles of ${
    attention.span * PAGE_TOKENS
  } tokens (${attention.reason})`;
}

export function describePlan(
  resolved: ResolvedOptions,
  layers: readonly LayerPlan[],
  spans: readonly SpanPlan[],
  bytes: CacheBytes,
  precision: Precision,
): string {
  const { layers: options, shape, skipBelow } = resolved;
  const [{ keyOptions, headDim }] = options as [ResolvedLayer];
  const anchors = keyAnchors(keyOptions, headDim);
  // What all layers have in common goes without saying.
  const varies = [shape.headDim, shape.queryHeads].some((one) => typeof one !== "number");
  const lines = layers.flatMap((layer, index) => {
    const { queryHeads, keyValueHeads, headDim, valueHeadDim, slidingWindow, source } =
      options[index]!;
    const values = headDim === valueHeadDim ? "" : ` (values ${valueHeadDim})`;
    const stores = [...new Set([layer.storeKeys.name, layer.storeValues.name])].join(" + ");
    const sides = SIDES.map((side) => {
      const { codes, exact, codebooks } = layer.bytes[side];
      return `  ${side} ${
        layer[side]
      }: ${codes} bytes of codes, ${exact} exact, ${codebooks} of codebooks`;
    });
    return [
      `layer ${index}: ${keyValueHeads} KV heads` +
      (varies || values ? ` of ${headDim} channels${values} for ${queryHeads} query heads` : "") +
      (slidingWindow > 0 ? `, the last ${slidingWindow} tokens` : "") +
      (layer.parts.length > 1 ? `, in ${layer.parts.length} buffers each` : ""),
      ...(source === index ? sides : [`  the keys and values of layer ${source}`]),
      ...(source === index
        ? [`  append: ${stores} + ${layer.encodeKeys.name} + ${layer.encodeValues.name}`]
        : []),
      describeAttention("decode", layer.decode),
      describeAttention("prefill", layer.prefill),
      `  merge: ${layer.combine.name}`,
    ];
  });
  const kinds = spans.flatMap(({ name, options: { capacity, span }, layers, bytes }) => [
    `spans "${name}": ${capacity.sequences} of ${capacity.tokens} tokens together, ${bytes} bytes` +
    (span.remap > 0 ? `, scores narrowed by ${span.remap}` : ""),
    // Layers that are coded alike share a plan.
    ...[...new Set(layers)].flatMap((layer, _, { length }) => [
      ...(length === 1 ? [] : [
        `  layers ${layers.flatMap((one, i) => one === layer ? [i] : []).join(", ")}`,
      ]),
      ...SIDES.map((side) => {
        const { scheme, fit, encode } = layer[side];
        return `  ${side} ${scheme}: ${fit === undefined ? "" : `${fit.name} + `}${encode.name}`;
      }),
      describeAttention("decode", layer.decode),
      describeAttention("prefill", layer.prefill),
    ]),
  ]);
  const parts = Object.entries(bytes).map(([kind, count]) => `${kind} ${count}`);
  return [
    ...(anchors ? [`keys: anchored (${anchors} tokens)`] : []),
    ...lines,
    ...kinds,
    `precision: ${precision}, outputs within ${
      PRECISION_BOUNDS[precision]
    } of their root mean square`,
    ...(skipBelow > 0
      ? [
        `skip: tiles ${skipBelow} below the best score seen are not mixed, outputs within ${
          skipBound(resolved).toPrecision(2)
        } of the spread of values`,
      ]
      : []),
    `bytes: ${parts.join(", ")}`,
  ].join("\n");
}
