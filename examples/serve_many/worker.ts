/**
 * One process that answers: it has a device, a model and a cache of its own, and answers each line of its input, `alone` or
 * `shared`, by one of JSON. Its arguments are those of the command.
 *
 * @module
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { runProgram } from "../command_line.ts";
import { stateOfTheUnion } from "../demo/texts.ts";
import type { Checkpoint } from "../engine/checkpoint.ts";
import { loadModel } from "../engine/load_model.ts";
import { serveCapacity } from "../engine/serve_capacity.ts";
import { contextTokens, readTextFile, startEngine } from "../engine/start_engine.ts";
import { type Answer, answer } from "./answer.ts";
import { parseServeManyArguments, type ServeManyArguments } from "./arguments.ts";
import { connect } from "./connect.ts";

/** What a process says of an answer. */
export interface Report extends Answer {
  /** The text added. */
  readonly text: string;
  /** Bytes sent to the server. */
  readonly sent: number;
  /** Bytes received from it. */
  readonly received: number;
}

async function main(argv: readonly string[]): Promise<void> {
  const parsed = parseServeManyArguments(argv);
  if ("help" in parsed) throw new Error("a process is started by the command");
  const { options } = parsed;
  const { tokens } = options;
  const connection = await connect(options.server, options.name!);
  const checkpoint = await loadModel(options.model);
  const prefixIds = await encodePrefix(options, checkpoint);
  const promptIds = checkpoint.tokenizer.encode(options.prompt);
  contextTokens(checkpoint, prefixIds.length + promptIds.length, tokens);
  const { engine, cache, destroy } = await startEngine(
    options,
    checkpoint,
    serveCapacity({
      prefixTokens: prefixIds.length,
      promptTokens: [promptIds.length],
      tokens,
      draftTokens: 0,
    }),
  );
  // The first pass of every shape waits for the driver to compile kernels, which is not what is compared.
  const question = { prefixIds, promptIds, tokens };
  await answer(engine, cache, question);
  for await (const line of createInterface({ input: process.stdin })) {
    const found = await answer(engine, cache, {
      ...question,
      ...(line === "shared" ? { store: connection.store } : {}),
    });
    const report: Report = {
      ...found,
      text: checkpoint.tokenizer.decode(found.tokenIds),
      ...connection.moved(),
    };
    console.log(JSON.stringify(report));
  }
  destroy();
  connection.close();
}

/** The prefix in tokens; a text's beginning is marked, as the model expects it. */
async function encodePrefix(
  { prefix, prefixTokens }: ServeManyArguments,
  { tokenizer }: Checkpoint,
): Promise<readonly number[]> {
  const text = prefix === undefined
    ? (await stateOfTheUnion()).text
    : prefix.startsWith("@")
    ? await readTextFile(prefix.slice(1))
    : prefix;
  return tokenizer.encode(text, true).slice(0, prefixTokens);
}

if (import.meta.main) await runProgram(main);
