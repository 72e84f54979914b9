/** Command lines, run in this process. */
import assert from "node:assert/strict";
import type { Host } from "../../cli/command.ts";
import { seededRandom } from "../../src/base/random.ts";
import { type SafetensorsTensor, writeSafetensors } from "../../src/base/safetensors.ts";
import { SIDES } from "../../src/model/side.ts";
import { runCommandLine } from "../../cli/program.ts";

/** What a command line did. */
export interface Outcome {
  readonly exitCode: number;
  readonly output: string;
  readonly errors: string;
}

/** The checkout these tests belong to. */
export const CHECKOUT = new URL("../../", import.meta.url);

/** Runs one command line, by default without WebGPU. */
export async function couplet(
  args: readonly string[],
  host: Partial<Host> = {},
): Promise<Outcome> {
  let output = "";
  let errors = "";
  const exitCode = await runCommandLine(args, {
    write: (text) => void (output += text),
    writeError: (text) => void (errors += text),
    colour: false,
    // So wide that no line is wrapped: tests of words read whole lines.
    width: 1000,
    gpu: undefined,
    runtime: "a test",
    platform: "linux",
    invocation: "deno task couplet",
    checkout: CHECKOUT,
    ...host,
  });
  return { exitCode, output, errors };
}

/** What a command that must succeed answers to programs. */
export async function coupletJson<T>(
  args: readonly string[],
  host: Partial<Host> = {},
): Promise<T> {
  const { exitCode, output, errors } = await couplet([...args, "--json"], host);
  assert.equal(exitCode, 0, output + errors);
  assert.equal(errors, "");
  return JSON.parse(output);
}

/** Runs `act` in a folder that is there for its time. */
export async function withFolder<T>(act: (folder: string) => Promise<T>): Promise<T> {
  const folder = await Deno.makeTempDir();
  try {
    return await act(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A file of samples of the keys and values of some layers, two KV heads of 8 channels. */
export function samplesFile(
  { layers = 1, tokens = 64, headDim = 8, seed = 1 }: {
    readonly layers?: number;
    readonly tokens?: number;
    readonly headDim?: number;
    readonly seed?: number;
  } = {},
): Uint8Array<ArrayBuffer> {
  const random = seededRandom(seed);
  const tensors = new Map<string, SafetensorsTensor>();
  for (let layer = 0; layer < layers; layer++) {
    for (const side of SIDES) {
      const values = Float32Array.from({ length: tokens * 2 * headDim }, () => random.next() - 0.5);
      tensors.set(`layers.${layer}.${side}`, {
        dtype: "F32",
        shape: [tokens, 2, headDim],
        data: new Uint8Array(values.buffer),
      });
    }
  }
  return writeSafetensors({ metadata: {}, tensors });
}
