/**
 * The library's version, as in `deno.json`. Measurements with one version do not hold for the
 * kernels of another.
 */
export const VERSION = "0.1.0";
