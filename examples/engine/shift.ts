/** Room for more tokens in a sequence that is full: its oldest tokens are forgotten. */
import { type Cache, dropGranularity, encodeDrop, type Sequence } from "@couplet/kv";

/**
 * Drops half of a sequence's coded tokens where it has no room for another token. Sinks and the recent
 * window stay.
 *
 * @throws {CoupletError} `usage` where the plan's codes depend on positions; from {@linkcode encodeDrop} where
 * the sequence is too short to drop any.
 */
export function makeRoom(device: GPUDevice, cache: Cache, sequence: Sequence): void {
  const { capacity, tiers: { sinks } } = cache.plan.options;
  if (cache.length(sequence) < capacity.sequenceTokens) return;
  const unit = dropGranularity(cache.plan);
  const half = Math.floor(cache.codedTokens(sequence) / 2 / unit) * unit;
  const encoder = device.createCommandEncoder();
  encodeDrop(cache, encoder, sequence, { from: sinks, to: sinks + Math.max(half, unit) });
  device.queue.submit([encoder.finish()]);
}
