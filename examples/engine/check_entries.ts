import { CoupletError, type KeySpace } from "@couplet/kv";
import type { ModelConfig } from "./config.ts";
import type { ForwardEntry } from "./forward_entry.ts";

/**
 * Checks what a forward pass is given.
 *
 * @throws {CoupletError} `usage` where it is empty, repeated, unknown or contradicts the model.
 */
export function checkEntries<Sequence>(
  entries: readonly ForwardEntry<Sequence>[],
  config: ModelConfig,
  keySpace: KeySpace,
): void {
  for (const entry of entries) checkEntry(entry, config, keySpace);
  if (new Set(entries.map(({ sequence }) => sequence)).size < entries.length) {
    throw misused("a sequence is in two entries", "Join its tokens in one entry");
  }
}

function checkEntry<Sequence>(
  { tokenIds, nextTokenId, embedded, position, kept }: ForwardEntry<Sequence>,
  { vocabularySize, hiddenSize, layers }: ModelConfig,
  keySpace: KeySpace,
): void {
  if (tokenIds.length === 0) throw misused("an entry has no tokens", "Leave the entry out");
  const wrong = [...tokenIds, ...(nextTokenId === undefined ? [] : [nextTokenId])].find((id) =>
    !Number.isInteger(id) || id < 0 || id >= vocabularySize
  );
  if (wrong !== undefined) {
    throw misused(
      `token ${wrong} is not in the vocabulary of ${vocabularySize}`,
      "Use the checkpoint's own tokenizer",
    );
  }
  if (embedded !== undefined) {
    const tokens = embedded.vectors.length / hiddenSize;
    checkRange("embeddings", embedded.first, tokens, tokenIds.length);
  }
  if (kept !== undefined) {
    checkRange("kept tokens", kept.first, kept.tokens, tokenIds.length);
    if (kept.layers.length !== layers) {
      throw misused(
        `keys and values of ${kept.layers.length} layers are kept, and the model has ${layers}`,
        "Give two buffers for each layer",
      );
    }
  }
  if (position === undefined) return;
  if (keySpace !== "as-scored") {
    throw misused(
      "a position was given, and the cache applies the rotary embedding itself",
      "Plan the cache for keys as scored",
    );
  }
  if (!Number.isSafeInteger(position) || position < 0) {
    throw misused(`the position is ${position}`, "Give a whole number of 0 or more");
  }
}

function checkRange(what: string, first: number, tokens: number, most: number): void {
  if ([first, tokens].every((n) => Number.isInteger(n) && n >= 0) && first + tokens <= most) return;
  throw misused(
    `the ${what} are ${tokens} from token ${first} on, and the entry has ${most}`,
    "Give whole rows, within the entry's tokens",
  );
}

function misused(why: string, remedy: string): CoupletError {
  return new CoupletError("usage", { what: "These tokens cannot be run", why, remedy });
}
