import type { ModelFingerprint } from "../../mod.ts";

/** A prompt, as the pages fetch it. */
export interface Prompt {
  /** The prompt. */
  readonly text: string;
  /** Its tokens. */
  readonly tokenIds: readonly number[];
  /** The tokens that follow it in the text it is from. */
  readonly continuation: readonly number[];
  /** The model whose tokens they are. */
  readonly model: ModelFingerprint;
}
