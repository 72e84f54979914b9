/** What a sequence was restored with is put in place before its tokens are moved. */
import type { CacheCommands } from "./cache_commands.ts";
import type { Recorder } from "./recorder.ts";
import type { SequenceState } from "./sequences.ts";

/** Records what puts a sequence's restored content in place, which no later step does again. */
export function putInPlace(
  commands: CacheCommands,
  recorder: Recorder,
  state: SequenceState,
): void {
  if (state.restored === undefined) return;
  commands.restore(recorder, state, state.restored, commands.own);
  state.restored = undefined;
}
