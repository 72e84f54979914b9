import type { OwnScheme, SchemeId } from "./scheme.ts";
import { levelScheme } from "./uniform.ts";

/**
 * KIVI (arXiv 2402.02750 §3), a baseline: asymmetric uniform quantisation between the smallest and
 * the largest of 32 numbers. `kc<bits>` codes each channel over 32 tokens, as KIVI codes keys;
 * `kt<bits>` codes each token over 32 channels, as it codes values. Its exact residual is the
 * window. `kh<bits>` codes each token over its whole head, as Kitty codes values
 * (arXiv 2511.18643).
 */
export function kivi(id: SchemeId): OwnScheme | undefined {
  const match = /^k([cth])([24])$/.exec(id);
  if (match === null) return undefined;
  const codeBits = Number(match[2]);
  return levelScheme(id, codeBits, {
    group: match[1] === "c" ? "tokens" : match[1] === "t" ? "channels" : "head",
    span: "range",
    steps: 2 ** codeBits - 1,
    zero: 0,
  });
}
