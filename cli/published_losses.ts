/** What schemes lose of the fixture model, as docs/choosing.md has it. */
import type { SchemeId } from "../src/schemes/scheme.ts";

/** What the keys' and the values' scheme lose together, with keys before their rotary embedding. */
export interface PublishedLoss {
  readonly keys: SchemeId;
  readonly values: SchemeId;
  /** Change of the perplexity on text that codebooks were not learned on, relative to f16's. */
  readonly perplexity: number;
  /** KL divergence from f16, in nats per token. */
  readonly divergence: number;
  /**
   * Whether every token was coded. Else those of unfinished blocks were exact, and the text was
   * another: such figures are to be compared with each other only.
   */
  readonly everyToken: boolean;
}

type Figures = readonly [schemes: string, perplexity: number, divergence: number];

/** docs/choosing.md#every-token-coded. */
const EVERY_TOKEN: readonly Figures[] = [
  ["u8b8", 0.158, 0.1598],
  ["c8b8", 0.114, 0.1106],
  ["n16b4x4", 0.073, 0.0909],
  ["n16b8x2", 0.023, 0.0441],
  ["u4b8", 0.022, 0.0378],
  ["c4b8", 0.032, 0.0337],
  ["n32b8x4", 0.014, 0.0303],
  ["n8b4x4", 0.03, 0.0255],
  ["n8b8x2", 0.009, 0.0176],
  ["n16b8x4", 0.009, 0.0135],
  ["c2b8", 0.005, 0.0038],
];

/** docs/choosing.md#quality and #without-calibration, of those that are not above. */
const CODES_ALONE: readonly Figures[] = [
  ["c2b4", 0.092, 0.0627],
  ["c1b2", 0.103, 0.0702],
  ["c4b8/c8b8", 0.15, 0.1086],
  ["c8b10", 0.081, 0.0613],
  ["c4b4", 0.307, 0.2417],
  ["c2b2", 0.437, 0.3391],
  ["c1b1", 0.454, 0.3636],
  ["t1b1", 1.453, 0.896],
  ["t1b2", 0.129, 0.1402],
  ["t1b3", 0.02, 0.0267],
  ["t1b4", 0.004, 0.0057],
  ["kc2/kt2", 0.008, 0.0098],
  ["kc4/kt4", -0.001, 0.0004],
  ["q4", 0.004, 0.0046],
  ["q8", 0, 0],
];

/** All of them, those of most loss first. */
export const PUBLISHED_LOSSES: readonly PublishedLoss[] = [
  ...EVERY_TOKEN.map((figures) => publishedLoss(figures, true)),
  ...CODES_ALONE.map((figures) => publishedLoss(figures, false)),
].sort((a, b) => b.divergence - a.divergence);

function publishedLoss(
  [schemes, perplexity, divergence]: Figures,
  everyToken: boolean,
): PublishedLoss {
  const [keys, values = keys] = schemes.split("/") as [SchemeId, SchemeId?];
  return { keys, values, perplexity, divergence, everyToken };
}
