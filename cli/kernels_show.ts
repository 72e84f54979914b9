import type { Command } from "commander";
import { type Answer, type Answering, createCommand } from "./command.ts";
import { type KernelFacts, kernelFacts, type RecordFacts } from "./kernel_facts.ts";
import { addKernelsOption, findKernel, type KernelsArguments, loadKernels } from "./kernels.ts";
import { readableWgsl } from "./readable_wgsl.ts";
import { formatTable } from "./table.ts";

interface ShowOptions extends KernelsArguments {
  readonly wgsl?: true;
}

/** `couplet kernels show`. */
export function command(answering: Answering): Command {
  const show = createCommand("kernels show", {
    examples: [
      "kernels show attend_c8b8_c8b8_d128_rope",
      "kernels show encode_c4b8_d64 --wgsl > encode_c4b8_d64.wgsl",
    ],
  })
    .argument("<name>", "a name of couplet kernels list")
    .option("--wgsl", "its text and nothing else; with --json, its text as well");
  return addKernelsOption(show).action(answering(showKernel));
}

async function showKernel(name: string, options: ShowOptions): Promise<Answer> {
  const { wgsl } = options;
  const kernel = findKernel(await loadKernels(options), name);
  const facts = kernelFacts(kernel);
  if (wgsl === undefined) return { data: facts, text: (width) => describeFacts(facts, width) };
  const [text] = await readableWgsl([kernel]);
  return { data: { ...facts, wgsl: text }, text: text!.trimEnd() };
}

function describeFacts(facts: KernelFacts, width: number): string {
  const { name, does, entry, reason, bindings, span, needs, records, cost } = facts;
  const traffic = cost.traffic.map((
    { what, bytes, per },
  ) => ["", `${bytes}`, `bytes per ${per}`, what]);
  return [
    name,
    `  ${does}`,
    `  In the table because: ${reason}`,
    ...(entry === undefined ? [] : [`  Import it from ${entry}`]),
    "",
    "Bindings of group 0",
    formatTable(
      bindings.map(({ index, name, space, type }) => [` ${index}`, name, space, type]),
      { width },
    ),
    "",
    "Device",
    `  ${needs.maxComputeWorkgroupStorageSize} bytes of workgroup memory${
      span === undefined ? "" : `, for tiles of up to ${span} pages`
    }`,
    `  ${needs.maxStorageBuffersPerShaderStage} storage buffers`,
    needs.features.length > 0
      ? `  The feature ${needs.features.join(", ")}`
      : needs.beyondDefaults === undefined
      ? "  Every WebGPU device runs it: default limits, no feature"
      : `  WebGPU's default limits do not suffice: ${needs.beyondDefaults}`,
    ...(records.length === 0 ? [] : ["", "Records", ...records.map(describeRecord)]),
    ...(traffic.length === 0 ? [] : ["", "Traffic", formatTable(traffic, { width, right: [1] })]),
  ].join("\n");
}

function describeRecord(record: RecordFacts): string {
  const { side, scheme, tokens, words, paddingBits, bitsPerChannel, codebookBytes } = record;
  return `  ${side === undefined ? "" : `${side} `}${scheme}: ${words} words of 32 bits for ${
    tokens === 1 ? "a token" : `${tokens} tokens`
  } of one KV head, ${paddingBits} bits of padding; bits a channel: ${bitsPerChannel}${
    codebookBytes === 0 ? "" : `; codebook ${codebookBytes} bytes a KV head`
  }`;
}
