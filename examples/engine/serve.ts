import { type Cache, CoupletError, type Sequence } from "@couplet/kv";
import type { Engine } from "./engine.ts";
import { likeliest } from "./generate.ts";
import type { Prefix } from "./prefix.ts";
import { acceptedTokens, draftTokens } from "./speculation.ts";

/** How to continue prompts. */
export interface ServeOptions {
  /** Most tokens to add to each prompt. */
  readonly tokens: number;
  /** What all prompts begin with; each then continues a fork of its sequence. */
  readonly prefix?: Prefix;
  /** Most tokens to draft for each prompt and pass; 0, for none, where absent. */
  readonly draftTokens?: number;
  /** Called when every prompt has its sequence, and nothing of it is computed yet. */
  readonly onReady?: () => void;
}

/** A prompt continued. */
export interface Completion {
  /** Index of the prompt. */
  readonly prompt: number;
  /** The tokens added, without the one that ends a text. */
  readonly tokenIds: readonly number[];
  /** Whether the model ended the text; else it was cut at `tokens`. */
  readonly ended: boolean;
  /** Forward passes it took part in, its prompt's included. */
  readonly passes: number;
  /** Tokens drafted for it. */
  readonly drafted: number;
  /** Those of them that were kept. */
  readonly accepted: number;
}

/** A prompt on its way. */
interface Request {
  readonly prompt: number;
  readonly sequence: Sequence;
  /** Prefix, prompt and what was added. */
  readonly text: number[];
  readonly added: number[];
  ended: boolean;
  passes: number;
  drafted: number;
  accepted: number;
}

/** One request's share of a forward pass. */
interface Turn {
  readonly request: Request;
  /** The tokens the cache does not hold yet: the prompt, then the last token alone. */
  readonly known: readonly number[];
  /** What may follow them. */
  readonly draft: readonly number[];
}

/**
 * Continues prompts together, each by the likeliest tokens, and gives each when it is done. All prompts run in
 * one forward pass; so do all next tokens of the unfinished ones, with the drafts of further tokens that the
 * pass verifies. What it does not confirm is taken back from the cache.
 *
 * A token is always the likeliest by the pass that verified it, on the tokens before it and no others. So drafts
 * and the company of other prompts change the text only where rounding decides: passes of another shape
 * run other kernels, add in another order, and differ in the last bits of the logits.
 *
 * All sequences it creates are freed at the end, also where the caller stops early.
 *
 * @param cache The engine's.
 * @param prompts In tokens, at least one each, prefix not included.
 * @throws {CoupletError} `usage` for options that contradict each other; `capacity` where the cache cannot hold the
 * prompts and their continuations. Other sequences of the cache stay as they were.
 */
export async function* serve(
  engine: Engine<Sequence>,
  cache: Cache,
  prompts: readonly (readonly number[])[],
  options: ServeOptions,
): AsyncGenerator<Completion, void, void> {
  const { tokens, prefix, draftTokens: drafts = 0, onReady } = options;
  checkOptions(cache, prompts, options);
  const unfinished = new Set<Request>();
  try {
    prompts.forEach((prompt, index) =>
      unfinished.add({
        prompt: index,
        sequence: prefix === undefined
          ? cache.createSequence()
          : fork(engine.device, cache, prefix),
        text: [...prefix?.tokenIds ?? [], ...prompt],
        added: [],
        ended: false,
        passes: 0,
        drafted: 0,
        accepted: 0,
      })
    );
    onReady?.();
    let turns = [...unfinished].map((request): Turn => ({
      request,
      known: prompts[request.prompt]!,
      draft: [],
    }));
    while (turns.length > 0) {
      await takeTurns(engine, cache, turns);
      for (const { request } of turns) {
        const { prompt, sequence, added, ended, passes, drafted, accepted } = request;
        if (!ended && added.length < tokens) continue;
        unfinished.delete(request);
        cache.freeSequence(sequence);
        yield { prompt, tokenIds: added, ended, passes, drafted, accepted };
      }
      turns = [...unfinished].map((request): Turn => ({
        request,
        known: request.text.slice(-1),
        // The pass itself adds one token more.
        draft: draftTokens(request.text, Math.min(drafts, tokens - request.added.length - 1)),
      }));
    }
  } finally {
    for (const { sequence } of unfinished) cache.freeSequence(sequence);
  }
}

/** Runs a forward pass over all turns and keeps what it confirms. */
async function takeTurns(
  engine: Engine<Sequence>,
  cache: Cache,
  turns: readonly Turn[],
): Promise<void> {
  const { vocabularySize, endTokens } = engine.checkpoint.config;
  const { logits } = await engine.forward(
    turns.map(({ request: { sequence }, known, draft }) => ({
      sequence,
      tokenIds: [...known, ...draft],
    })),
    { logits: turns.some(({ draft }) => draft.length > 0) ? "all" : "last" },
  );
  turns.forEach(({ request, draft }, i) => {
    const choices = Array.from({ length: draft.length + 1 }, (_, row) => {
      const end = logits![i]!.length - (draft.length - row) * vocabularySize;
      return likeliest(logits![i]!.subarray(end - vocabularySize, end));
    });
    const accepted = acceptedTokens(draft, choices);
    const wrong = draft.length - accepted;
    if (wrong > 0) cache.truncate(request.sequence, cache.length(request.sequence) - wrong);
    request.passes++;
    request.drafted += draft.length;
    request.accepted += accepted;
    const next = choices.slice(0, accepted + 1);
    const end = next.findIndex((tokenId) => endTokens.includes(tokenId));
    request.ended = end >= 0;
    const kept = request.ended ? next.slice(0, end) : next;
    request.added.push(...kept);
    request.text.push(...kept);
  });
}

/** A sequence of its own that holds the prefix. */
function fork(device: GPUDevice, cache: Cache, { sequence }: Prefix): Sequence {
  const encoder = device.createCommandEncoder({ label: "fork" });
  const forked = cache.encodeFork(encoder, sequence);
  device.queue.submit([encoder.finish()]);
  return forked;
}

/** Finds what would fail in the middle, before anything begins. */
function checkOptions(
  cache: Cache,
  prompts: readonly (readonly number[])[],
  { tokens, prefix, draftTokens: drafts = 0 }: ServeOptions,
): void {
  const refuse = (code: "usage" | "capacity", why: string, remedy: string): never => {
    throw new CoupletError(code, { what: "These prompts cannot be continued", why, remedy });
  };
  if (!Number.isInteger(tokens) || tokens < 1) {
    refuse("usage", `tokens is ${tokens}, not a whole number of 1 or more`, "Say how many to add");
  }
  if (!Number.isInteger(drafts) || drafts < 0) {
    refuse("usage", `draftTokens is ${drafts}, not a whole number of 0 or more`, "0 drafts none");
  }
  const empty = prompts.findIndex((prompt) => prompt.length === 0);
  if (empty >= 0) {
    refuse("usage", `prompt ${empty} has no tokens`, "Leave it out, or give at least one token");
  }
  const before = prefix === undefined ? 0 : cache.length(prefix.sequence);
  if (before !== (prefix?.tokenIds.length ?? 0)) {
    refuse(
      "usage",
      `the prefix has ${prefix?.tokenIds.length} tokens and its sequence holds ${before}`,
      "Pass what openPrefix() gives, and let its sequence be",
    );
  }
  const { sequenceTokens, appendTokens } = cache.plan.options.capacity;
  // The last token added is never run.
  const longest = before + Math.max(0, ...prompts.map(({ length }) => length)) + tokens - 1;
  if (longest > sequenceTokens) {
    refuse(
      "capacity",
      `a sequence would hold ${longest} tokens, and ${sequenceTokens} are planned`,
      "Shorten the prompts, lower tokens, or plan more (capacity.sequenceTokens)",
    );
  }
  // Of all tokens added, the first comes of the prompt and the last is never drafted.
  const drafted = Math.min(drafts, tokens - 2);
  if (drafted >= appendTokens) {
    // Only so many tokens are taken back without a trace.
    refuse(
      "capacity",
      `${drafted} drafted tokens and the one before are more than the ${appendTokens} of an append`,
      "Draft fewer, or plan more (capacity.appendTokens)",
    );
  }
}
