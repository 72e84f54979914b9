/**
 * The package's entries for kernels, in `deno.json`: JSR takes no wildcards, so each set has a line
 * of its own.
 */
import { type KernelSet, setPath } from "./kernel_sets.ts";

/** Entry to module, as `exports` of `deno.json` has them. */
export function kernelEntries(sets: readonly KernelSet[]): Record<string, string> {
  return {
    "./kernels": "./generated/manifest.ts",
    ...Object.fromEntries(
      sets.filter(({ isEntry }) => isEntry)
        .map(({ name }) => [`./kernels/${name}`, `./generated/${setPath(name)}`]),
    ),
  };
}

/** The text of `deno.json` with exactly these entries for kernels, after its other entries. */
export function withKernelEntries(config: string, sets: readonly KernelSet[]): string {
  const parsed: { exports: Record<string, string> } = JSON.parse(config);
  const others = Object.entries(parsed.exports).filter(([entry]) =>
    !/^\.\/kernels(\/|$)/.test(entry)
  );
  const exports = { ...Object.fromEntries(others), ...kernelEntries(sets) };
  return `${JSON.stringify({ ...parsed, exports }, null, 2)}\n`;
}
