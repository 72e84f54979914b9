import { tiersLabel } from "./method_labels.ts";
import type { MethodFigures } from "./results.ts";

/** What a choice costs, in memory and in quality. */
export interface BitsAndLoss {
  readonly bits: number;
  readonly loss: number;
}

/** Whether each point is on the Pareto front: no other takes no more bits and loses no more, and one of the two less. */
export function paretoFront(points: readonly BitsAndLoss[]): readonly boolean[] {
  return points.map((point) =>
    !points.some(({ bits, loss }) =>
      bits <= point.bits && loss <= point.loss && (bits < point.bits || loss < point.loss)
    )
  );
}

/**
 * Whether each method is on the front of effective bits and KL divergence on different text, by index of its effective
 * bits, `[methods][lengths]`. Methods with other exact tiers do not compete: a window hides from the divergence what the
 * codes have lost.
 */
export function methodFronts(methods: readonly MethodFigures[]): readonly (readonly boolean[])[] {
  return methods.map((method, own) => {
    const rivals = methods.filter((other) => tiersLabel(other) === tiersLabel(method));
    const place = rivals.indexOf(methods[own]!);
    return method.effectiveBits.map((_, length) =>
      paretoFront(rivals.map(({ effectiveBits, quality }) => ({
        bits: effectiveBits[length]!.bits,
        loss: quality.different.divergence,
      })))[place]!
    );
  });
}
