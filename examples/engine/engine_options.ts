/** What an engine is made of. */
import type { KeySpace } from "@couplet/kv";
import type { AttentionCache } from "./attention_cache.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { MatrixStorage } from "./kernels/common.ts";

/** What an engine is made of. */
export interface EngineOptions<Sequence, Step> {
  /** The device everything runs on; the engine neither requests nor destroys it. */
  readonly device: GPUDevice;
  /** The model. */
  readonly checkpoint: Checkpoint;
  /** The KV cache, on the same device; all attention is its. */
  readonly cache: AttentionCache<Sequence, Step>;
  /** Whether the cache takes keys (and queries) before or after the rotary embedding; `pre-rope` where absent. */
  readonly keySpace?: KeySpace;
  /** Most tokens in one step over all sequences: the cache's `stepTokens`. */
  readonly maxTokens: number;
  /** Most tokens of one sequence in a step: the cache's `appendTokens`; `maxTokens` where absent. */
  readonly appendTokens?: number;
  /** How matrices are stored on the device: float16 only where the checkpoint's are, where absent. */
  readonly storage?: MatrixStorage | "as-stored";
}
