import type { ModelFingerprint } from "@couplet/kv";
import type { QualityFigures } from "../eval/figures/results.ts";
import type { Variant } from "./variants.ts";

/** One row's figures. */
export interface AblationRow extends Variant {
  /** Beside the exact model. */
  readonly quality: QualityFigures;
  /** Perplexity over that of the row it differs from, where that was measured, too. */
  readonly change?: number;
  /** Means over layers and heads. */
  readonly codingError: { readonly keys: number; readonly values: number };
  readonly logitError: number;
}

/** Everything an ablation comes to; nothing is rounded. */
export interface Ablation {
  readonly format: "couplet-ablation";
  readonly version: 1;
  readonly adapter: { readonly name: string; readonly kind: string };
  readonly model: ModelFingerprint;
  readonly settings: {
    readonly seed: number;
    readonly context: number;
    readonly text: { readonly name: string; readonly contexts: number };
    readonly calibration: { readonly name: string; readonly tokens: number };
  };
  /** Of the exact model. */
  readonly perplexity: number;
  readonly rows: readonly AblationRow[];
}
