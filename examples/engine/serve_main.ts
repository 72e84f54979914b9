/**
 * Continues several texts together, with a prefix that they share, and drafts: `deno task serve --help` lists
 * the options.
 *
 * @module
 */
import { directoryStore } from "@couplet/kv/stores/directory";
import { printable, runProgram } from "../command_line.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { loadModel } from "./load_model.ts";
import { openPrefix } from "./prefix.ts";
import { type Completion, serve } from "./serve.ts";
import { parseServeArguments, type ServeArguments } from "./serve_arguments.ts";
import { serveCapacity } from "./serve_capacity.ts";
import { contextTokens, readTextFile, startEngine } from "./start_engine.ts";
import type { Tokenizer } from "./tokenizer.ts";

async function main(argv: readonly string[]): Promise<void> {
  const parsed = parseServeArguments(argv);
  if ("help" in parsed) {
    console.log(parsed.help);
    return;
  }
  const { options } = parsed;
  const { tokens, draft: draftTokens } = options;
  const checkpoint = await loadModel(options.model);
  const { prefixIds, prompts } = await encodeTexts(options, checkpoint);
  const promptTokens = prompts.map(({ length }) => length);
  contextTokens(checkpoint, prefixIds.length + Math.max(...promptTokens), tokens);
  const { engine, cache, destroy } = await startEngine(
    options,
    checkpoint,
    serveCapacity({ prefixTokens: prefixIds.length, promptTokens, tokens, draftTokens }),
  );

  const start = performance.now();
  const store = options.store === undefined ? undefined : directoryStore(options.store);
  const prefix = prefixIds.length === 0
    ? undefined
    : await openPrefix(engine, cache, prefixIds, store);
  if (prefix !== undefined) {
    for (const { error } of prefix.refused) console.error(printable(error.message));
    const { restored } = prefix;
    console.error(
      `Prefix: ${restored} tokens restored, ${prefixIds.length - restored} computed` +
        (store !== undefined && restored < prefixIds.length ? " and stored" : ""),
    );
  }

  const completions: Completion[] = [];
  const served = serve(engine, cache, prompts, {
    tokens,
    draftTokens,
    ...(prefix ? { prefix } : {}),
    onReady() {
      const { sequences, pages } = cache.stats();
      console.error(
        `Pages: ${pages.total - pages.free} hold ${sequences} sequences, ${pages.shared} shared`,
      );
    },
  });
  for await (const completion of served) {
    completions.push(completion);
    const { prompt, tokenIds } = completion;
    const before = [...prefixIds, ...prompts[prompt]!];
    const added = addedText(checkpoint.tokenizer, before, tokenIds);
    console.log(printable(`${prompt + 1}. ${options.prompts[prompt]}${added}\n`));
  }
  console.error(summary(completions, performance.now() - start));
  destroy();
}

/** Prefix and prompts in tokens; a text's beginning is marked once, as the model expects it. */
async function encodeTexts(
  { prefix, prompts }: ServeArguments,
  { tokenizer }: Checkpoint,
): Promise<{ prefixIds: readonly number[]; prompts: readonly (readonly number[])[] }> {
  if (prefix === undefined) {
    return { prefixIds: [], prompts: prompts.map((prompt) => tokenizer.encode(prompt, true)) };
  }
  const text = prefix.startsWith("@") ? await readTextFile(prefix.slice(1)) : prefix;
  return {
    prefixIds: tokenizer.encode(text, true),
    prompts: prompts.map((prompt) => tokenizer.encode(prompt)),
  };
}

/** The text of tokens behind others: what it is depends on those, for example whether a space leads it. */
function addedText(
  tokenizer: Tokenizer,
  before: readonly number[],
  added: readonly number[],
): string {
  return tokenizer.decode([...before, ...added]).slice(tokenizer.decode(before).length);
}

/** What drafts were worth: without them, a pass adds one token to each text. */
function summary(completions: readonly Completion[], milliseconds: number): string {
  const sum = (of: (completion: Completion) => number) =>
    completions.reduce((total, completion) => total + of(completion), 0);
  const most = (of: (completion: Completion) => number) => Math.max(...completions.map(of));
  const drafted = sum((completion) => completion.drafted);
  const accepted = sum((completion) => completion.accepted);
  const passes = most((completion) => completion.passes);
  const single = most(({ tokenIds, ended }) => tokenIds.length + (ended ? 1 : 0));
  const lines = [
    `${sum(({ tokenIds }) => tokenIds.length)} tokens in ${(milliseconds / 1000).toFixed(1)} s, ` +
    `${passes} passes over ${completions.length} texts`,
  ];
  if (drafted > 0) {
    const share = (100 * accepted / drafted).toFixed(0);
    lines.push(
      `Drafts: ${accepted} of ${drafted} tokens accepted (${share} %), ${single - passes} of ` +
        `${single} passes saved`,
    );
  }
  return lines.join("\n");
}

if (import.meta.main) await runProgram(main);
