/** What steps need of memory between kernels. */
import type { AttentionKernels } from "./choose_attention.ts";
import type { ResolvedOptions } from "./options.ts";
import { partialBytes, scoreBytes, type ScratchBytes, tableBytes } from "./sizes.ts";
import { type AttentionWay, decodeStep, largestStep, type StepSize } from "./steps.ts";

/** Bytes that the steps of a cache need to attend to its sequences, or to the spans of a kind. */
export function stepScratch(
  cache: ResolvedOptions,
  own: ResolvedOptions,
  layers: readonly Readonly<Record<AttentionWay, AttentionKernels>>[],
): Omit<ScratchBytes, "spans"> {
  const attentions = layers.flatMap(({ decode, prefill }) => [decode, prefill]);
  const tables = layers.flatMap(({ decode, prefill }, index) => {
    const bytes = (step: StepSize) => tableBytes(own.layers[index]!, step);
    return [
      decode.table ? bytes(decodeStep(cache)) : 0,
      prefill.table ? bytes(largestStep(cache)) : 0,
    ];
  });
  return {
    partials: partialBytes(own, attentions.map(({ splits }) => splits)),
    scores: attentions.some(({ score }) => score) ? scoreBytes(own) : 0,
    tables: Math.max(...tables),
  };
}
