/**
 * The library's version, as `deno.json` has it: what was measured with one says nothing of
 * another's kernels.
 */
export const VERSION = "0.1.0";
