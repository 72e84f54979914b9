import type { Command } from "commander";
import { describeRuns, lostVariance, partBytes, readCodebooks } from "./codebook_facts.ts";
import { type Answer, type Answering, createCommand } from "./command.ts";
import { formatBytes } from "./format_bytes.ts";
import { formatTable } from "./table.ts";

/** `couplet codebooks info`. */
export function command(answering: Answering): Command {
  return createCommand("codebooks info", {
    details: "error / variance is the share of the samples' variance that coding loses.",
    examples: [
      "codebooks info codebooks.safetensors",
      "codebooks info codebooks.safetensors --json",
    ],
  })
    .argument("<file>", "codebooks, as couplet calibrate and encodeCodebooks() write them")
    .action(answering(describeCodebooks));
}

async function describeCodebooks(path: string): Promise<Answer> {
  const { set, bytes } = await readCodebooks(path);
  const { model, keySpace, anchors, provenance } = set;
  const rotations = (set.valueRotations ?? []).map(({ layer, keyValueHeads, headDim, axes }) => ({
    layer,
    keyValueHeads,
    headDim,
    bytes: axes.byteLength,
  }));
  const codebooks = set.codebooks.map((codebook) => {
    const { layer, side, scheme, keyValueHeads, headDim } = codebook;
    const lost = lostVariance(codebook);
    const parts = partBytes(codebook);
    return {
      layer,
      side,
      scheme,
      keyValueHeads,
      headDim,
      bytes: sum(Object.values(parts)),
      parts,
      ...(lost === undefined ? {} : { lostVariance: lost }),
    };
  });
  const { source, tokens, seed, iterations } = provenance;
  const about = [
    ["model", `${model.name} (${model.digest})`],
    ["keys", anchors ? `${keySpace}, by eight pairs: ${anchors.join(", ")} tokens` : keySpace],
    [
      "learned on",
      `${source}: ${tokens} tokens, seed ${seed}, at most ${iterations} iterations`,
    ],
    [
      "rotations",
      rotations.length === 0
        ? "none"
        : `of the values of layers ${describeRuns(rotations.map(({ layer }) => layer))}, ${
          formatBytes(sum(rotations.map(({ bytes }) => bytes)))
        }`,
    ],
    [
      "file",
      `${formatBytes(bytes)}, ${codebooks.length} codebooks${listed(codebooks)}`,
    ],
  ];
  const rows = codebooks.map((codebook) => [
    `${codebook.layer}`,
    codebook.side,
    codebook.scheme,
    `${codebook.keyValueHeads} x ${codebook.headDim}`,
    formatBytes(codebook.bytes),
    codebook.lostVariance?.toFixed(4) ?? "",
    Object.keys(codebook.parts).join(", "),
  ]);
  const head = ["layer", "side", "scheme", "heads", "size", "error / variance", "parts"];
  return {
    data: {
      model,
      keySpace,
      ...(anchors && { anchors }),
      provenance,
      bytes,
      valueRotations: rotations,
      codebooks,
    },
    text: (width) =>
      [
        formatTable(about, { width }),
        "",
        formatTable([head, ...rows], { width, right: [0, 3, 4, 5] }),
      ].join("\n"),
  };
}

/** The schemes that there are codebooks of. */
function listed(codebooks: readonly { readonly scheme: string }[]): string {
  const schemes = [...new Set(codebooks.map(({ scheme }) => scheme))].sort();
  return schemes.length === 0 ? "" : ` of ${schemes.join(", ")}`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
