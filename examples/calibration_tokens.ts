import { parseScheme, type SchemeId } from "@couplet/kv";

/** Where each code has centroids of its own. */
const TOKENS = 12288;

/** Where centroids are added: each stage learns from what is left by those before it. */
const TOKENS_OF_SUMS = 24576;

/** Both, for the help of `--tokens`. */
export const CALIBRATION_TOKENS: string =
  `default: ${TOKENS}, or ${TOKENS_OF_SUMS} where centroids are added`;

/** Tokens to learn codebooks of some schemes on, where nothing is said. */
export function calibrationTokens(schemes: readonly SchemeId[]): number {
  const adds = schemes.some((id) => parseScheme(id).codebookSpec?.stages !== undefined);
  return adds ? TOKENS_OF_SUMS : TOKENS;
}
