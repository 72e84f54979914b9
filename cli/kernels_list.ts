import type { Command } from "commander";
import picomatch from "picomatch";
import { CoupletError } from "../src/base/errors.ts";
import type { KernelInfo } from "../src/kernels/kernel.ts";
import { parseKernelName } from "../src/kernels/name.ts";
import { integerFrom } from "./arguments.ts";
import { type Answer, type Answering, createCommand } from "./command.ts";
import { addKernelsOption, type KernelsArguments, kernelSchemes, loadKernels } from "./kernels.ts";
import { nearestText } from "./nearest.ts";
import { schemeArgument } from "./schemes.ts";
import { formatTable } from "./table.ts";

interface ListOptions extends KernelsArguments {
  readonly family?: string;
  readonly scheme?: string;
  readonly headDim?: number;
}

/** `couplet kernels list`. */
export function command(answering: Answering): Command {
  const list = createCommand("kernels list", {
    examples: [
      "kernels list --family attend --head-dim 128",
      "kernels list --scheme c8b8 --json",
      "kernels list 'score_*_lut'",
    ],
  })
    .argument("[glob]", "pattern of names, such as 'attend_c8b8_*'")
    .option("--family <name>", "what they do: attend, encode, ...")
    .option("--scheme <id>", "a scheme of their records", schemeArgument)
    .option("--head-dim <n>", "channels per head", integerFrom(1));
  return addKernelsOption(list).action(answering(listKernels));
}

async function listKernels(glob: string | undefined, options: ListOptions): Promise<Answer> {
  const { family, scheme, headDim } = options;
  const kernels = await loadKernels(options);
  if (family !== undefined) checkFamily(kernels, family);
  if (scheme !== undefined) checkScheme(kernels, scheme);
  const matches = glob === undefined ? () => true : picomatch(glob);
  const found = kernels.filter(({ name }) => {
    const parts = parseKernelName(name);
    return matches(name) &&
      (family === undefined || parts.family === family) &&
      (scheme === undefined || parts.schemes.some((id) => id === scheme)) &&
      (headDim === undefined || parts.size === headDim);
  });
  if (found.length === 0) throw nothingFound(kernels, glob);
  return {
    data: found.map(describeRow),
    text: (width) =>
      [
        formatTable([
          ["name", "why it is there"],
          ...found.map(({ name, reason }) => [name, reason]),
        ], { width }),
        `${found.length} of ${kernels.length} kernels`,
      ].join("\n"),
  };
}

function describeRow({ name, bindings, span, workgroupBytes, reason }: KernelInfo) {
  return { name, ...parseKernelName(name), bindings, span, workgroupBytes, reason };
}

function checkFamily(kernels: readonly KernelInfo[], family: string): void {
  const families = [...new Set(kernels.map(({ name }) => parseKernelName(name).family))].sort();
  if (families.some((known) => known === family)) return;
  throw new CoupletError("usage", {
    what: `Cannot list kernels of the family "${family}"`,
    why: `there is none${nearestText(family, families)}`,
    remedy: `Use one of ${families.join(", ")}`,
  });
}

function checkScheme(kernels: readonly KernelInfo[], id: string): void {
  const schemes = kernelSchemes(kernels);
  if (schemes.some((known) => known === id)) return;
  throw new CoupletError("kernel", {
    what: `Cannot list kernels of the scheme ${id}`,
    why: `it has none here${nearestText(id, schemes, "of those that have, ")}`,
    remedy: `Generate them: couplet generate --scheme ${id} --head-dim 64 --out ./my_kernels`,
  });
}

function nothingFound(
  kernels: readonly KernelInfo[],
  glob: string | undefined,
): CoupletError {
  const near = nearestText(glob ?? "", kernels.map(({ name }) => name));
  return new CoupletError("kernel", {
    what: "Cannot list kernels",
    why: glob === undefined
      ? "no kernel passes all filters"
      : `no kernel's name matches "${glob}" and passes all filters${near}`,
    remedy: "Leave a filter out, or generate kernels of your own with couplet generate",
  });
}
