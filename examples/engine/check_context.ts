import { CoupletError } from "@couplet/kv";
import type { ModelConfig } from "./config.ts";

/**
 * Checks before a model's weights are read that it was made for contexts of a length.
 *
 * @param what What cannot be done with longer ones.
 * @throws {CoupletError} `usage` where it was made for shorter ones.
 */
export function checkContext(
  what: string,
  { maxPositions }: ModelConfig,
  context: number,
): void {
  if (context <= maxPositions) return;
  throw new CoupletError("usage", {
    what,
    why: `--context is ${context} and the model was made for ${maxPositions} tokens`,
    remedy: `Use --context ${maxPositions} or less`,
  });
}
