/** What a GPU's compiler makes of attention, where the time that was measured is another machine's. */
import type { CountBench } from "../../bench/count/results.ts";

/** Kernels that are compared with f16's, in words. */
const COMPARED: readonly (readonly [kernel: string, uncompressed: string, words: string])[] = [
  [
    "attend_c8b8_c8b8_d128_rope",
    "attend_f16_f16_d128_rope",
    "with keys before their rotary embedding",
  ],
  [
    "attend_c8b8_c8b8_d128_table16_int8",
    "attend_f16_f16_d128_plain",
    "with keys as scored, in integers of one byte",
  ],
];

/** Instructions of c8b8 beside f16's, by count. */
export function describeGpuAttention({ family, counts }: CountBench): string {
  const instructions = (name: string): number => {
    const found = counts.find(({ kernel }) => kernel === name);
    if (found === undefined) throw new Error(`The count has no kernel ${name}`);
    return found.instructions;
  };
  const ratios = COMPARED.map(([kernel, uncompressed, words]) =>
    `${(instructions(kernel) / instructions(uncompressed)).toFixed(2)} times ${words}`
  );
  return `A GPU also gains from reading fewer bytes: by count for ${family}, a token of c8b8 takes ` +
    `f16's instructions ${ratios.join(", and ")} (deno task bench count)`;
}
