import type { Command } from "commander";
import { createTwoFilesPatch } from "diff";
import { integerFrom } from "./arguments.ts";
import { type Answer, type Answering, createCommand, type Host } from "./command.ts";
import { addKernelsOption, findKernel, type KernelsArguments, loadKernels } from "./kernels.ts";
import { readableWgsl } from "./readable_wgsl.ts";

interface DiffOptions extends KernelsArguments {
  readonly context: number;
}

/** `couplet kernels diff`. */
export function command(answering: Answering, { colour }: Host): Command {
  const diff = createCommand("kernels diff", {
    examples: [
      "kernels diff attend_c8b8_c8b8_d64_rope attend_c8b8_c8b8_d64_plain",
      "kernels diff score_c4b8_d64_plain score_c4b8_d128_plain --context 0",
    ],
  })
    .argument("<from>", "a name of couplet kernels list")
    .argument("<to>", "another")
    .option("--context <n>", "lines around each change", integerFrom(0), 3);
  return addKernelsOption(diff).action(
    answering((from: string, to: string, options: DiffOptions) =>
      diffKernels(from, to, options, colour)
    ),
  );
}

async function diffKernels(
  from: string,
  to: string,
  options: DiffOptions,
  colour: boolean,
): Promise<Answer> {
  const kernels = await loadKernels(options);
  const [before, after] = await readableWgsl([from, to].map((name) => findKernel(kernels, name)));
  const patch = before === after
    ? ""
    : createTwoFilesPatch(`${from}.wgsl`, `${to}.wgsl`, before!, after!, "", "", {
      context: options.context,
    })
      // The first line is a rule that tools which read patches skip.
      .replace(/^=+\n/, "")
      .trimEnd();
  return {
    data: { from, to, equal: before === after, patch },
    text: patch === "" ? `${from} and ${to} have the same text` : patch,
    ...(colour ? { paint: (text) => text.split("\n").map(colourLine).join("\n") } : {}),
  };
}

/** ANSI colours of a unified diff's lines, as git has them. */
const COLOURS: readonly (readonly [prefix: string, code: number])[] = [
  ["---", 1],
  ["+++", 1],
  ["@@", 36],
  ["-", 31],
  ["+", 32],
];

function colourLine(line: string): string {
  const code = COLOURS.find(([prefix]) => line.startsWith(prefix))?.[1];
  return code === undefined ? line : `\x1b[${code}m${line}\x1b[0m`;
}
