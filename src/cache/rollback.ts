/** Rollbacks to any length, also inside a block of tokens that were coded together. */
import { isOwn } from "../plan/options.ts";
import type { Cache } from "./cache.ts";
import type { CommandTarget } from "./command_target.ts";
import { tensorBytes } from "./host_bindings.ts";
import { cacheInternals } from "./internals.ts";
import { storageBuffer } from "./layer_buffers.ts";
import { bySide } from "../model/by_side.ts";
import { SIDES } from "../model/side.ts";
import { putInPlace } from "./put_in_place.ts";
import { codedTokens, type Sequence } from "./sequences.ts";

/**
 * Records a rollback, which removes the tokens from `length` on. Where {@linkcode Cache.truncate}
 * can do that, it is the same, and nothing is recorded.
 *
 * Else `length` lies inside a block of tokens that were coded together, and that are no longer held
 * exactly. What is left of the block is decoded into the exact tier: queries see what they saw, and
 * once the block is complete, it is coded anew from the decoded tokens. These, fewer than a block,
 * then have their coding error twice.
 *
 * @param target The host's encoder or compute pass.
 * @returns How many of the last tokens are known by their codes alone, and would be held exactly if
 * none had been removed behind them. 0 means that all is as if the removed tokens had never been
 * appended; so it is up to `appendTokens` removed tokens.
 * @throws {CoupletError} `usage` where the sequence is shorter; where `length` lies inside a step
 * that was not appended to every layer; where layers with a sliding window have freed what the last
 * query would see; for a call out of order. Nothing has changed then.
 */
export function encodeRollback(
  cache: Cache,
  target: CommandTarget,
  sequence: Sequence,
  length: number,
): number {
  const { check, commands, device, record, sequences } = cacheInternals(cache);
  check(target, sequence);
  const state = sequences.checkRollback(sequence, length, true);
  const { options } = cache.plan;
  const { sinks } = options.tiers;
  const known = sequences.exactAfter(state, length);
  const from = sequences.exactAfter(state, length, true);
  const aged = codedTokens(options, { length, exactFrom: 0 });
  if (from < known) {
    // What is decoded lies where it did before these steps, whether their commands ran or not.
    sequences.takeBack(state, length, known - sinks);
    record(target, sequence, (recorder) => {
      putInPlace(commands, recorder, state);
      options.pageTables.forEach((_, table) => commands.staleRow(recorder, state, table));
      const { dtype, layers, capacity } = options;
      const most = Math.min(known - from, capacity.stepTokens);
      const vectors = bySide((side) => {
        const sizes = layers.map((layer) => tensorBytes(layer, side, most, dtype));
        return { buffer: storageBuffer(device, `couplet decoded ${side}`, Math.max(...sizes)) };
      });
      for (let start = from; start < known; start += most) {
        const count = Math.min(most, known - start);
        const coded = commands.parameters.entries([{
          slot: state.slot,
          start: start - sinks,
          count,
        }]);
        const exact = commands.parameters.entries([{ slot: state.slot, start, count }]);
        layers.forEach((layer, index) => {
          if (!isOwn(layer, index)) return;
          const own = commands.layers[index]!;
          for (const side of SIDES) own.read(recorder, side, "coded", coded, vectors[side]);
          own.store(recorder, exact, vectors);
        });
      }
    });
  }
  sequences.truncate(sequence, length, true);
  return Math.max(0, known - sinks - aged);
}
