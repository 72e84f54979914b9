/** The codebooks that the page loads: learned when it is built, and kept for the next time. */
import { encodeCodebooks, type SchemeId } from "@couplet/kv";
import { mkdir } from "node:fs/promises";
import { Progress } from "../../cli/progress.ts";
import { ROOT } from "../../tools/project.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { mobyDick, spreadContexts } from "../demo/texts.ts";
import { provideCodebooks } from "../eval/codebook_store.ts";
import type { Checkpoint } from "../engine/mod.ts";

/** How codebooks are learned. */
export interface Learning {
  /** Schemes whose codebooks are wanted. */
  readonly schemes: readonly SchemeId[];
  /** Tokens to learn from, in whole contexts. */
  readonly tokens: number;
  /** Tokens of a context. */
  readonly context: number;
  /** Where they are kept, if anywhere. */
  readonly folder?: string;
}

/** What the task learns: a minute or two on two cores. */
export const LEARNING: Learning = {
  schemes: ["n8b8x2", "c4b8", "n16b8x2", "c8b8"],
  tokens: 4096,
  context: 512,
  folder: `${ROOT}.cache/playground`,
};

/** Codebooks on their way to the page. */
export interface LearnedCodebooks {
  /** Files by scheme. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** The text, for people. */
  readonly source: string;
  /** Tokens learned from. */
  readonly tokens: number;
}

/**
 * The codebooks of some schemes, each for keys before the rotary embedding and for values, with Fisher weights.
 *
 * @throws {CoupletError} as `calibrate` does; `device` where there is none and something is to be learned.
 */
export async function learnCodebooks(
  checkpoint: Checkpoint,
  { schemes, tokens, context, folder }: Learning,
): Promise<LearnedCodebooks> {
  const text = await mobyDick();
  const tokenIds = checkpoint.tokenizer.encode(text.text);
  const contexts = spreadContexts("calibrate on", tokenIds, context, Math.ceil(tokens / context));
  if (folder !== undefined) await mkdir(folder, { recursive: true });
  const device = await requestTestDevice();
  const stage = new Progress(1).stage("codebooks, kept for the next time");
  try {
    const set = await provideCodebooks(
      {
        weights: "fisher",
        keySpace: "pre-rope",
        shareHeads: false,
        schemes: { keys: schemes, values: schemes },
      },
      { device, checkpoint, contexts, name: text.name, seed: 1, folder },
      stage,
    );
    const files = new Map(schemes.map((scheme) => {
      const codebooks = set.codebooks.filter((one) => one.scheme === scheme);
      return [scheme, encodeCodebooks({ ...set, codebooks })];
    }));
    return { files, source: text.name, tokens: contexts.length * context };
  } finally {
    stage.done();
    device.destroy();
  }
}
