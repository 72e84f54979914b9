/**
 * Continues a text with a compressed KV cache: `deno task chat --help` lists the options.
 *
 * @module
 */
import { dropGranularity, type Sequence } from "@couplet/kv";
import { printable, runProgram } from "../command_line.ts";
import { parseArguments } from "./arguments.ts";
import { generate } from "./generate.ts";
import { loadModel } from "./load_model.ts";
import { makeRoom } from "./shift.ts";
import { contextTokens, PREFILL, startEngine } from "./start_engine.ts";

async function main(argv: readonly string[]): Promise<void> {
  const parsed = parseArguments(argv);
  if ("help" in parsed) {
    console.log(parsed.help);
    return;
  }
  const { options } = parsed;
  const { tokens, temperature, seed, shift } = options;
  const checkpoint = await loadModel(options.model);
  const prompt = checkpoint.tokenizer.encode(options.prompt, true);
  // A cache just long enough, or as long as the model's context.
  const sequenceTokens = contextTokens(checkpoint, prompt.length, tokens, shift);
  const step = Math.min(PREFILL, sequenceTokens);
  const { device, cache, engine, destroy } = await startEngine(options, checkpoint, {
    sequences: 1,
    tokens: sequenceTokens,
    sequenceTokens,
    stepTokens: step,
    appendTokens: step,
  });
  // Plans that cannot are refused before there is text.
  if (shift) dropGranularity(cache.plan);

  await write(options.prompt);
  const start = performance.now();
  let count = 0;
  const beforeStep = (sequence: Sequence) => makeRoom(device, cache, sequence);
  const settings = { prompt, tokens, temperature, seed };
  for await (const { text } of generate(engine, settings, shift ? beforeStep : undefined)) {
    await write(text);
    count++;
  }
  await write("\n");
  const seconds = (performance.now() - start) / 1000;
  console.error(`${count} tokens in ${seconds.toFixed(1)} s, prompt of ${prompt.length} included`);
  destroy();
}

async function write(text: string): Promise<void> {
  const bytes = new TextEncoder().encode(printable(text));
  for (let at = 0; at < bytes.length;) at += await Deno.stdout.write(bytes.subarray(at));
}

if (import.meta.main) await runProgram(main);
